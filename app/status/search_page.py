"""`/search`: by reference, or by subject with a stated purpose.

Who is searched for is posted, and never in an address; the answer to the form is the page itself, for what was found
belongs in no address either. A subject is found by the blind index: by full name with birth date, or by an identifier
with its type. Nothing is opened for it, and only what the caller oversees is found.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from sqlalchemy import func, select
from starlette.responses import RedirectResponse

from app.access.navigation import Link, add_links
from app.access.pages import PageRoute
from app.access.policy import Action
from app.access.principal import Principal
from app.access.purposes import CHOICES, coded
from app.access.routes import CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.crypto.blind_index import Kind
from app.crypto.vault import blind_index_of
from app.db import Connection
from app.referrals import queries
from app.referrals.codes import IdentifierType
from app.referrals.models import Referral
from app.referrals.same_subject import same_subject
from app.web import pages
from app.web.database import Transaction
from app.web.words import ago, plain

router = APIRouter(route_class=PageRoute, include_in_schema=False)

add_links(Link("Search", "/search", Action.SEE_STATUS_PAGE, order=30))

FOUND_SHOWN = 100
_TYPES = [("", "None"), *((one.value, plain(one.value).capitalize()) for one in IdentifierType)]
_BY: Mapping[Kind, str] = {"person": "name and date of birth", "identifier": "identifier"}
_TOO_LITTLE = "Give a full name with the date of birth, or an identifier with its type."


@dataclass(frozen=True, slots=True)
class Sought:
    """Whom the form describes, as it was sent, and why."""

    family_name: str = ""
    given_names: str = ""
    day: str = ""
    month: str = ""
    year: str = ""
    identifier: str = ""
    value: str = ""
    purpose: str = ""

    @property
    def born(self) -> date | None:
        """The date of birth, None where it is none."""
        try:
            return date(int(self.year), int(self.month), int(self.day))
        except ValueError:
            return None

    @property
    def subject(self) -> dict[str, Any]:
        """What of it can be looked up, as a referral's subject."""
        found: dict[str, Any] = {}
        if self.identifier and self.value:
            found["identifiers"] = [{"type": self.identifier, "value": self.value}]
        if self.born:
            found |= {"family_name": self.family_name, "given_names": self.given_names, "date_of_birth": self.born}
        return found

    def errors(self) -> dict[str, str]:
        """What is wrong with it, by the field's id."""
        found = {}
        if any((self.day, self.month, self.year)) and self.born is None:
            found["born-day"] = "Give a date of birth, for example 27 3 1984."
        if bool(self.identifier) != bool(self.value) or (
            self.identifier and self.identifier not in list(IdentifierType)
        ):
            found["value"] = "Give an identifier with its type."
        if coded(self.purpose) is None:
            found["purpose"] = "Say why you search."
        return found


def _sought(
    family_name: Annotated[str, Form(max_length=200)] = "",
    given_names: Annotated[str, Form(max_length=200)] = "",
    day: Annotated[str, Form(alias="born-day", max_length=10)] = "",
    month: Annotated[str, Form(alias="born-month", max_length=10)] = "",
    year: Annotated[str, Form(alias="born-year", max_length=10)] = "",
    identifier: Annotated[str, Form(max_length=50)] = "",
    value: Annotated[str, Form(max_length=100)] = "",
    purpose: Annotated[str, Form(max_length=50)] = "",
) -> Sought:
    given = (family_name, given_names, day, month, year, identifier, value, purpose)
    return Sought(*(text.strip() for text in given))


@router.get("/search", response_class=Response)
@permit(Action.SEE_STATUS_PAGE)
async def search_page(
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    reference: Annotated[str | None, Query(max_length=50)] = None,
) -> Response:
    """Both forms; with a reference straight to its referral, where there is one."""
    if reference is None:
        return _page(request, sought=Sought(purpose=principal.purpose or ""))
    reference = reference.strip().upper()
    found = await connection.scalar(
        select(Referral.id).where(Referral.reference == reference, queries.visible(principal, Action.SEE_STATUS_PAGE))
    )
    event = Event(Operation.CONSULTATION, "reference.searched", found)
    await record(connection, principal.actor, [event])
    if found is not None:
        return RedirectResponse(f"/referrals/{found}", 303)
    errors = {"reference": "No referral that you oversee has this reference."}
    return _page(request, reference=reference, errors=errors, status=404)


@router.post("/search", response_class=Response)
@permit(Action.COORDINATE)
async def search(
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    sought: Annotated[Sought, Depends(_sought)],
) -> Response:
    """The referrals about this subject that the caller oversees, the newest first; logged with the purpose."""
    errors = sought.errors()
    blinds = [] if errors else blind_index_of(connection).of(sought.subject)
    if not errors and not blinds:
        errors = {"family_name": _TOO_LITTLE}
    if errors:
        return _page(request, sought=sought, errors=errors, status=422)
    matched = await same_subject(connection, [blind.digest for blind in blinds], limit=FOUND_SHOWN)
    found = await _described(connection, principal, matched)
    detail = {"by": sorted({blind.kind for blind in blinds}), "ids": [str(one["id"]) for one in found]}
    actor = replace(principal, purpose=coded(sought.purpose)).actor
    await record(connection, actor, [Event(Operation.CONSULTATION, "subject.searched", detail=detail)])
    return _page(request, sought=sought, found=found)


async def _described(
    connection: Connection, principal: Principal, matched: Mapping[Any, frozenset[Kind]]
) -> list[dict[str, Any]]:
    """What the list shows of each referral: nothing of its content."""
    now: datetime = await connection.scalar(func.now())
    rows = await connection.execute(
        select(Referral.id, Referral.reference, Referral.originator, Referral.state, Referral.created_at)
        .where(Referral.id.in_(matched), queries.visible(principal, Action.SEE_STATUS_PAGE))
        .order_by(Referral.id.desc())
    )
    return [
        {
            **row._mapping,
            "when": ago(row.created_at, now),
            "by": ", ".join(_BY[kind] for kind in sorted(matched[row.id])),
        }
        for row in rows
    ]


def _page(
    request: Request,
    *,
    reference: str = "",
    sought: Sought | None = None,
    errors: Mapping[str, str] | None = None,
    found: list[dict[str, Any]] | None = None,
    status: int = 200,
) -> Response:
    return pages.render(
        "search.html",
        request=request,
        status=status,
        reference=reference,
        sought=asdict(sought or Sought()),
        errors=errors or {},
        found=found,
        purposes=CHOICES,
        types=_TYPES,
        most=FOUND_SHOWN,
    )
