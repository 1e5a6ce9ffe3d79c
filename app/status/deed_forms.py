"""What a co-ordinator can do with a referral or a dispatch, as pages offer it: when, in what words, asking for what."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Annotated, Any
from uuid import UUID

from fastapi import Form

from app import clock
from app.referrals.states import CLOCK_RUNS, FINAL, OPEN, REFERRAL_MOVES, DispatchState, ReferralState
from app.status import deeds
from app.status.act import Act, Referral
from app.web.words import LONDON

MOST_REASON = 2_000
_END_OF_DAY = time(17)
"""When the day of an extension ends."""

Dispatch = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Given:
    """What a form gives: a reason, agencies, the parts of a day."""

    reason: str = ""
    agencies: list[str] = field(default_factory=list)
    day: str = ""
    month: str = ""
    year: str = ""

    def errors(self, deed: "Deed") -> dict[str, str]:
        """What a deed lacks of it, by the field's id."""
        found = {}
        if deed.asks_why and not self.reason.strip():
            found["reason"] = "Say why."
        if deed.asks_why and len(self.reason) > MOST_REASON:
            found["reason"] = f"Say it in {MOST_REASON:,} characters or fewer."
        if deed.asks_whom and not self.agencies:
            found["agencies"] = "Choose at least one body."
        now = clock.now()
        if deed.asks_until and (self.until is None or not now < self.until <= now + deeds.MOST_AHEAD):
            found["until-day"] = "Give a day in the future, for example 27 3 2027."
        return found

    @property
    def until(self) -> datetime | None:
        """The end of the working day given, None where it is none."""
        try:
            day = date(int(self.year), int(self.month), int(self.day))
        except ValueError:
            return None
        return datetime.combine(day, _END_OF_DAY, LONDON).astimezone(UTC)

    @property
    def document(self) -> dict[str, Any]:
        """What tells one request from another."""
        return {"reason": self.reason, "agencies": self.agencies, "until": [self.year, self.month, self.day]}


