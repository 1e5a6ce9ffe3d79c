"""The form that asks for a body's consent, as the pages of a force and of a co-ordinator have it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import Form

from app.parties.directory import Directory
from app.referrals.consent_documents import ConsentBody
from app.referrals.states import DispatchState

MOST_REASON = 2_000
MOST_OUTSIDE = 200

Referral = dict[str, Any]
Choices = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Filled:
    """What was filled in: whose answer, to whom (a party, or somebody outside), why."""

    agency: str = ""
    recipient: str = ""
    outside: str = ""
    reason: str = ""

    def errors(self, referral: Referral, directory: Directory) -> dict[str, str]:
        """What is wrong, by field."""
        found = {}
        if self.agency not in answered(referral):
            found["agency"] = "Choose whose answer is to go further."
        if bool(self.recipient) is bool(self.outside):
            found["recipient"] = "Choose a party, or name somebody outside: one of the two."
        elif self.recipient and (self.recipient == self.agency or self.recipient not in _others(referral, directory)):
            found["recipient"] = "Choose a party that has not the answer anyhow."
        if len(self.outside) > MOST_OUTSIDE:
            found["outside"] = f"Name it in {MOST_OUTSIDE} characters or fewer."
        if not self.reason or len(self.reason) > MOST_REASON:
            found["reason"] = f"Say why, in {MOST_REASON:,} characters or fewer."
        return found

    def body(self) -> ConsentBody:
        """The document that the API takes, of a form without errors."""
        return ConsentBody(recipient=self.recipient or None, recipient_outside=self.outside or None, reason=self.reason)

    def context(self, referral: Referral, directory: Directory, errors: Mapping[str, str]) -> dict[str, Any]:
        """What the template `consent_fields.html` needs."""
        names = {party.code: party.name for party in directory}
        codes = sorted(_others(referral, directory), key=lambda code: names[code])
        return {
            "filled": asdict(self),
            "bodies": [(code, f"{names.get(code, code)} ({code})") for code in answered(referral)],
            "parties": [("", "Choose, or name somebody below"), *((code, f"{names[code]} ({code})") for code in codes)],
            "errors": errors,
        }


def filled(
    agency: Annotated[str, Form(max_length=32)] = "",
    recipient: Annotated[str, Form(max_length=32)] = "",
    outside: Annotated[str, Form(max_length=20_000)] = "",
    reason: Annotated[str, Form(max_length=20_000)] = "",
) -> Filled:
    """The form that was sent. Browsers end lines with two characters; a document has one."""
    return Filled(*(_clean(said) for said in (agency, recipient, outside, reason)))


def answered(referral: Referral) -> dict[str, Any]:
    """By body, its latest dispatch that was answered with something that could go further."""
    return {one["agency"]: one for one in referral["dispatches"] if one["state"] == DispatchState.ANSWERED}


def _clean(said: str) -> str:
    return said.replace("\r\n", "\n").replace("\0", "").strip()


def _others(referral: Referral, directory: Iterable[Any]) -> set[str]:
    return {party.code for party in directory} - {referral["originator"]}
