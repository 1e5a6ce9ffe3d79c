"""The register of keys: list, issue, rotate, revoke. Each change is in the log, in its transaction.

Rotation gives a key a successor and lets it live on for an overlap, so that a client can change over; no line of keys
has more than two alive.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, func, select, tuple_, update

from app import clock
from app.access import keys as api_keys
from app.access.keys import IN_FORCE, AskedBefore, Asking, KeyRefused, Terms
from app.access.models import ApiKey
from app.access.policy import Role
from app.audit.record import Actor, Event, Operation, record
from app.crypto.keys import Keys
from app.db import Connection
from app.errors import IDEMPOTENCY_KEY_REUSED, Problem

OVERLAP = timedelta(hours=24)
"""How long a rotated key goes on being accepted, unless said otherwise."""

SHOWN = (
    ApiKey.id,
    ApiKey.party,
    ApiKey.role,
    ApiKey.label,
    ApiKey.scope,
    ApiKey.networks,
    ApiKey.created_at,
    ApiKey.expires_at,
    ApiKey.last_used_at,
    ApiKey.revoked_at,
    ApiKey.replaces,
)


KeyRow = Row[*tuple[Any, ...]]
"""A key as the register shows it: the columns `SHOWN`."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A key just made: its id, and the key itself, which is None where the same was asked for before."""

    id: str
    key: str | None


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who issues keys, with which derived keys, for which environment (`dev` or `live`)."""

    actor: Actor
    keys: Keys
    environment: str

    async def issue(
        self, connection: Connection, party: str, role: Role | None, terms: Terms, asking: Asking | None = None
    ) -> Issued:
        """A new key. Raises `KeyRefused`; `Problem` (422) where `asking` stands for something else."""
        if (before := await _asked_before(connection, asking)) is not None:
            return Issued(before, None)
        return await self._make(connection, "key.issued", party, role, terms, asking)

    async def rotate(
        self, connection: Connection, key_id: str, overlap: timedelta = OVERLAP, asking: Asking | None = None
    ) -> Issued | None:
        """A successor on the same terms, with as long a life; the key itself ends after `overlap`.

        None where there is no such key. Raises `KeyRefused` where it is not in force or has a successor; `Problem`
        (422) where `asking` stands for something else.
        """
        if (before := await _asked_before(connection, asking)) is not None:
            return Issued(before, None)
        row = (await connection.execute(select(*SHOWN).where(ApiKey.id == key_id).with_for_update())).one_or_none()
        if row is None:
            return None
        await _check_rotatable(connection, row)
        # The one it replaced itself, should it still be alive: two are enough to change over.
        if row.replaces is not None:
            await revoke(connection, self.actor, row.replaces)
        terms = Terms(row.scope or (), row.networks or (), label=row.label, replaces=key_id)
        if row.expires_at is not None:
            terms = replace(terms, expires_at=clock.now() + (row.expires_at - row.created_at))
        made = await self._make(connection, "key.rotated", row.party, Role(row.role), terms, asking)
        await connection.execute(
            update(ApiKey)
            .where(ApiKey.id == key_id)
            .values(expires_at=func.least(ApiKey.expires_at, func.now() + overlap))  # least() leaves NULLs out
        )
        return made

    async def _make(
        self,
        connection: Connection,
        action: str,
        party: str,
        role: Role | None,
        terms: Terms,
        asking: Asking | None,
    ) -> Issued:
        try:
            key = await api_keys.issue(
                connection, self.keys, party, role, environment=self.environment, terms=terms, asking=asking
            )
        except AskedBefore:
            before = await _asked_before(connection, asking)
            assert before is not None  # noqa: S101  it was in the way of ours
            return Issued(before, None)
        parsed = api_keys.parse(key)
        assert parsed is not None  # noqa: S101  it was just made
        detail = {"key": parsed[0], "party": party, "role": role and role.value, "replaces": terms.replaces}
        detail = {name: value for name, value in detail.items() if value is not None}
        await record(connection, self.actor, [Event(Operation.ALTERATION, action, detail=detail)])
        return Issued(parsed[0], key)


def listed(
    party: str | None = None, *, alive: bool = False, after: tuple[datetime, str] | None = None
) -> Select[*tuple[Any, ...]]:
    """The query for keys, newest first: of one party or all; only those in force, or all; `after` one of them."""
    query = select(*SHOWN).order_by(ApiKey.created_at.desc(), ApiKey.id.desc())
    if party is not None:
        query = query.where(ApiKey.party == party)
    if after is not None:
        query = query.where(tuple_(ApiKey.created_at, ApiKey.id) < after)
    return query.where(*IN_FORCE) if alive else query


def of_elsewhere(mark: str) -> Select[str]:
    """The query for the ids of the keys in force that were made in another environment than that of this mark."""
    return select(ApiKey.id).where(ApiKey.mark != mark, *IN_FORCE).order_by(ApiKey.id)


async def find(connection: Connection, key_id: str) -> KeyRow | None:
    """One key as the register shows it."""
    return (await connection.execute(select(*SHOWN).where(ApiKey.id == key_id))).one_or_none()


async def revoke(connection: Connection, actor: Actor, key_id: str) -> bool:
    """Refuse this key from now on, and every token and session made with it; whether there is such a key."""
    row = (
        await connection.execute(
            update(ApiKey)
            .where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
            .values(revoked_at=func.now())
            .returning(ApiKey.party)
        )
    ).one_or_none()
    if row is None:
        return await find(connection, key_id) is not None
    detail = {"key": key_id, "party": row.party}
    await record(connection, actor, [Event(Operation.ALTERATION, "key.revoked", detail=detail)])
    return True


async def _asked_before(connection: Connection, asking: Asking | None) -> str | None:
    """The id of the key that was made for this asking. Raises `Problem` (422) where it stands for something else."""
    if asking is None:
        return None
    query = select(ApiKey.id, ApiKey.sameness).where(ApiKey.asked_as == asking.key)
    row = (await connection.execute(query)).one_or_none()
    if row is not None and row.sameness != asking.sameness:
        raise Problem(IDEMPOTENCY_KEY_REUSED)
    return None if row is None else str(row.id)


async def _check_rotatable(connection: Connection, row: KeyRow) -> None:
    if row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= clock.now()):
        raise KeyRefused("id", "this key is not in force any more: issue a new one")
    heirs: Sequence[str] = (
        await connection.scalars(select(ApiKey.id).where(ApiKey.replaces == row.id, *IN_FORCE))
    ).all()
    if heirs:
        raise KeyRefused("id", f"this key has a successor already, {heirs[0]}: rotate that, or revoke it first")
