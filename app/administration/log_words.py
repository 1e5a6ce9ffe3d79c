"""What a search of the log may be for: what the log or the register knows. All else is no word for an address.

A search leads to an address and is itself logged for ever, so a name typed there by mistake must reach neither.
"""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import func, or_, select, text

from app.access.accounts.models import Account
from app.access.models import ApiKey
from app.audit.models import OF_OPERATORS, AuditEvent
from app.db import Connection
from app.parties.models import Party

MOST_PEOPLE = 20
"""People of one name whose deeds a search takes together."""

_PARTS = frozenset({"adapter", "lifecycle", "scheduler", "unknown", "worker"})
"""Parts of the broker that act, and who was not known."""

_BESIDES = frozenset({"ICO"})
"""Who is no party and is given exports of the log: the Information Commissioner."""


async def people(connection: Connection, who: str) -> Sequence[str]:
    """What the log calls those of this name or user name, or who is called this in the log; else empty."""
    named = or_(func.lower(Account.username) == who.lower(), func.lower(Account.name) == who.lower())
    found = await connection.scalars(select(Account.id).where(named).order_by(Account.id).limit(MOST_PEOPLE))
    return [str(id) for id in found] or ([who] if await are_actors(connection, [who]) else [])


async def are_actors(connection: Connection, names: Collection[str]) -> bool:
    """Whether each of these, `MOST_PEOPLE` at most, is an account's id, a key's, a part, or an operator in the log."""
    if len(names) > MOST_PEOPLE:
        return False
    left = set(names) - _PARTS
    accounts = select(Account.id).where(Account.id.in_([id for name in left if (id := _uuid(name)) is not None]))
    left -= {str(id) for id in await connection.scalars(accounts)}
    left -= set(await connection.scalars(select(ApiKey.id).where(ApiKey.id.in_(left))))
    if not left:
        return True
    operators = select(AuditEvent.actor).distinct().where(AuditEvent.actor.in_(left), text(f"({OF_OPERATORS})"))
    return left == set(await connection.scalars(operators))


async def is_party(connection: Connection, code: str) -> bool:
    """Whether a party, or who else is given something, has this code."""
    return code in _BESIDES or await connection.scalar(select(Party.code).where(Party.code == code)) is not None


async def parties(connection: Connection) -> Sequence[str]:
    """The codes that `is_party` knows, in order; those of no party are last."""
    return [*await connection.scalars(select(Party.code).order_by(Party.code)), *sorted(_BESIDES)]


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
