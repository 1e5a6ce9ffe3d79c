"""What came of a referral: each action of the force is one record, and they add up; a correction replaces one.

Figures and codes are open, for reports to add up; what somebody wrote is sealed. Records are only ever added.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from app.audit.record import Actor, Event, Operation, record
from app.crypto.sealing import Place
from app.crypto.vault import Opener, data_key
from app.db import Base, Connection
from app.errors import DISPOSED, INVALID_BODY, STATE_CONFLICT, Problem
from app.referrals.outcome_documents import Disruption, SubmittedOutcome, pence, pounds
from app.referrals.states import DispatchState, ReferralState

MOST = 200
"""Outcomes of one referral: their list is one page."""

COUNTS = ("arrests", "charged", "prohibition_orders", "children_safeguarded", "adults_safeguarded")
"""The figures that are numbers of people or orders."""

_ACTED_UPON = (ReferralState.IN_PROGRESS, ReferralState.COMPLETED)


class ReferralOutcome(Base):
    """What one action brought. Money is in pence; `seizures` are documents of `kind`, `quantity`, `value_pence`.

    A figure is null where the force did not say. `sealed_summary` is sealed under the referral's data key.
    """

    __tablename__ = "referral_outcome"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    referral_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("referral.id"))
    originator: Mapped[str] = mapped_column(Text, ForeignKey("party.code"))
    region: Mapped[str | None] = mapped_column(Text)
    acted_on: Mapped[date] = mapped_column(Date)
    disruption: Mapped[str | None] = mapped_column(Text)
    arrests: Mapped[int | None] = mapped_column(Integer)
    charged: Mapped[int | None] = mapped_column(Integer)
    prohibition_orders: Mapped[int | None] = mapped_column(Integer)
    children_safeguarded: Mapped[int | None] = mapped_column(Integer)
    adults_safeguarded: Mapped[int | None] = mapped_column(Integer)
    assets_frozen_pence: Mapped[int | None] = mapped_column(BigInteger)
    seized_pence: Mapped[int | None] = mapped_column(BigInteger)
    seizures: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'::jsonb"))
    sealed_summary: Mapped[bytes | None]
    replaces: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("referral_outcome.id"))
    recorded_by: Mapped[str] = mapped_column(Text)
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (
        CheckConstraint(
            f"disruption IS NULL OR disruption IN ({', '.join(repr(one.value) for one in Disruption)})",
            name="disruption",
        ),
        UniqueConstraint("replaces"),
        Index("ix_referral_outcome_referral_id", "referral_id", "id"),
        Index("ix_referral_outcome_recorded_at", "recorded_at"),
    )


class UsefulAnswer(Base):
    """A dispatch whose answer contributed to an outcome."""

    __tablename__ = "useful_answer"

    outcome_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("referral_outcome.id"), primary_key=True)
    dispatch_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("dispatch.id"), primary_key=True)
    referral_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("referral.id"))
    agency: Mapped[str] = mapped_column(Text)

    __table_args__ = (
        Index("ix_useful_answer_agency", "agency"),
        Index("ix_useful_answer_referral_id", "referral_id"),
    )


_LOCK = text("SELECT originator, region, state, disposed_at FROM referral WHERE id = :id FOR NO KEY UPDATE")

_ANSWERED = text("SELECT id, agency FROM dispatch WHERE referral_id = :id AND state = :answered")

_STANDING = text("""
    SELECT outcome.id, EXISTS (SELECT FROM referral_outcome AS later WHERE later.replaces = outcome.id) AS replaced
      FROM referral_outcome AS outcome WHERE outcome.referral_id = :id
""")

_STORE = text("""
    INSERT INTO referral_outcome
           (id, referral_id, originator, region, acted_on, disruption, arrests, charged, prohibition_orders,
            children_safeguarded, adults_safeguarded, assets_frozen_pence, seized_pence, seizures, sealed_summary,
            replaces, recorded_by)
    VALUES (:id, :referral_id, :originator, :region, :acted_on, :disruption, :arrests, :charged, :prohibition_orders,
            :children_safeguarded, :adults_safeguarded, :assets_frozen_pence, :seized_pence,
            CAST(:seizures AS jsonb), :sealed_summary, :replaces, :recorded_by)
