"""Possible duplicates: two forces' referrals about the same subject, found by the blind index as they are sent out.

Nothing is opened for it. A pair is found once, whichever of the two is sent out last. It holds what the co-ordinators
of both regions may know of each other's referral: its reference, party, region and date. No originator is told that
another force looks at its subject.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.audit.record import Actor, Event, Operation, record
from app.crypto.sealing import Place
from app.crypto.vault import Opener, data_key
from app.db import Base, Connection

RECENT_DAYS = 90
"""For how long after its last change a completed referral still counts."""

NEWEST, OLDEST = 20, 5
"""So many of what shares a compound with a referral are looked at: one telephone may stand in a force's whole file."""

MOST_PAIRS = 20
"""With so many later ones a referral is paired; the thousandth tells its co-ordinator nothing more."""


class Decision(StrEnum):
    """What a co-ordinator says of a possible duplicate."""

    SAME = "same"
    DIFFERENT = "different"


class Duplicate(Base):
    """Two referrals of different parties that share a full name with birth date, or an identifier.

    Of each is copied what both regions' co-ordinators may know. `kinds` are those of the compounds shared. The reason
    for a decision is sealed under the data key of `reason_of`, the referral that whoever decided it oversees.
    """

    __tablename__ = "duplicate"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    earlier: Mapped[UUID] = mapped_column(Uuid, ForeignKey("referral.id"))
    earlier_reference: Mapped[str] = mapped_column(Text)
    earlier_party: Mapped[str] = mapped_column(Text)
    earlier_region: Mapped[str | None] = mapped_column(Text)
    earlier_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    later: Mapped[UUID] = mapped_column(Uuid, ForeignKey("referral.id"))
    later_reference: Mapped[str] = mapped_column(Text)
    later_party: Mapped[str] = mapped_column(Text)
    later_region: Mapped[str | None] = mapped_column(Text)
    later_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    kinds: Mapped[list[str]] = mapped_column(ARRAY(Text))
    found_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    decision: Mapped[str | None] = mapped_column(Text)
    decided_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    decided_party: Mapped[str | None] = mapped_column(Text)
    decided_by: Mapped[str | None] = mapped_column(Text)
    reason_of: Mapped[UUID | None] = mapped_column(Uuid)
    sealed_reason: Mapped[bytes | None] = mapped_column(LargeBinary)

    __table_args__ = (
        CheckConstraint("decision IN ('same', 'different')", name="decision"),
        CheckConstraint("(decision IS NULL) = (decided_at IS NULL)", name="decided"),
        UniqueConstraint("earlier", "later"),
        Index("ix_duplicate_later", "later"),
        Index("ix_duplicate_open", "id", postgresql_where=text("decision IS NULL")),
    )


