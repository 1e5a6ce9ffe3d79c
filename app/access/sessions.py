"""Sessions of the pages: kept on the server; ended by signing out, by time, with the key or account, or everywhere.

A session lasts twelve hours at most, and ends before that when nobody has used it for `GAIN_SESSION_IDLE_MINUTES`.
"""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, delete, func, insert, or_, select, update

from app import clock
from app.access.accounts.models import Account, AccountState, SignInStep
from app.access.keys import CREDENTIAL, IN_FORCE, Credential, credential_of
from app.access.models import ApiKey, Session
from app.access.policy import FOR_MANAGERS, Role, actions_of
from app.access.purposes import StatedPurpose, coded
from app.crypto.keys import Keys, Purpose
from app.db import Connection, settings_of

LIFETIME = timedelta(hours=12)
"""A working day: the longest a session lasts."""

CONFIRMED = timedelta(minutes=5)
"""How long after showing who they are somebody may do what asks for it anew."""

_NOTED_SECONDS = 60  # so that a page costs no write each time

_PERSON = (
    Account.id.label("account_id"),
    Account.party.label("account_party"),
    Account.name.label("account_name"),
    Account.roles.label("account_roles"),
    Account.manager.label("account_manager"),
)


@dataclass(frozen=True, slots=True)
class Reader:
    """Whom an open page was opened by: a session, in one of the roles of its person."""

    session: bytes
    role: Role


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session in force: the credential it acts with, when its owner last confirmed who they are, why they read.

    `account` is whose it is, `name` their name, `roles` those they may act in; a key's session has none.
    """

    id: bytes
    credential: Credential
    confirmed_at: datetime
    purpose: StatedPurpose | None = None
    account: UUID | None = None
    name: str = ""
    roles: tuple[Role, ...] = ()

    @property
    def reader(self) -> Reader:
        """Whom the pages that are open in it were opened by."""
        return Reader(self.id, self.credential.role)

    @property
    def is_confirmed(self) -> bool:
        """Whether its owner has shown who they are within the last five minutes."""
        return self.confirmed_at > clock.now() - CONFIRMED


SessionRow = Row[*tuple[Any, ...]]
"""One of the sessions of an account: id, created_at, seen_at, expires_at, role."""


async def open_session(connection: Connection, keys: Keys, credential: Credential) -> str:
    """Open a session for a credential just accepted, a key's or a person's; returns the cookie's value."""
    token = secrets.token_urlsafe(32)
    await connection.execute(delete(Session).where(Session.expires_at < func.now()))
    whose = {"key_id": credential.id}
    if credential.person is not None:
        whose = {"account_id": credential.id, "role": credential.role.value}
    await connection.execute(
        insert(Session).values(id=session_id(keys, token), expires_at=func.now() + LIFETIME, **whose)
    )
    return token


def session_id(keys: Keys, token: str) -> bytes:
    """What the database calls the session of this cookie."""
    return keys.digest(Purpose.SESSION, token.encode())


async def find_session(connection: Connection, id: bytes) -> SignedIn | None:
    """The session of this id where it is in force. It is of use only to whom the cookie belongs."""
    own = (Session.seen_at, Session.confirmed_at, Session.purpose, Session.role.label("acting"))
    query = _joined(select(*own, *CREDENTIAL, *_PERSON))
    row = (await connection.execute(query.where(Session.id == id, _in_force(connection)))).one_or_none()
    return None if row is None else _signed_in(id, row)


async def use_session(connection: Connection, id: bytes, *, note: bool = True) -> SignedIn | None:
    """The session of this id where it is in force, noting (unless told not to) that somebody uses it."""
    found = await find_session(connection, id)
    if found is not None and note:
        since = func.now() - timedelta(seconds=_NOTED_SECONDS)
        await connection.execute(
            update(Session).where(Session.id == id, Session.seen_at < since).values(seen_at=func.now())
        )
    return found


async def in_force(connection: Connection, readers: Collection[Reader]) -> set[Reader]:
    """Those whose session is neither over nor ended and still in that role, its key or account in force; one query."""
    ids = {reader.session for reader in readers}
    acting = select(Session.id, func.coalesce(Session.role, ApiKey.role))
    rows = await connection.execute(_joined(acting).where(Session.id.in_(ids), _in_force(connection)))
    return {Reader(id, Role(role)) for id, role in rows} & set(readers)


async def confirm_session(connection: Connection, id: bytes) -> None:
    """Its owner has just shown who they are."""
    await connection.execute(update(Session).where(Session.id == id).values(confirmed_at=func.now()))


async def state_purpose(connection: Connection, id: bytes, purpose: StatedPurpose) -> None:
    """From now on its owner reads for this."""
    await connection.execute(update(Session).where(Session.id == id).values(purpose=purpose.value))


async def change_role(connection: Connection, id: bytes, role: Role) -> None:
    """The session goes on in another of its person's roles, in which it has yet to say why it reads."""
    await connection.execute(update(Session).where(Session.id == id).values(role=role.value, purpose=None))


async def sessions_of(connection: Connection, account: UUID) -> Sequence[SessionRow]:
    """The sessions in force of an account, the newest first."""
    columns = (Session.id, Session.created_at, Session.seen_at, Session.expires_at, Session.role)
    query = _joined(select(*columns)).where(Session.account_id == account, _in_force(connection))
    return (await connection.execute(query.order_by(Session.created_at.desc(), Session.id))).all()


async def close_session(connection: Connection, keys: Keys, token: str) -> None:
    """End a session; ending one that is not there does nothing."""
    await connection.execute(delete(Session).where(Session.id == session_id(keys, token)))


async def close_all(connection: Connection, account: UUID, but: bytes | None = None) -> int:
    """End every session of an account, or all others, and every sign-in under way; returns how many sessions."""
    # Whoever has shown a password, or all, and has a page to go: that was before what is changed now.
    await connection.execute(delete(SignInStep).where(SignInStep.account_id == account))
    ended = delete(Session).where(Session.account_id == account).returning(Session.id)
    if but is not None:
        ended = ended.where(Session.id != but)
    return len((await connection.execute(ended)).all())


def _joined(query: Any) -> Any:
    return (
        query.select_from(Session)
        .outerjoin(ApiKey, Session.key_id == ApiKey.id)
        .outerjoin(Account, Session.account_id == Account.id)
    )


def _in_force(connection: Connection) -> ColumnElement[bool]:
    idle = timedelta(minutes=settings_of(connection).session_idle_minutes)
    return and_(
        Session.expires_at > func.now(),
        Session.seen_at > func.now() - idle,
        or_(
            and_(Session.key_id.is_not(None), *IN_FORCE),
            and_(Account.state == AccountState.ACTIVE.value, Session.role == func.any(Account.roles)),
        ),
    )


def _signed_in(id: bytes, row: Any) -> SignedIn:
    purpose = coded(row.purpose or "")
    if row.account_id is None:
        return SignedIn(id, credential_of(row), row.confirmed_at, purpose)
    roles = tuple(Role(role) for role in row.account_roles if role in set(Role))
    acting = Role(row.acting)
    scope = None if row.account_manager else actions_of(acting) - FOR_MANAGERS
    credential = Credential(str(row.account_id), row.account_party, acting, scope, person=row.account_name)
    return SignedIn(id, credential, row.confirmed_at, purpose, row.account_id, row.account_name, roles)