""")

_STORE_USEFUL = text("""
    INSERT INTO useful_answer (outcome_id, dispatch_id, referral_id, agency)
    SELECT :id, useful.dispatch_id, :referral_id, useful.agency
      FROM unnest(CAST(:dispatches AS uuid[]), CAST(:agencies AS text[])) AS useful (dispatch_id, agency)
""")

_READ = text("""
    SELECT outcome.*, later.id AS replaced_by, data_key.ring_key, data_key.wrapped,
           coalesce(useful.dispatches, '{}') AS useful, coalesce(useful.agencies, '{}') AS useful_agencies
      FROM referral_outcome AS outcome
      LEFT JOIN referral_outcome AS later ON later.replaces = outcome.id
      LEFT JOIN data_key ON data_key.referral_id = outcome.referral_id
      LEFT JOIN LATERAL (SELECT array_agg(dispatch_id ORDER BY agency, dispatch_id) AS dispatches,
                                array_agg(DISTINCT agency ORDER BY agency) AS agencies
                           FROM useful_answer WHERE useful_answer.outcome_id = outcome.id) AS useful ON true
     WHERE outcome.referral_id = :id
     ORDER BY outcome.id
""")


async def record_outcome(connection: Connection, actor: Actor, referral_id: UUID, given: SubmittedOutcome) -> UUID:
    """Keep what an action brought, of a referral the caller may act on. Returns the record's id.

    Raises `Problem`: 409 where the referral is neither in progress nor completed, or has `MOST` outcomes; 410 where
    it was disposed of; 422 where `useful` names what was not answered, or `replaces` what does not stand.
    """
    referral = (await connection.execute(_LOCK, {"id": referral_id})).one()
    if referral.disposed_at is not None:
        raise Problem(DISPOSED)
    if referral.state not in _ACTED_UPON:
        raise Problem(STATE_CONFLICT, "An outcome is recorded while it is in progress or completed.")
    await _check_standing(connection, referral_id, given.replaces)
    useful = await _useful(connection, referral_id, given.useful)
    id = uuid7()
    figures = _figures(given)
    summary = None
    if given.summary is not None:
        key = await data_key(connection, referral_id)
        summary = key.seal(_summary_of(id), given.summary.encode())
    await connection.execute(
        _STORE,
        {
            **figures,
            "id": id,
            "referral_id": referral_id,
            "originator": referral.originator,
            "region": referral.region,
            "acted_on": given.acted_on,
            "sealed_summary": summary,
            "replaces": given.replaces,
            "recorded_by": actor.name,
        },
    )
    if useful:
        columns = {"dispatches": list(useful), "agencies": list(useful.values())}
        await connection.execute(_STORE_USEFUL, {"id": id, "referral_id": referral_id, **columns})
    await record(connection, actor, [_recorded(referral_id, id, given, useful)])
    return id


async def outcomes(connection: Connection, referral_id: UUID) -> list[dict[str, Any]]:
    """The outcomes of a referral the caller may see, oldest first, as they were given, each with what replaced it."""
    opener = Opener(connection)
    return [_shown(opener, row) for row in await connection.execute(_READ, {"id": referral_id})]


def added_up(recorded: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Pure: the figures of outcomes (as `outcomes` gives them) together; one that was replaced does not count.

    A figure that no outcome gives is null. `disruptions` counts actions by what they did.
    """
    standing = [one for one in recorded if one["replaced_by"] is None]
    disruptions = [one["disruption"] for one in standing]
    seized = [pence(seizure.get("value")) for one in standing for seizure in one["seizures"]]
    return {
        "actions": len(standing),
        **{name: _sum(one[name] for one in standing) for name in COUNTS},
        "assets_frozen": pounds(_sum(pence(one["assets_frozen"]) for one in standing)),
        "seized": pounds(_sum(seized)),
        "disruptions": {kind.value: disruptions.count(kind) for kind in Disruption if kind in disruptions},
        "useful_agencies": sorted({agency for one in standing for agency in one["useful_agencies"]}),
    }


