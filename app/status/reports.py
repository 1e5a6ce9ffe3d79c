"""`GET /v1/reports/…`: the figures of whole months, as JSON or CSV."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response

from app.access.policy import Action
from app.access.routes import AccessRoute, permit
from app.errors import NOT_ACCEPTABLE, NOT_FOUND, Problem
from app.reporting import headlines, tables
from app.reporting.period import written
from app.reporting.tables import Table
from app.status.asking import Asked, Asking
from app.status.report_views import (
    AgenciesReport,
    OutcomesReport,
    ReferralsReport,
    answers_view,
    made_view,
    outcomes_view,
)
from app.web.csv_table import MEDIA_TYPE, table
from app.web.docs import refusals
from app.web.json import json_response
from app.web.negotiation import preferred

router = APIRouter(route_class=AccessRoute, prefix="/v1/reports", tags=["reports"])

_JSON = "application/json"
_Accept = Annotated[str | None, Header(max_length=1_000)]
_VARY = {"Vary": "Accept"}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {MEDIA_TYPE: {"schema": {"type": "string", "description": "The items, a row each."}}}},
    **refusals(NOT_FOUND, NOT_ACCEPTABLE),
}


@router.get(
    "/referrals", response_model=ReferralsReport, responses=_RESPONSES, summary="Read who made how many referrals"
)
@permit(Action.READ_REPORTS)
async def read_referrals(asked: Asked, accept: _Accept = None) -> Response:
    """By originator and month: of a co-ordinator's region, of all for national, an originator's own."""
    form = _form(accept)
    made = await asked.referrals()
    if form == MEDIA_TYPE:
        return csv_response(tables.of_referrals(made, asked.over), "referrals", asked)
    items = [made_view(one, asked.over) for one in made]
    return _json(asked, headlines.of_referrals(made, asked.over), items)


@router.get("/agencies", response_model=AgenciesReport, responses=_RESPONSES, summary="Read how agencies answer")
@permit(Action.READ_AGENCY_REPORT)
async def read_agencies(asked: Asked, accept: _Accept = None) -> Response:
    """Answer times, hit rates, and why there was no answer: of a co-ordinator's region, of all for national."""
    form = _form(accept)
    found = await asked.agencies()
    if form == MEDIA_TYPE:
        return csv_response(tables.of_agencies(found), "agencies", asked)
    return _json(asked, headlines.of_agencies(found, asked.over), [answers_view(one) for one in found])


@router.get("/outcomes", response_model=OutcomesReport, responses=_RESPONSES, summary="Read what came of the referrals")
@permit(Action.READ_REPORTS)
async def read_outcomes(asked: Asked, accept: _Accept = None) -> Response:
    """Actions, disruptions, arrests, money: of a co-ordinator's region, of all for national, an originator's own."""
    form = _form(accept)
    found = await asked.outcomes()
    if form == MEDIA_TYPE:
        return csv_response(tables.of_outcomes(found), "outcomes", asked)
    return _json(asked, headlines.of_outcomes(found, asked.over), [outcomes_view(one) for one in found])


def csv_response(told: Table, name: str, asked: Asking) -> Response:
    """A table as a file with a name that says what it is and of when."""
    place = f"-{asked.region}" if asked.region else ""
    file = f"gain-{name}{place}-{written(asked.over.first)}-{written(asked.over.last)}.csv"
    headers = {**_VARY, "Content-Disposition": f'attachment; filename="{file}"'}
    return Response(table(told.heading, told.rows), media_type=MEDIA_TYPE, headers=headers)


def _form(accept: str | None) -> str:
    form = preferred(accept, (_JSON, MEDIA_TYPE))
    if form is None:
        raise Problem(NOT_ACCEPTABLE, f"A report is given as {_JSON} or {MEDIA_TYPE}.")
    return form


def _json(asked: Asking, headline: str, items: Sequence[dict[str, Any]]) -> Response:
    document = {
        "from": written(asked.over.first),
        "to": written(asked.over.last),
        "region": asked.region,
        "headline": headline,
        "items": items,
        "next": None,
    }
    return json_response(document, headers=_VARY)
