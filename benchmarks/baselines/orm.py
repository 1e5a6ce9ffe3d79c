"""The same through ORM objects: one object a row, one commit a request, as most services of this kind are written.

Bodies are validated by the same models; there is no key check. `/v1/referrals` stores the rows that the broker stores
before it answers; `/v1/referrals-with-dispatches` makes the dispatches in the request too, as a house without workers.
"""

import contextlib
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, Header
from pydantic import BaseModel
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from uuid_utils.compat import uuid7

from app import schema
from app.audit.models import AuditEvent
from app.referrals.codes import priority_of, rank
from app.referrals.documents import SubmittedReferral
from app.referrals.models import Dispatch, Referral, Submission
from app.referrals.views import for_agency

_CONNECTIONS = 10
assert schema.metadata.tables, "foreign keys name tables of every slice, so all must be known"
engine = create_async_engine(
    os.environ.get("GAIN_DATABASE_URL") or "postgresql+asyncpg://", pool_size=_CONNECTIONS, max_overflow=0
)
sessions = async_sessionmaker(engine, expire_on_commit=False)


@contextlib.asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await engine.dispose()


async def _session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session, session.begin():
        yield session


Session = Annotated[AsyncSession, Depends(_session, scope="function")]
app = FastAPI(lifespan=_lifespan, openapi_url=None)


class Made(BaseModel):
    id: UUID
    reference: str
    state: str
    created_at: datetime


@app.post("/v1/referrals", status_code=201)
async def submit(body: SubmittedReferral, session: Session, idempotency_key: Annotated[str, Header()]) -> Made:
    return _made(await _store(body, session, idempotency_key))


@app.post("/v1/referrals-with-dispatches", status_code=201)
async def submit_and_dispatch(
    body: SubmittedReferral, session: Session, idempotency_key: Annotated[str, Header()]
) -> Made:
    referral = await _store(body, session, idempotency_key)
    now = datetime.now(UTC)
    referral.state = "in_progress"
    for agency in body.addressees or ():
        session.add(
            Dispatch(
                id=uuid7(),
                referral_id=referral.id,
                agency=agency,
                state="queued",
                priority=referral.priority,
                region=referral.region,
                rule="named",
                release=1,
                reason="named by the originator",
                due_at=now + timedelta(days=14),
                expires_at=now + timedelta(days=21),
                queued_at=now,
            )
        )
    await session.flush()
    return _made(referral)


async def _store(body: SubmittedReferral, session: AsyncSession, key: str) -> Referral:
    made = uuid7()
    referral = Referral(
        id=made,
        reference=f"GAIN-2026-{made}",  # the broker's sequence would cost this one a statement more
        originator="SWP",
        region="TARIAN",
        state="accepted",
        priority=rank(body.priority),
        crime_types=[crime_type.value for crime_type in body.crime_types],
        addressees=body.addressees,
        content=body.model_dump_json(exclude_unset=True).encode(),
        created_by="orm",
        respond_by=datetime.now(UTC) + timedelta(days=14),
    )
    session.add(referral)
    await session.flush()  # the others point to it
    session.add(Submission(party="SWP", key=key.encode(), sameness=b"", referral_id=referral.id))
    event = AuditEvent(
        operation="collection", action="referral.accepted", party="SWP", actor="orm", referral_id=referral.id
    )
    session.add(event)
    await session.flush()
    return referral


def _made(referral: Referral) -> Made:
    return Made.model_validate(referral, from_attributes=True)


class Ids(BaseModel):
    ids: list[UUID]


class Claim(BaseModel):
    limit: int = 50
    lease_seconds: int = 300


@app.get("/v1/inbox")
async def read_page(session: Session, agency: str, limit: int = 100) -> dict[str, Any]:
    found = await session.execute(_waiting(agency).limit(limit))
    shown = [(dispatch, referral) for dispatch, referral in found.tuples()]
    for dispatch, _ in shown:
        _deliver(session, dispatch)
    await session.flush()
    return {"items": [_item(dispatch, referral) for dispatch, referral in shown], "next": None}


@app.post("/v1/inbox/claims")
async def claim(body: Claim, session: Session, agency: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    free = or_(Dispatch.claim_expires_at.is_(None), Dispatch.claim_expires_at <= now)
    statement = _waiting(agency).where(free).limit(body.limit).with_for_update(of=Dispatch, skip_locked=True)
    shown = [(dispatch, referral) for dispatch, referral in (await session.execute(statement)).tuples()]
    claim_id = uuid7()
    for dispatch, _ in shown:
        dispatch.claim_id = claim_id
        dispatch.claim_expires_at = now + timedelta(seconds=body.lease_seconds)
        _deliver(session, dispatch)
    await session.flush()
    items = [{**_item(dispatch, referral), "claim_id": claim_id} for dispatch, referral in shown]
    return {"items": items, "next": None}


@app.post("/v1/inbox/acknowledgements")
async def acknowledge(body: Ids, session: Session, agency: str) -> dict[str, Any]:
    statement = select(Dispatch).where(Dispatch.id.in_(body.ids), Dispatch.agency == agency).with_for_update()
    results = []
    for dispatch in await session.scalars(statement):
        dispatch.state = "acknowledged"
        dispatch.acknowledged_at = datetime.now(UTC)
        session.add(_event("alteration", "dispatch.acknowledged", dispatch))
        results.append({"id": dispatch.id, "status": 200, "state": dispatch.state})
    await session.flush()
    return {"items": results, "next": None}


def _waiting(agency: str) -> Any:
    return (
        select(Dispatch, Referral)
        .join(Referral, Referral.id == Dispatch.referral_id)
        .where(Dispatch.agency == agency, Dispatch.state.in_(["queued", "delivered"]))
        .order_by(Dispatch.priority, Dispatch.number)
    )


def _deliver(session: AsyncSession, dispatch: Dispatch) -> None:
    if dispatch.delivered_at is None:
        dispatch.state = "delivered"
        dispatch.delivered_at = datetime.now(UTC)
        session.add(_event("disclosure", "dispatch.delivered", dispatch))


def _event(operation: str, action: str, dispatch: Dispatch) -> AuditEvent:
    return AuditEvent(
        operation=operation,
        action=action,
        party=dispatch.agency,
        actor="orm",
        referral_id=dispatch.referral_id,
        dispatch_id=dispatch.id,
    )


def _item(dispatch: Dispatch, referral: Referral) -> dict[str, Any]:
    return {
        "id": dispatch.id,
        "reference": referral.reference,
        "agency": dispatch.agency,
        "round": dispatch.round,
        "state": dispatch.state,
        "priority": priority_of(dispatch.priority),
        "due_at": dispatch.due_at,
        "referral": for_agency(referral.id, referral.originator, referral.content),
    }
