"""`GET /v1/queues`: what waits at every agency."""

from datetime import datetime

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from app.access.policy import Action
from app.access.routes import AccessRoute, CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.reporting.queues import Health, queues
from app.web.database import Transaction
from app.web.json import json_response

router = APIRouter(route_class=AccessRoute, tags=["co-ordinators"])


class QueueView(BaseModel):
    """What waits at one agency, counted over the caller's region."""

    agency: str
    name: str
    held: int
    queued: int
    delivered: int
    acknowledged: int
    query: int
    overdue: int
    answered_today: int = Field(description="Answered or declined since midnight in London.")
    oldest_age_seconds: int | None = Field(description="Age of the oldest open dispatch.")
    last_seen_at: datetime | None = Field(description="When the agency last looked into its inbox or answered.")
    health: Health


class Queues(BaseModel):
    """Every agency's queue, by code."""

    items: list[QueueView]
    next: None = None


@router.get("/v1/queues", response_model=Queues, summary="See what waits at every agency")
@permit(Action.READ_QUEUES)
async def read_queues(principal: CurrentPrincipal, connection: Transaction) -> Response:
    """Counts by state of what is open, for every agency."""
    items = await queues(connection, principal)
    await record(connection, principal.actor, [Event(Operation.CONSULTATION, "queues.read")])
    return json_response({"items": items, "next": None})
