"""`/queues`: which body is stuck and since when, and how each does; `/queues/{agency}`: one of them, with its cases."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import func

from app.access.navigation import Link, add_links
from app.access.pages import PageRoute
from app.access.policy import Action
from app.access.routes import CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.db import Connection
from app.errors import NOT_FOUND, Problem
from app.referrals.heartbeat import silent_seconds
from app.reporting.needs import SHOWN, Group, needs
from app.reporting.queues import observed
from app.reporting.quotas import notices_left
from app.reporting.stuck import Stuck, Why, order, stuck
from app.reporting.trouble import trouble
from app.status.home_filters import Filters, HomeFilters
from app.status.needs_words import told
from app.status.parts import system_words
from app.web import pages
from app.web.database import Transaction
from app.web.health import Readiness
from app.web.words import LONDON, age, ago

router = APIRouter(route_class=PageRoute, include_in_schema=False)

add_links(Link("Queues", "/queues", Action.READ_QUEUES, order=20))

_WHY: Mapping[Why, str] = {
    Why.ADDRESS: "Its address is refused: it is not told any more",
    Why.PAUSED: "Calls to it fail, and are paused",
    Why.SILENT: "Does not look into its inbox",
    Why.FAILING: "Hand-overs fail again and again",
    Why.LATE: "Answers are overdue",
}
SHOW = {"": "All", "stuck": "What is stuck", "late": "What is stuck or late"}


@router.get("/queues", response_class=Response)
@permit(Action.READ_QUEUES)
async def queues_page(
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    filters: HomeFilters,
    show: Annotated[str, Query(max_length=10)] = "",
) -> Response:
    """Every body, what is stuck first."""
    if show not in SHOW:
        raise Problem(NOT_FOUND)
    now, lines = await _lines(connection, filters)
    await record(connection, principal.actor, [Event(Operation.CONSULTATION, "queues.read")])
    standing = [line for line in lines if line["stuck"] and line["stuck"]["stands_still"]]
    late = [line for line in lines if line["stuck"] and not line["stuck"]["stands_still"]]
    shown = {"": lines, "stuck": standing, "late": standing + late}[show]
    return pages.render(
        "queues.html",
        request=request,
        lines=shown,
        standing=standing,
        at=now,
        filters=filters,
        show=show,
        shows=list(SHOW.items()),
        region=filters.board_region,
        chase="" if filters.region in ("", principal.party) else f"?region={filters.region}",
        system=await _system(request, connection),
    )


@router.get("/queues/{code}", response_class=Response)
@permit(Action.READ_QUEUES)
async def queue_page(
    code: str, request: Request, principal: CurrentPrincipal, connection: Transaction, filters: HomeFilters
) -> Response:
    """One body: its figures, and its cases that need somebody."""
    now, lines = await _lines(connection, filters)
    line = next((line for line in lines if line["agency"] == code), None)
    if line is None:
        raise Problem(NOT_FOUND)
    scope = replace(filters.scope, agency=code, group=None)
    groups = await needs(connection, scope, SHOWN)
    shown = sorted({str(case.referral_id) for group in groups for case in group.cases})
    event = Event(Operation.CONSULTATION, "queue.read", detail={"agency": code, "ids": shown})
    await record(connection, principal.actor, [event])
    late = [(code, line["overdue"])] if line["overdue"] else []
    return pages.render(
        "queue_page.html",
        request=request,
        line=line,
        at=now,
        groups=[
            {
                **told(group, principal.party, now),
                "late": late if group.group is Group.OVERDUE else (),
                "address": f"{filters.address('/', agency=code, group=group.group)}#needs-{group.group}",
            }
            for group in groups
        ],
        narrowed=False,
        region="" if filters.region in ("", principal.party) else f"?region={filters.region}",
    )


async def _lines(connection: Connection, filters: Filters) -> tuple[datetime, list[dict[str, Any]]]:
    """The time, and a line a body, in the order of `reporting.stuck`."""
    now: datetime = await connection.scalar(func.now())
    region = filters.board_region
    failing, left = await trouble(connection, region), await notices_left(connection)
    found = [(queue, stuck(queue, failing, now)) for queue in await observed(connection, region)]
    ranked = sorted(found, key=lambda one: _rank(one[1], one[0]["agency"]))
    return now, [_line(queue, why, left.get(queue["agency"]), now) for queue, why in ranked]


def _rank(found: Stuck | None, agency: str) -> tuple[int, float, str]:
    place, since, code = order(found, agency)
    return place, since.timestamp() if since else 0.0, code


def _line(queue: Mapping[str, Any], found: Stuck | None, left: tuple[int, int] | None, now: datetime) -> dict[str, Any]:
    return {
        **queue,
        "stuck": found
        and {
            "why": _WHY[found.why],
            "since": found.since,
            "for": age(found.since, now),
            "stands_still": found.stands_still,
            "next": found.next_at and f"{found.next_at.astimezone(LONDON):%H:%M}",
        },
        "age": queue["oldest"] and age(queue["oldest"], now),
        "seen": queue["last_seen_at"] and ago(queue["last_seen_at"], now),
        "quota": "No limit" if left is None else f"{left[0]:,} of {left[1]:,} left today",
    }


async def _system(request: Request, connection: Connection) -> list[tuple[bool, str]]:
    """How workers, scheduler, log and broker do, in words."""
    readiness: Readiness = request.app.state.readiness
    report, silent = await asyncio.gather(readiness.report(), silent_seconds(connection))
    return system_words(silent, report.works("broker"))
