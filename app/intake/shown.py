"""What the force's pages say of its referrals, in words. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from app.referrals.codes import OnwardDisclosure
from app.referrals.states import DispatchState, Outcome
from app.web.words import counted, plain

_Row = Mapping[str, Any]

_ANSWERED = (DispatchState.ANSWERED, DispatchState.DECLINED)

_SAID = {
    "hit": "answered: hit",
    "no_hit": "answered: no hit",
    "declined": "declined",
    "more_information": "asked a question",
}
HAPPENED = {
    "referral.accepted": "Referral submitted",
    "referral.dispatched": "Bodies to ask were chosen: {agencies}",
    "referral.addressees_added": "The co-ordinator asks further bodies: {agencies}",
    "referral.held": "Held",
    "referral.released": "Released",
    "referral.rejected": "Rejected by the co-ordinator",
    "referral.cancelled": "Taken back",
    "referral.completed": "Completed: nobody is still to answer",
    "referral.disposed": "Disposed of",
    "dispatch.delivered": "{agency} has seen it",
    "dispatch.acknowledged": "{agency} works on it",
    "dispatch.held": "Held back from {agency}",
    "dispatch.released": "Released to {agency}",
    "dispatch.alerted": "{agency} has not acknowledged it: the co-ordinator was alerted",
    "dispatch.chased": "{agency} was reminded",
    "dispatch.overdue": "{agency} is overdue",
    "dispatch.extended": "{agency} has more time",
    "dispatch.expired": "{agency} did not answer in time",
    "dispatch.undeliverable": "It could not be delivered to {agency}",
    "dispatch.redelivered": "Asked again: {agencies}",
    "dispatch.cancelled": "Taken back from {agency}",
    "dispatch.cancellation_seen": "{agency} has seen that it was taken back",
    "response.recorded": "{agency} {said}",
    "message.sent": "Your reply went to {agency}",
    "outcome.recorded": "Outcome recorded",
    "consent.asked": "{agency} was asked for its consent to pass its answer on",
    "consent.chased": "{agency} was reminded of the consent asked for",
    "consent.given": "{agency} consented",
    "consent.refused": "{agency} refused its consent",
    "consent.withdrawn": "The consent of {agency} is no longer asked for",
}
"""Every event that a force sees of its own referral (`app.referrals.timeline`)."""


def standing(dispatches: Iterable[_Row]) -> list[_Row]:
    """Of each body the dispatch of its latest round."""
    return list({one["agency"]: one for one in sorted(dispatches, key=itemgetter("agency", "round"))}.values())


def progress(dispatches: Iterable[_Row]) -> str:
    """How far the answers are: `3 of 5 answered, 1 hit`. A body that declined has answered."""
    latest = standing(dispatches)
    if not latest:
        return "not sent yet"
    answers = sum(one["state"] in _ANSWERED for one in latest)
    hits = sum(one["outcome"] == Outcome.HIT for one in latest)
    return f"{answers} of {len(latest)} answered" + (f", {counted(hits, 'hit')}" if hits else "")


def asking(dispatches: Iterable[_Row]) -> dict[str, _Row]:
    """By body, the dispatch about which it waits for the force's reply."""
    return {one["agency"]: one for one in standing(dispatches) if one["state"] == DispatchState.QUERY}


def about(referral: _Row) -> str:
    """A referral's subject in one line: a person's name, a company, an address, or what there is."""
    subject = referral.get("subject")
    if subject is None:
        return "disposed of"
    names = [subject.get("family_name"), subject.get("given_names")]
    if named := ", ".join(name for name in names if name) or subject.get("name"):
        return str(named)
    if subject.get("identifiers"):
        return str(subject["identifiers"][0]["value"])
    if subject.get("addresses"):
        address = subject["addresses"][0]
        return ", ".join([*address.get("lines", ()), *([address["postcode"]] if address.get("postcode") else [])])
    alias = subject["aliases"][0]
    return ", ".join(name for name in (alias.get("family_name"), alias.get("given_names")) if name)


def happened(event: _Row) -> str:
    """One entry of the timeline in words."""
    detail = event["detail"] or {}
    return HAPPENED[event["event"]].format(
        agency=event["agency"] or "a body",
        agencies=", ".join(detail.get("agencies", ())) or "none",
        said=_SAID.get(detail.get("outcome", ""), "answered"),
    )


def may_ask_consent(responses: Iterable[_Row]) -> list[str]:
    """The bodies whose answers go nowhere without their consent: they said so, or did not say."""
    answers = (one for one in responses if one["outcome"] in (Outcome.HIT, Outcome.NO_HIT))
    return sorted({one["agency"] for one in answers if one.get("onward_disclosure") != OnwardDisclosure.PERMITTED})


def answered_by(referral: _Row) -> Sequence[tuple[str, str]]:
    """The dispatches whose answers an outcome can name: id and words."""
    return [
        (
            str(one["id"]),
            f"{one['agency']}: {plain(one['outcome'])}" + (f", round {one['round']}" if one["round"] > 1 else ""),
        )
        for one in referral["dispatches"]
        if one["state"] == DispatchState.ANSWERED
    ]