def given(
    reason: Annotated[str, Form()] = "",
    agencies: Annotated[list[str] | None, Form()] = None,
    day: Annotated[str, Form(alias="until-day", max_length=10)] = "",
    month: Annotated[str, Form(alias="until-month", max_length=10)] = "",
    year: Annotated[str, Form(alias="until-year", max_length=10)] = "",
) -> Given:
    """The form that was sent."""
    return Given(reason.strip(), list(dict.fromkeys(agencies or [])), day.strip(), month.strip(), year.strip())


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing to do: its `word` in the address, the words of its page, and the verb.

    `possible` is asked of the referral, and of the dispatch where it is done to one.
    """

    word: str
    link: str
    heading: str
    says: str
    done: str
    possible: Callable[[Referral, Dispatch], bool]
    does: Callable[[Act, Referral, UUID, Given], Awaitable[bool]]
    asks_why: bool = False
    asks_whom: bool = False
    asks_until: bool = False
    warning: bool = False


def _is(*states: ReferralState) -> Callable[[Referral, Dispatch], bool]:
    return lambda referral, _: referral["state"] in states


def _may_become(state: ReferralState) -> Callable[[Referral, Dispatch], bool]:
    return lambda referral, _: state in REFERRAL_MOVES[ReferralState(referral["state"])]


def _clock_runs(_: Referral, dispatch: Dispatch) -> bool:
    return dispatch["state"] in CLOCK_RUNS


def _can_go_again(referral: Referral, dispatch: Dispatch) -> bool:
    """It has ended, no later round of it is open, and its referral takes more."""
    takes_more = (ReferralState.HELD, ReferralState.IN_PROGRESS, ReferralState.COMPLETED)
    later = [one for one in referral["dispatches"] if one["agency"] == dispatch["agency"] and one["state"] in OPEN]
    return referral["state"] in takes_more and dispatch["state"] in FINAL and not later


REFERRAL_DEEDS = (
    Deed(
        "hold",
        "Hold",
        "Hold this referral?",
        "What no agency has seen yet leaves the inboxes until you release it. Agencies that have seen it go on.",
        "The referral is held.",
        _may_become(ReferralState.HELD),
        lambda act, referral, _, given: deeds.hold(act, referral, given.reason),
        asks_why=True,
    ),
    Deed(
        "release",
        "Release",
        "Release this referral?",
        "It goes on. Each agency that has not seen it gets its full time from now.",
        "The referral goes on.",
        _is(ReferralState.HELD),
        lambda act, referral, _, given: deeds.release(act, referral),
    ),
    Deed(
        "addressees",
        "Ask another body",
        "Whom do you want to ask besides?",
        "Each body chosen gets the whole referral in its inbox, with its full time from now.",
        "Those bodies are asked.",
        _is(ReferralState.HELD, ReferralState.IN_PROGRESS),
        lambda act, referral, _, given: deeds.add(act, referral, given.agencies),
        asks_whom=True,
    ),
    Deed(
        "reopen",
        "Reopen",
        "Whom do you want to ask again?",
        "The referral is taken up again. Each body chosen is asked in a new round; what was answered stays.",
        "The referral is open again.",
        _is(ReferralState.COMPLETED),
        lambda act, referral, _, given: deeds.add(act, referral, given.agencies),
        asks_whom=True,
    ),
    Deed(
        "reject",
        "Reject",
        "Reject this referral?",
        "It ends for good, and every open dispatch is cancelled. The originator sees that it was rejected, and why.",
        "The referral is rejected.",
        _may_become(ReferralState.REJECTED),
        lambda act, referral, _, given: deeds.reject(act, referral, given.reason),
        asks_why=True,
        warning=True,
    ),
)

DISPATCH_DEEDS = (
    Deed(
        "chase",
        "Chase",
        "Chase {agency}?",
        "It is reminded by its channel, and the reminder stands in the timeline.",
        "The body is reminded.",
        _clock_runs,
        lambda act, _, id, given: deeds.chase(act, id),
    ),
    Deed(
        "extend",
        "Give more time",
        "Until when does {agency} get time?",
        "The answer is then due at 17:00 on that day. What is overdue counts as overdue no more.",
        "The body has more time.",
        _clock_runs,
        lambda act, referral, id, given: deeds.extend(act, referral, id, given.until or clock.now()),
        asks_until=True,
    ),
    Deed(
        "release",
        "Release",
        "Release this to {agency}?",
        "It enters the inbox of {agency}, with its full time from now.",
        "It is released.",
        lambda referral, dispatch: dispatch["state"] == DispatchState.HELD and referral["state"] != ReferralState.HELD,
        lambda act, referral, id, given: deeds.release_dispatch(act, referral, id),
    ),
    Deed(
        "redeliver",
        "Ask again",
        "Ask {agency} again?",
        "It gets the referral as a new item, in the next round, with its full time from now.",
        "The body is asked again.",
        _can_go_again,
        lambda act, referral, id, given: deeds.redeliver(act, referral, id),
    ),
    Deed(
        "cancel",
        "Take back",
        "Take this back from {agency}?",
        "{agency} need not answer any more. Its item shows as cancelled until it has seen that.",
        "It is taken back.",
        lambda _, dispatch: dispatch["state"] in OPEN,
        lambda act, _, id, given: deeds.cancel(act, id, given.reason),
        asks_why=True,
        warning=True,
    ),
    Deed(
        "noted",
        "Nothing to do",
        "Does nothing need doing about {agency}?",
        "It leaves the list of what needs a decision. What came from {agency} stays as it is, with your reason.",
        "It is noted that nothing needs doing.",
        lambda _, dispatch: bool(dispatch["alerts"]),
        lambda act, referral, id, given: deeds.note(act, referral, id, given.reason),
        asks_why=True,
    ),
)


def offered(referral: Referral) -> list[Deed]:
    """What can be done to the referral as it stands."""
    return [deed for deed in REFERRAL_DEEDS if deed.possible(referral, {})]


def offered_on(referral: Referral, dispatch: Dispatch) -> list[Deed]:
    """What can be done to one of its dispatches."""
    return [deed for deed in DISPATCH_DEEDS if deed.possible(referral, dispatch)]