# Once for each digest of the batch, however many of its referrals share it; parties are compared before pairs are made.
_FIND = text(f"""
    WITH own AS MATERIALIZED (
        SELECT referral_id, digest, kind FROM subject_index WHERE referral_id = ANY(CAST(:ids AS uuid[]))
    ), near AS MATERIALIZED (
        SELECT own.digest, other.referral_id
          FROM (SELECT DISTINCT digest FROM own) AS own
         CROSS JOIN LATERAL (
               (SELECT referral_id FROM subject_index
                 WHERE digest = own.digest ORDER BY referral_id DESC LIMIT {NEWEST})
               UNION ALL
               (SELECT referral_id FROM subject_index
                 WHERE digest = own.digest ORDER BY referral_id LIMIT {OLDEST})) AS other
    ), known AS MATERIALIZED (
        SELECT id, reference, originator, region, created_at FROM referral
         WHERE id = ANY(ARRAY(SELECT referral_id FROM near UNION SELECT referral_id FROM own))
           AND (state IN ('held', 'accepted', 'in_progress')
                OR (state = 'completed' AND disposed_at IS NULL
                    AND updated_at > now() - make_interval(days => {RECENT_DAYS})))
    ), met AS (
        SELECT least(mine.id, theirs.id) AS earlier, greatest(mine.id, theirs.id) AS later,
               array_agg(DISTINCT own.kind ORDER BY own.kind) AS kinds
          FROM own JOIN near USING (digest)
          JOIN known AS mine ON mine.id = own.referral_id
          JOIN known AS theirs ON theirs.id = near.referral_id
         WHERE theirs.originator <> mine.originator
         GROUP BY 1, 2
    ), pair AS (
        SELECT one.id AS earlier, one.reference AS earlier_reference, one.originator AS earlier_party,
               one.region AS earlier_region, one.created_at AS earlier_at,
               two.id AS later, two.reference AS later_reference, two.originator AS later_party,
               two.region AS later_region, two.created_at AS later_at,
               met.kinds, row_number() OVER (PARTITION BY one.id ORDER BY two.id) AS place
          FROM met JOIN known AS one ON one.id = met.earlier JOIN known AS two ON two.id = met.later
         WHERE NOT EXISTS (SELECT FROM duplicate WHERE duplicate.earlier = one.id OFFSET {MOST_PAIRS - 1})
    ), found AS (
        INSERT INTO duplicate (id, earlier, earlier_reference, earlier_party, earlier_region, earlier_at,
                               later, later_reference, later_party, later_region, later_at, kinds)
        SELECT uuidv7(), earlier, earlier_reference, earlier_party, earlier_region, earlier_at,
               later, later_reference, later_party, later_region, later_at, kinds
          FROM pair WHERE place <= {MOST_PAIRS}
         ORDER BY earlier, later
        ON CONFLICT (earlier, later) DO NOTHING
        RETURNING id, earlier, later, kinds
    )
    INSERT INTO audit_event (operation, action, party, actor, request_id, detail)
    SELECT 'combination', 'duplicate.found', :actor_party, :actor_name, :request_id,
           jsonb_build_object('duplicate', id, 'ids', jsonb_build_array(earlier, later), 'kinds', kinds)
      FROM found
""")  # noqa: S608  constants of this file

_SIDES = "(CAST(:region AS text) IS NULL OR earlier_region = :region OR later_region = :region)"

_OPEN = text(f"""
    SELECT * FROM duplicate
     WHERE decision IS NULL AND {_SIDES} AND (CAST(:after AS uuid) IS NULL OR id < :after)
     ORDER BY id DESC LIMIT :limit
""")  # noqa: S608

_DECIDED = text(f"""
    SELECT * FROM duplicate
     WHERE decision IS NOT NULL AND {_SIDES} AND (CAST(:after AS uuid) IS NULL OR id < :after)
     ORDER BY id DESC LIMIT :limit
""")  # noqa: S608

_ONE = text(f"SELECT * FROM duplicate WHERE id = :id AND {_SIDES} FOR UPDATE")  # noqa: S608

_KEYS = text("SELECT referral_id, ring_key, wrapped FROM data_key WHERE referral_id = ANY(CAST(:ids AS uuid[]))")

_DECIDE = text("""
    UPDATE duplicate
       SET decision = :decision, decided_at = now(), decided_party = :party, decided_by = :by,
           reason_of = :reason_of, sealed_reason = :sealed_reason
     WHERE id = :id
""")

