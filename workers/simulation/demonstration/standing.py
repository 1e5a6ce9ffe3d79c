"""How the 22 bodies stand, counted from what the API shows. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from app.referrals.states import FINAL, DispatchState, Outcome

ANSWERED = frozenset({Outcome.HIT, Outcome.NO_HIT, Outcome.DECLINED})
"""What counts as an answer or a visible refusal."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One body: its dispatches by word (a state, or the outcome once there is one), and when it last said something.

    `seconds` are the times from submission to its answers.
    """

    agency: str
    words: Mapping[str, int]
    seconds: Sequence[float]
    last_word: str = ""
    last_at: datetime | None = None

    @property
    def settled(self) -> int:
        """How many of its dispatches are final."""
        return sum(number for word, number in self.words.items() if not is_open(word))

    @property
    def median(self) -> float | None:
        """The median time to its answers in seconds, None before the first."""
        return median(self.seconds) if self.seconds else None


def standings(referrals: Iterable[Mapping[str, Any]], agencies: Iterable[str]) -> list[Standing]:
    """How each of `agencies` stands over these referrals, by code."""
    asked: dict[str, list[tuple[Mapping[str, Any], datetime]]] = {agency: [] for agency in sorted(agencies)}
    for referral in referrals:
        for dispatch in referral["dispatches"]:
            asked.setdefault(dispatch["agency"], []).append((dispatch, moment(referral["created_at"])))
    return [_standing(agency, dispatches) for agency, dispatches in asked.items()]


def _standing(agency: str, dispatches: Sequence[tuple[Mapping[str, Any], datetime]]) -> Standing:
    answers = [(moment(one["answered_at"]), one, sent) for one, sent in dispatches if one["answered_at"]]
    last = max(answers, key=lambda answer: answer[0], default=None)
    return Standing(
        agency,
        Counter(_word(one) for one, _ in dispatches),
        [(at - sent).total_seconds() for at, _, sent in answers],
        last[1]["outcome"] if last else "",
        last[0] if last else None,
    )


def _word(dispatch: Mapping[str, Any]) -> str:
    return str(dispatch["outcome"] or dispatch["state"])


def all_final(referrals: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every dispatch of these referrals is made and final."""
    return all(
        referral["dispatches"] and all(one["state"] in FINAL for one in referral["dispatches"])
        for referral in referrals
    )


def missing(referrals: Iterable[Mapping[str, Any]], agencies: Sequence[str], expected: int) -> list[str]:
    """What keeps this from being a success, one line each; empty where every body answered or declined everything."""
    counted = standings(referrals, agencies)
    lines = []
    for one in counted:
        answered = sum(one.words.get(outcome, 0) for outcome in ANSWERED)
        if answered == expected:
            continue
        others = {word: number for word, number in one.words.items() if word not in ANSWERED}
        told = ", ".join(f"{number} {word}" for word, number in sorted(others.items())) or "nothing dispatched"
        lines.append(f"{one.agency} answered or declined {answered} of {expected} ({told})")
    return lines


def waits(referrals: Iterable[Mapping[str, Any]], column: str) -> list[float]:
    """Seconds from submission to `column` (delivered_at, answered_at) wherever there is one, shortest first."""
    return sorted(
        (moment(one[column]) - moment(referral["created_at"])).total_seconds()
        for referral in referrals
        for one in referral["dispatches"]
        if one[column]
    )


def outcomes(referrals: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """All dispatches by word."""
    return Counter(_word(one) for referral in referrals for one in referral["dispatches"])


def is_open(word: str) -> bool:
    """Whether a word is a state in which an answer can still come."""
    return word in frozenset(DispatchState) and word not in FINAL


def moment(text: str) -> datetime:
    """An RFC 3339 time."""
    return datetime.fromisoformat(text)