def _sum(figures: Any) -> int | None:
    given = [figure for figure in figures if figure is not None]
    return sum(given) if given else None


async def _check_standing(connection: Connection, referral_id: UUID, replaces: UUID | None) -> None:
    rows = (await connection.execute(_STANDING, {"id": referral_id})).all()
    if len(rows) >= MOST:
        raise Problem(STATE_CONFLICT, f"It has {MOST} outcomes already.")
    if replaces is not None and replaces not in {row.id for row in rows if not row.replaced}:
        detail = "Name an outcome of this referral that nothing has replaced yet."
        raise Problem(INVALID_BODY, errors=[{"pointer": "/replaces", "detail": detail}])


async def _useful(connection: Connection, referral_id: UUID, named: Sequence[UUID]) -> dict[UUID, str]:
    """The agency of each dispatch named; each must have been answered."""
    if not named:
        return {}
    rows = await connection.execute(_ANSWERED, {"id": referral_id, "answered": DispatchState.ANSWERED.value})
    answered = {row.id: row.agency for row in rows}
    errors = [
        {"pointer": f"/useful/{index}", "detail": "Name a dispatch of this referral that was answered."}
        for index, id in enumerate(named)
        if id not in answered
    ]
    if errors:
        raise Problem(INVALID_BODY, errors=errors)
    return {id: answered[id] for id in named}


def _figures(given: SubmittedOutcome) -> dict[str, Any]:
    seizures = [
        {"kind": one.kind.value, "quantity": one.quantity, "value_pence": pence(one.value)} for one in given.seizures
    ]
    return {
        **{name: getattr(given, name) for name in COUNTS},
        "disruption": given.disruption and given.disruption.value,
        "assets_frozen_pence": pence(given.assets_frozen),
        "seized_pence": _sum(seizure["value_pence"] for seizure in seizures),
        "seizures": orjson.dumps(seizures).decode(),
    }


def _recorded(referral_id: UUID, id: UUID, given: SubmittedOutcome, useful: Mapping[UUID, str]) -> Event:
    """Codes and counts only: neither what was written nor any amount."""
    counts = {name: getattr(given, name) for name in COUNTS if getattr(given, name) is not None}
    detail: dict[str, Any] = {"outcome": str(id), "acted_on": given.acted_on.isoformat(), **counts}
    if given.disruption is not None:
        detail["disruption"] = given.disruption.value
    if useful:
        detail["useful"] = sorted(set(useful.values()))
    if given.replaces is not None:
        detail["replaces"] = str(given.replaces)
    return Event(Operation.COLLECTION, "outcome.recorded", referral_id, detail=detail)


def _summary_of(id: UUID) -> Place:
    return Place("referral_outcome", "sealed_summary", id)


def _shown(opener: Opener, row: Any) -> dict[str, Any]:
    summary = None
    if row.sealed_summary is not None:
        summary = opener.value(_summary_of(row.id), row.referral_id, row, row.sealed_summary).decode()
    return {
        "id": row.id,
        "acted_on": row.acted_on,
        "disruption": row.disruption,
        **{name: getattr(row, name) for name in COUNTS},
        "assets_frozen": pounds(row.assets_frozen_pence),
        "seizures": [
            {"kind": one["kind"], "quantity": one["quantity"], "value": pounds(one["value_pence"])}
            for one in row.seizures
        ],
        "useful": row.useful,
        "useful_agencies": row.useful_agencies,
        "summary": summary,
        "replaces": row.replaces,
        "replaced_by": row.replaced_by,
        "recorded_at": row.recorded_at,
    }
