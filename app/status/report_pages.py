"""The pages of the reports: a sentence, a chart and its table for each, and the table as a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from app import clock
from app.access.navigation import Link, add_links
from app.access.pages import PageRoute
from app.access.policy import Action, relation
from app.access.routes import permit
from app.reporting import headlines, tables
from app.reporting.period import written
from app.reporting.reports import Report, regions
from app.status import report_sections as sections
from app.status.asking import ACTIONS, Asked, Asking
from app.status.report_sections import Section
from app.status.reports import csv_response
from app.web import pages
from app.web.words import LONDON

pages.add_templates(Path(__file__).parent / "templates")
add_links(Link("Reports", "/reports", Action.READ_REPORTS, order=60))

router = APIRouter(route_class=PageRoute, prefix="/reports", include_in_schema=False)

TITLES = {
    Report.REFERRALS: "Referrals",
    Report.AGENCIES: "How agencies answer",
    Report.OUTCOMES: "Outcomes",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """One report on its page."""

    report: Report
    headline: str
    sections: Sequence[Section] = ()


@router.get("", response_class=Response)
@permit(Action.READ_REPORTS)
async def overview(request: Request, asked: Asked) -> Response:
    """What each report says in a sentence."""
    told = [await _shown(asked, report, whole=False) for report in _allowed(asked)]
    return await _page("reports.html", request, asked, heading="Reports", told=told)


@router.get("/referrals", response_class=Response)
@permit(Action.READ_REPORTS)
async def referrals_page(request: Request, asked: Asked) -> Response:
    """Who made how many referrals."""
    return await _report(request, asked, Report.REFERRALS)


@router.get("/agencies", response_class=Response)
@permit(Action.READ_AGENCY_REPORT)
async def agencies_page(request: Request, asked: Asked) -> Response:
    """How agencies answer."""
    return await _report(request, asked, Report.AGENCIES)


@router.get("/outcomes", response_class=Response)
@permit(Action.READ_REPORTS)
async def outcomes_page(request: Request, asked: Asked) -> Response:
    """What came of the referrals."""
    return await _report(request, asked, Report.OUTCOMES)


@router.get("/referrals.csv", response_class=Response)
@permit(Action.READ_REPORTS)
async def referrals_file(asked: Asked) -> Response:
    """Who made how many referrals, as a file."""
    return csv_response(tables.of_referrals(await asked.referrals(), asked.over), Report.REFERRALS, asked)


@router.get("/agencies.csv", response_class=Response)
@permit(Action.READ_AGENCY_REPORT)
async def agencies_file(asked: Asked) -> Response:
    """How agencies answer, as a file."""
    return csv_response(tables.of_agencies(await asked.agencies()), Report.AGENCIES, asked)


@router.get("/outcomes.csv", response_class=Response)
@permit(Action.READ_REPORTS)
async def outcomes_file(asked: Asked) -> Response:
    """What came of the referrals, as a file."""
    return csv_response(tables.of_outcomes(await asked.outcomes()), Report.OUTCOMES, asked)


async def _report(request: Request, asked: Asking, report: Report) -> Response:
    told = await _shown(asked, report, whole=True)
    return await _page("report.html", request, asked, heading=TITLES[report], told=told)


async def _shown(asked: Asking, report: Report, *, whole: bool) -> Shown:
    """A report in its sentence, and with its sections if it is to be whole."""
    match report:
        case Report.REFERRALS:
            made = await asked.referrals()
            parts = sections.of_referrals(made, asked.over) if whole else []
            return Shown(report, headlines.of_referrals(made, asked.over), parts)
        case Report.AGENCIES:
            answering = await asked.agencies()
            parts = sections.of_agencies(answering, asked.over) if whole else []
            return Shown(report, headlines.of_agencies(answering, asked.over), parts)
        case Report.OUTCOMES:
            brought = await asked.outcomes()
            parts = sections.of_outcomes(brought, asked.over) if whole else []
            return Shown(report, headlines.of_outcomes(brought, asked.over), parts)


def _allowed(asked: Asking) -> list[Report]:
    return [report for report in Report if relation(asked.principal.role, ACTIONS[report]) is not None]


async def _page(template: str, request: Request, asked: Asking, *, heading: str, told: object) -> Response:
    over = asked.over
    query = {"from": written(over.first), "to": written(over.last)}
    if asked.chosen is not None:
        query["region"] = asked.chosen
    named = regions(await asked.directory())
    whose = named.get(asked.region, asked.region) if asked.region else asked.originator
    months = sections.choices(over, clock.now().astimezone(LONDON).date())
    return pages.render(
        template,
        request=request,
        heading=heading,
        over=over,
        whose=whose or "All regions",
        told=told,
        titles={report.value: TITLES[report] for report in _allowed(asked)},
        query=urlencode(query),
        first=written(over.first),
        last=written(over.last),
        months=[(written(month), f"{month:%B %Y}") for month in months],
        regions=[("", "All regions"), *sorted(named.items())] if asked.is_national else [],
        region=asked.chosen or "",
    )
