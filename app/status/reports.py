"""`GET /v1/reports/…`: figures of whole months, as JSON or CSV."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from app import clock
from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import AccessRoute, CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.db import Connection
from app.errors import INVALID_PARAMETER, NOT_ACCEPTABLE, NOT_FOUND, Problem
from app.parties.directory import Directory
from app.reporting import headlines, reports
from app.reporting.figures import Answers, together
from app.reporting.period import MONTH_PATTERN, BadPeriod, Period, period, written
from app.reporting.reports import AgencyAnswers, MadeReferrals, Scope, scope_of
from app.status.report_views import AgenciesReport, ReferralsReport
from app.web.csv_table import MEDIA_TYPE, Cell, table
from app.web.database import Transaction
from app.web.docs import refusals
from app.web.json import json_response
from app.web.negotiation import preferred

router = APIRouter(
    route_class=AccessRoute,
    prefix="/v1/reports",
    tags=["reports"],
    responses=refusals(NOT_FOUND, NOT_ACCEPTABLE, INVALID_PARAMETER),
)

_FORMS = ("application/json", MEDIA_TYPE)
Month = Annotated[str | None, Query(pattern=MONTH_PATTERN, examples=["2026-11"])]
