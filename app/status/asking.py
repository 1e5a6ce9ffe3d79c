"""What a report is asked for: which months, which region; and the log of who asked."""

from typing import Annotated

from fastapi import Depends, Query, Request

from app import clock
from app.access.policy import Action, Relation
from app.access.principal import Principal
from app.access.routes import CurrentPrincipal
from app.audit.record import Event, Operation, record
from app.db import Connection
from app.errors import INVALID_PARAMETER, Problem
from app.parties.directory import Directory
from app.reporting import reports
from app.reporting.period import LONGEST_MONTHS, MONTH_PATTERN, BadPeriod, Period, period, written
from app.reporting.reports import AgencyAnswers, MadeReferrals, Outcomes, Report, Scope, scope_of
from app.web.database import Transaction

ACTIONS = {
    Report.REFERRALS: Action.READ_REPORTS,
    Report.AGENCIES: Action.READ_AGENCY_REPORT,
    Report.OUTCOMES: Action.READ_REPORTS,
}
"""The action that each report is."""

_From = Annotated[
    str | None,
    Query(
        alias="from",
        pattern=MONTH_PATTERN,
        examples=["2025-12"],
        description=f"The first month. Left out: twelve months in all; at most {LONGEST_MONTHS}.",
    ),
]
_To = Annotated[
    str | None,
    Query(pattern=MONTH_PATTERN, examples=["2026-11"], description="The last month. Left out: the one that runs."),
]
_Region = Annotated[
    str | None,
    Query(pattern=r"^([A-Z][A-Z0-9-]{0,39})?$", examples=["TARIAN"], description="One region's figures alone."),
]


class Asking:
    """One request for a report: `over` its period, `chosen` the region asked for.

    `region` is the one that the figures are of, once a report was read; `originator` the only one, where there is one.
    Raises `Problem` (422) for a bad period.
    """

    def __init__(
        self,
        request: Request,
        principal: CurrentPrincipal,
        connection: Transaction,
        first: _From = None,
        to: _To = None,
        region: _Region = None,
    ) -> None:
        self.principal: Principal = principal
        self.chosen = region or None  # a form sends an empty one
        self.region: str | None = None
        self.originator: str | None = None
        self._request = request
        self._connection: Connection = connection
        try:
            self.over: Period = period(first, to, clock.now())
        except BadPeriod as error:
            raise Problem(INVALID_PARAMETER, errors=[{"pointer": "query/from", "detail": str(error)}]) from None

    @property
    def is_national(self) -> bool:
        """Whether the caller may see any region."""
        return self.principal.relation(Action.READ_REPORTS) is Relation.ALL

    async def directory(self) -> Directory:
        """The parties as they are now."""
        found: Directory = await self._request.app.state.directory.get(self._connection)
        return found

    async def referrals(self) -> list[MadeReferrals]:
        """The referrals in the caller's scope. Raises `Problem` (404) for a region outside it."""
        scope = await self._scope(Report.REFERRALS)
        return await reports.referrals(self._connection, await self.directory(), scope, self.over)

    async def agencies(self) -> list[AgencyAnswers]:
        """The answers, likewise."""
        scope = await self._scope(Report.AGENCIES)
        return await reports.agencies(self._connection, await self.directory(), scope, self.over)

    async def outcomes(self) -> list[Outcomes]:
        """The outcomes, likewise."""
        scope = await self._scope(Report.OUTCOMES)
        return await reports.outcomes(self._connection, await self.directory(), scope, self.over)

    async def _scope(self, report: Report) -> Scope:
        """What the caller sees of it; the log is told."""
        scope = scope_of(self.principal, ACTIONS[report], self.chosen, await self.directory())
        self.region, self.originator = scope.region, scope.originator
        detail = {"report": report.value, "from": written(self.over.first), "to": written(self.over.last)}
        if scope.region is not None:
            detail["region"] = scope.region
        event = Event(Operation.CONSULTATION, "report.read", detail=detail)
        await record(self._connection, self.principal.actor, [event])
        return scope


Asked = Annotated[Asking, Depends()]