_OWN = text("""
    SELECT referral.id, referral.reference, referral.state, referral.created_at,
           array_agg(DISTINCT own.kind ORDER BY own.kind) AS matched_on
      FROM subject_index AS own
     CROSS JOIN LATERAL (SELECT referral_id FROM subject_index
                          WHERE digest = own.digest AND referral_id <> own.referral_id
                          ORDER BY referral_id DESC LIMIT 1000) AS other
      JOIN referral ON referral.id = other.referral_id
     WHERE own.referral_id = :id AND referral.originator = :party AND referral.disposed_at IS NULL
     GROUP BY referral.id
     ORDER BY referral.id DESC LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a co-ordinator decides of one possible duplicate, and why."""

    decision: Decision
    reason: str


async def find(connection: Connection, actor: Actor, referral_ids: Collection[UUID]) -> None:
    """Look for duplicates of referrals that are being sent out, all by one statement, and log what is found.

    Open referrals count, and those completed in the last `RECENT_DAYS`.
    """
    if referral_ids:
        await connection.execute(_FIND, {"ids": list(referral_ids), **actor.parameters()})


async def page(
    connection: Connection, region: str | None, *, decided: bool = False, after: UUID | None = None, limit: int = 50
) -> list[dict[str, Any]]:
    """Possible duplicates with a referral of the region (None: any), newest first, as that region may see them."""
    parameters = {"region": region, "after": after, "limit": limit}
    rows = (await connection.execute(_DECIDED if decided else _OPEN, parameters)).all()
    return await _shown(connection, region, rows)


async def lock(connection: Connection, region: str | None, id: UUID) -> dict[str, Any] | None:
    """One of them, kept from others' decisions to the end of the transaction; None where it is not there to see."""
    rows = (await connection.execute(_ONE, {"region": region, "id": id})).all()
    return (await _shown(connection, region, rows))[0] if rows else None


async def settle(connection: Connection, actor: Actor, found: dict[str, Any], ruling: Ruling) -> bool:
    """Decide one that `lock` has given. False where it is decided otherwise already; the same again changes nothing."""
    if found["decision"] is not None:
        return bool(found["decision"] == ruling.decision)
    id, own = found["id"], overseen(found)[0]
    key = await data_key(connection, own)
    await connection.execute(
        _DECIDE,
        {
            "id": id,
            "decision": ruling.decision.value,
            "party": actor.party,
            "by": actor.name,
            "reason_of": own,
            "sealed_reason": key.seal(_reason_of(id), ruling.reason.encode()),
        },
    )
    detail = {"duplicate": str(id), "ids": [str(one) for one in overseen(found)], "decision": ruling.decision.value}
    await record(connection, actor, [Event(Operation.ALTERATION, "duplicate.settled", detail=detail)])
    return True


def overseen(found: dict[str, Any]) -> list[UUID]:
    """The ids of those of its referrals that the region sees itself."""
    return [one["id"] for one in found["referrals"] if one["id"] is not None]


async def of_own(connection: Connection, party: str, referral_id: UUID, limit: int = 100) -> list[dict[str, Any]]:
    """The party's other referrals about the subject of one of its own, newest first; nobody else's."""
    rows = await connection.execute(_OWN, {"party": party, "id": referral_id, "limit": limit})
    return [dict(row._mapping) for row in rows]


async def _shown(connection: Connection, region: str | None, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """As a region may see them: a referral that is not its own has no id, and a reason given for one is not opened."""
    sealed = {row.reason_of for row in rows if row.sealed_reason is not None and _may_open(row, region)}
    keys = {}
    if sealed:
        keys = {row.referral_id: row for row in await connection.execute(_KEYS, {"ids": list(sealed)})}
    opener = Opener(connection)
    return [
        {
            "id": row.id,
            "found_at": row.found_at,
            "matched_on": row.kinds,
            "decision": row.decision,
            "decided_at": row.decided_at,
            "decided_by": row.decided_party,
            "reason": _reason(opener, row, keys) if row.reason_of in sealed else None,
            "referrals": [_side(row, side, region) for side in ("earlier", "later")],
        }
        for row in rows
    ]


def _side(row: Any, side: str, region: str | None) -> dict[str, Any]:
    of = {name: getattr(row, f"{side}_{name}") for name in ("reference", "party", "region", "at")}
    seen = region is None or of["region"] == region
    return {
        "id": getattr(row, side) if seen else None,
        "reference": of["reference"],
        "originator": of["party"],
        "region": of["region"],
        "created_at": of["at"],
    }


def _may_open(row: Any, region: str | None) -> bool:
    return region is None or region == (row.earlier_region if row.reason_of == row.earlier else row.later_region)


def _reason(opener: Opener, row: Any, keys: dict[UUID, Any]) -> str:
    return opener.value(_reason_of(row.id), row.reason_of, keys[row.reason_of], row.sealed_reason).decode()


def _reason_of(id: UUID) -> Place:
    return Place("duplicate", "sealed_reason", id)
