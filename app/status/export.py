"""`/needs.csv`: the list of the first page as a file for a spreadsheet, with the same filters."""

import csv
import io
from collections.abc import Iterable

from fastapi import APIRouter, Response
from sqlalchemy import func

from app.access.pages import PageRoute, step_up
from app.access.policy import Action
from app.access.routes import CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.reporting.needs import MOST_EXPORTED, Needs, needs
from app.status.home_filters import GROUP_NAMES, HomeFilters
from app.status.needs_words import what
from app.web.csv_table import safe
from app.web.database import Transaction
from app.web.words import LONDON

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_HEAD = ("group", "what", "reference", "originator", "region", "agency", "priority", "due or since (London)")


@router.get("/needs.csv", response_class=Response)
@permit(Action.SEE_STATUS_PAGE)
@step_up
async def export(principal: CurrentPrincipal, connection: Transaction, filters: HomeFilters) -> Response:
    """At most `MOST_EXPORTED` cases of each group. Names nobody: references, codes and times."""
    found = await needs(connection, filters.scope, MOST_EXPORTED)
    number = sum(len(group.cases) for group in found)
    await record(
        connection, principal.actor, [Event(Operation.CONSULTATION, "needs.exported", detail={"cases": number})]
    )
    now = await connection.scalar(func.now())
    name = f"needs-{now.astimezone(LONDON):%Y-%m-%d-%H%M}.csv"
    return Response(
        table(found), media_type="text/csv", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def table(found: Iterable[Needs]) -> str:
    """Pure: the cases as CSV (RFC 4180)."""
    lines = io.StringIO()
    writer = csv.writer(lines)
    writer.writerow(_HEAD)
    for group in found:
        for case in group.cases:
            at = f"{case.at.astimezone(LONDON):%Y-%m-%d %H:%M}"
            row = (GROUP_NAMES[group.group], what(case), case.reference, case.originator, case.region, case.agency)
            writer.writerow([safe(cell or "") for cell in (*row, case.priority, at)])
    return lines.getvalue()
