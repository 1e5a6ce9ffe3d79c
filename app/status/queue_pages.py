"""`/queues`: which body is stuck and since when, and how each does; `/queues/{agency}`: one of them, with its cases."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.sse import EventSourceResponse
from sqlalchemy import func

from app.access.navigation import Link, add_links
from app.access.pages import PageRoute, unattended
from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.db import Behalf, Connection
from app.errors import NOT_FOUND, Problem
from app.parties.directory import Directory, DirectoryCache
from app.referrals.heartbeat import Beating, silent_seconds
from app.reporting.figures import Answers
from app.reporting.needs import SHOWN, Group, needs
from app.reporting.queues import observed
from app.reporting.quotas import notices_left
from app.reporting.reports import figures, hourly
from app.reporting.spark import Spark, spark
from app.reporting.stuck import Stuck, Why, order, stuck
from app.reporting.trouble import trouble
from app.status.concerns import Running
from app.status.home_filters import Filters, HomeFilters
from app.status.live import Live
from app.status.needs_words import told
from app.status.parts import system_words
from app.status.sights import Paint, Parts
from app.web import pages
from app.web.database import Transaction
from app.web.health import Readiness
from app.web.words import LONDON, age, ago, counted, length

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


Show = Annotated[str, Query(max_length=10)]


@dataclass(frozen=True, slots=True)
class Lines:
    """What the page shows: the time, a line a body, what is stuck first, and for how long each part is silent."""

    at: datetime
    lines: list[dict[str, Any]]
    silent: Mapping[Beating, float | None]

    @property
    def standing(self) -> list[dict[str, Any]]:
        """The bodies where nothing moves."""
        return [line for line in self.lines if line["stuck"] and line["stuck"]["stands_still"]]

    def shown(self, show: str) -> list[dict[str, Any]]:
        """The lines that a filter leaves."""
        late = [line for line in self.lines if line["stuck"]]
        return {"": self.lines, "stuck": self.standing, "late": late}[show]


@dataclass(frozen=True, slots=True)
class Queues:
    """The page of a region's queues (None: of all), narrowed to what `show` says."""

    region: str | None
    show: str
    chase: str
    behalf: Behalf
    directory: DirectoryCache

    async def read(self, connection: Connection) -> Lines:
        """The lines as they are now."""
        now, lines = await _lines(connection, self.region, await self.directory.get(connection))
        return Lines(now, lines, await silent_seconds(connection))

    def painter(self) -> Paint:
        """What makes its parts."""
        return self.paint

    def paint(self, read: Lines, running: Running) -> Parts:
        """`system`, `stuck`, `queues` with an empty place for each body's row, and the rows, by their ids."""
        shown = read.shown(self.show)
        rows = {f"queue-{line['agency']}": pages.text("queues_row.html", line=line, chase=self.chase) for line in shown}
        return {
            "system": pages.text("system.html", system=system_words(read.silent, running.broker_ok)),
            "stuck": pages.text("queues_stuck.html", standing=read.standing),
            "queues": pages.text("queues_rows.html", ids=list(rows), filled=None),
            **rows,
        }


@router.get("/queues", response_class=Response)
@permit(Action.READ_QUEUES)
async def queues_page(
    request: Request, principal: CurrentPrincipal, connection: Transaction, filters: HomeFilters, show: Show = ""
) -> Response:
    """Every body, what is stuck first."""
    sight = _sight(request, principal, filters, show)
    read = await sight.read(connection)
    await record(connection, principal.actor, [Event(Operation.CONSULTATION, "queues.read")])
    readiness: Readiness = request.app.state.readiness
    parts = sight.paint(read, Running((await readiness.report()).works("broker")))
    ids = [f"queue-{line['agency']}" for line in read.shown(show)]
    return pages.render(
        "queues.html",
        request=request,
        parts=parts,
        rows=pages.text("queues_rows.html", ids=ids, filled=parts),
        at=read.at,
        filters=filters,
        stream=filters.address("/queues/live", show=show),
        here=filters.address("/queues", show=show),
        show=show,
        shows=list(SHOW.items()),
        region=filters.board_region,
    )


@router.get("/queues/live", response_class=Response)
@permit(Action.READ_QUEUES)
@unattended
async def live_queues(
    request: Request, principal: CurrentPrincipal, connection: Transaction, filters: HomeFilters, show: Show = ""
) -> Response:
    """The parts of the page as they change, until the session ends. Logged once, as the first page's stream is."""
    sight = _sight(request, principal, filters, show)
    await record(connection, principal.actor, [Event(Operation.CONSULTATION, "queues.followed")])
    live: Live = request.app.state.live
    return EventSourceResponse(live.stream(request.state.signed_in.reader, sight), headers={"X-Accel-Buffering": "no"})


@router.get("/queues/{code}", response_class=Response)
@permit(Action.READ_QUEUES)
async def queue_page(
    code: str, request: Request, principal: CurrentPrincipal, connection: Transaction, filters: HomeFilters
) -> Response:
    """One body: its figures, and its cases that need somebody."""
    now, lines = await _lines(connection, filters.board_region, await request.app.state.directory.get(connection))
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
        region=_chase(principal, filters),
    )


def _sight(request: Request, principal: Principal, filters: Filters, show: str) -> Queues:
    """The page that the filters ask for. Raises `Problem` (404) for one that there is not."""
    if show not in SHOW:
        raise Problem(NOT_FOUND)
    chase = _chase(principal, filters)
    return Queues(filters.board_region, show, chase, principal.behalf, request.app.state.directory)


def _chase(principal: Principal, filters: Filters) -> str:
    """What follows the address that chases a body, where another region's dispatches are meant."""
    return "" if filters.region in ("", principal.party) else f"?region={filters.region}"


async def _lines(
    connection: Connection, region: str | None, directory: Directory
) -> tuple[datetime, list[dict[str, Any]]]:
    """The time, and a line a body, in the order of `reporting.stuck`."""
    now: datetime = await connection.scalar(func.now())
    today = now.astimezone(LONDON).date()
    failing, left = await trouble(connection, region), await notices_left(connection)
    given, hours = await figures(connection, region), await hourly(connection, region)
    found = [(queue, stuck(queue, failing, now)) for queue in await observed(connection, region)]
    ranked = sorted(found, key=lambda one: _rank(one[1], one[0]["agency"]))
    lines = [_line(queue, why, left.get(queue["agency"]), now) for queue, why in ranked]
    for line in lines:
        away = directory[line["agency"]].policy.away_until(today)
        line["away"] = away and f"{away:%-d %B %Y}"
        line |= _answers(given.get(line["agency"]), hours.get(line["agency"]))
    return now, lines


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
        # To the minute: a body that polls is seen every few seconds, and its row need not change as often.
        "seen_at": queue["last_seen_at"] and queue["last_seen_at"].replace(second=0, microsecond=0),
        "quota": "No limit" if left is None else f"{left[0]:,} of {left[1]:,} left today",
    }


def _answers(given: Answers | None, hours: list[int] | None) -> dict[str, Any]:
    """What a body's answers were like lately, and how many it gave in each of the last 24 hours."""
    drawn: Spark = spark(hours or [])
    median, rate = (given.median_seconds, given.hit_rate) if given else (None, None)
    return {
        "median": length(median) if median is not None else None,
        "hit_rate": f"{rate:.0%}" if rate is not None else None,
        "spark": drawn,
        "spark_words": f"{counted(drawn.total, 'answer')} in 24 hours, at most {drawn.most} in one",
    }
