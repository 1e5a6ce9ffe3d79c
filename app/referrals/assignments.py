"""Who of an agency works on an item: one colleague or nobody. It keeps nobody else from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Text, Uuid, func, select, text
from sqlalchemy.orm import Mapped, mapped_column

from app.access.accounts.models import Account, AccountState
from app.access.policy import Role
from app.audit.record import Actor, Event, Operation, record
from app.db import Base, Connection
from app.referrals.models import Dispatch
from app.referrals.states import OPEN


class Assignment(Base):
    """The colleague, an account of the agency, who has an item. No row: nobody in particular."""

    __tablename__ = "assignment"

    dispatch_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("dispatch.id"), primary_key=True)
    agency: Mapped[str] = mapped_column(Text, ForeignKey("party.code"))
    account_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("account.id"), index=True)
    assigned_by: Mapped[str] = mapped_column(Text)
    assigned_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


@dataclass(frozen=True, slots=True)
class Colleague:
    """A person of the agency who can be given an item."""

    id: UUID
    name: str


_GIVE = text("""
    INSERT INTO assignment (dispatch_id, agency, account_id, assigned_by) VALUES (:dispatch, :agency, :account, :actor)
    ON CONFLICT (dispatch_id) DO UPDATE
       SET account_id = excluded.account_id, assigned_by = excluded.assigned_by, assigned_at = now()
     WHERE assignment.account_id <> excluded.account_id
    RETURNING dispatch_id
""")

_TAKE_BACK = text("DELETE FROM assignment WHERE dispatch_id = :dispatch RETURNING dispatch_id")


async def colleagues(connection: Connection, agency: str) -> Sequence[Colleague]:
    """Everybody who can be given an item of this agency, by name."""
    rows = await connection.execute(
        select(Account.id, Account.name)
        .where(
            Account.party == agency,
            Account.state == AccountState.ACTIVE.value,
            Account.roles.any_() == Role.AGENCY.value,
        )
        .order_by(Account.name, Account.id)
    )
    return [Colleague(row.id, row.name) for row in rows]


async def assign(connection: Connection, actor: Actor, dispatch_id: UUID, account: UUID | None) -> bool:
    """Give an item of the actor's agency to a colleague, or (None) to nobody in particular, and log it.

    False where the item is not open at this agency, or the account is none of its colleagues.
    """
    dispatch = (
        await connection.execute(
            select(Dispatch.referral_id).where(
                Dispatch.id == dispatch_id, Dispatch.agency == actor.party, Dispatch.state.in_(sorted(OPEN))
            )
        )
    ).one_or_none()
    if dispatch is None:
        return False
    if account is not None and account not in {one.id for one in await colleagues(connection, actor.party)}:
        return False
    parameters = {"dispatch": dispatch_id, "agency": actor.party, "account": account, "actor": actor.name}
    if account is None:
        changed = await connection.scalar(_TAKE_BACK, {"dispatch": dispatch_id})
    else:
        changed = await connection.scalar(_GIVE, parameters)
    if changed is not None:
        detail = {"to": None if account is None else str(account)}
        given = Event(Operation.ALTERATION, "dispatch.assigned", dispatch.referral_id, dispatch_id, detail=detail)
        await record(connection, actor, [given])
    return True
