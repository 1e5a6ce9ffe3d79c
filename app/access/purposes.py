"""Purposes: why somebody reads what is held about a person, by a closed list of codes, so that the log may hold them.

DPA 2018 section 62(2) asks the log for the justification of a consultation; the Data (Use and Access) Act 2025 relaxes
that. So it is the operator's choice whose reading has to state it (`GAIN_PURPOSE_ROLES`); whoever states it is logged.
"""

from collections.abc import Iterable
from enum import StrEnum

from starlette.requests import Request

from app.access.policy import Action, Role
from app.errors import INVALID_PARAMETER, PURPOSE_REQUIRED, Problem
from app.settings import SettingsError
from app.web.words import plain

HEADER = "GAIN-Purpose"

ASKED = frozenset(
    {
        Action.READ_REFERRAL,
        Action.READ_RESPONSES,
        Action.READ_OWN_DUPLICATES,
        Action.READ_DUPLICATES,
        Action.READ_RETENTION,
        Action.CANCEL_REFERRAL,
        Action.SEND_MESSAGE,
        Action.RECORD_OUTCOME,
        Action.ASK_CONSENT,
        Action.COORDINATE,
    }
)
"""The actions that show what is held about a person, by asking or in the answer to a deed: the API asks a purpose.

Submitting is none: its answer is what was sent, and a replay's is for the purpose that the referral itself states.
Pages ask once a session, for whatever their reader sees (app/access/purpose_page.py).
"""


class StatedPurpose(StrEnum):
    """Why somebody reads [mem]: the words of a police log of consultations, without free text."""

    INVESTIGATION = "investigation"
    COORDINATION = "coordination"
    SAFEGUARDING = "safeguarding"
    QUALITY_REVIEW = "quality_review"
    COMPLAINT = "complaint"
    DISCLOSURE_REVIEW = "disclosure_review"
    RETENTION_REVIEW = "retention_review"
    SUBJECT_ACCESS = "subject_access"
    TECHNICAL_SUPPORT = "technical_support"


CHOICES = [(purpose.value, plain(purpose.value).capitalize()) for purpose in StatedPurpose]
"""The codes with their words, as a form's choices."""


def roles_asked(words: str) -> frozenset[Role]:
    """The roles in a setting with commas between. Raises `SettingsError` for a word that is no role."""
    try:
        return frozenset(Role(word.strip()) for word in words.split(",") if word.strip())
    except ValueError:
        raise SettingsError(f"GAIN_PURPOSE_ROLES takes roles with commas between: {', '.join(Role)}.") from None


def stated(request: Request, action: Action, role: Role, asked: Iterable[Role]) -> StatedPurpose | None:
    """The purpose a request states for its reading. Raises `Problem`: 422 for no code, 400 where it must and is not."""
    if action not in ASKED:
        return None
    text = request.headers.get(HEADER)
    if text is None:
        if role in asked:
            raise Problem(PURPOSE_REQUIRED)
        return None
    found = coded(text)
    if found is None:
        raise Problem(
            INVALID_PARAMETER, errors=[{"pointer": f"/{HEADER}", "detail": f"One of: {', '.join(StatedPurpose)}."}]
        )
    return found


def coded(text: str) -> StatedPurpose | None:
    """The purpose that this code stands for, or None."""
    try:
        return StatedPurpose(text.strip())
    except ValueError:
        return None
