"""The register of people, for whoever administers it: add, list, reset, lock, unlock, remove. Each change is logged.

A new account opens nothing: its owner sets it up with a code that is shown to its administrator once.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, case, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from uuid_utils.compat import uuid7

from app.access.accounts import codes, lockout
from app.access.accounts.models import Account, AccountState, RecoveryCode
from app.access.models import Session
from app.access.policy import Role, roles_of
from app.audit.record import Actor, Event, Operation, record
from app.crypto.keys import Keys, Purpose
from app.db import Connection
from app.parties.codes import PartyKind
from app.parties.models import Party

SETUP_LIFETIME = timedelta(days=3)
"""How long a set-up code is good for."""

USERNAME = re.compile(r"[a-z0-9][a-z0-9._+'-]{0,63}@[a-z0-9][a-z0-9.-]{1,189}")
_NAME = re.compile(r"[^\x00-\x1f\x7f<>]{1,100}")

SHOWN = (
    Account.id,
    Account.party,
    Account.username,
    Account.name,
    Account.roles,
    Account.state,
    Account.manager,
    Account.setup_until,
    Account.demonstration,
    Account.created_at,
    Account.signed_in_at,
)

AccountRow = Row[*tuple[Any, ...]]
"""An account as the register shows it: the columns `SHOWN`."""

_NOTHING = {
    "password": None,  # nosec B105
    "totp": None,
    "totp_step": 0,
    "setup": None,
    "setup_until": None,
    "issuer": None,
    "subject": None,
}
"""What an account that cannot be signed in to holds."""


class AccountRefused(Exception):
    """An account cannot be made or changed so; `field` is the part of what was asked, the text says what to do."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


@dataclass(frozen=True, slots=True)
class NewAccount:
    """A person to be. Without roles they have their party's first one. A manager may change the party's policy."""

    party: str
    username: str
    name: str
    roles: Sequence[Role] = ()
    manager: bool = False


@dataclass(frozen=True, slots=True)
class Invited:
    """An account that waits to be set up, and the code to do it with, shown this once."""

    id: UUID
    username: str
    code: str


@dataclass(frozen=True, slots=True)
class Registrar:
    """Who keeps the register, with which derived keys."""

    actor: Actor
    keys: Keys

    async def add(self, connection: Connection, new: NewAccount, *, demonstration: bool = False) -> Invited:
        """A new account. Raises `AccountRefused`."""
        username, roles = new.username.strip().lower(), await _roles(connection, new)
        if not USERNAME.fullmatch(username):
            raise AccountRefused("username", "a user name is written like an address of email: name@force.example")
        if not _NAME.fullmatch(new.name.strip()):
            raise AccountRefused("name", "a name has 1 to 100 characters")
        id, code = uuid7(), codes.new_setup_code()
        made = await connection.scalar(
            insert(Account)
            .values(
                id=id,
                party=new.party,
                username=username,
                name=new.name.strip(),
                roles=[role.value for role in roles],
                manager=new.manager,
                demonstration=demonstration,
                **self._setup(code),
            )
            .on_conflict_do_nothing(index_elements=[Account.username], index_where=_IN_USE)
            .returning(Account.id)
        )
        if made is None:
            raise AccountRefused("username", "this user name is taken: gain users list shows whose it is")
        await self._tell(connection, "account.added", id, new.party, roles=[role.value for role in roles])
        return Invited(id, username, code)

    async def reset(self, connection: Connection, username: str) -> Invited | None:
        """A new set-up code; password, authenticator, recovery codes and sessions are gone. None: no such account."""
        code = codes.new_setup_code()
        values = {**_NOTHING, "state": AccountState.INVITED.value, **self._setup(code)}
        row = await self._change(connection, username, "account.reset", **values)
        if row is None:
            return None
        await forget_secrets(connection, row.id)
        await lockout.clear(connection, self.keys, row.username)
        return Invited(row.id, row.username, code)

    async def lock(self, connection: Connection, username: str) -> bool:
        """Keep somebody out until unlocked; sessions end now. Whether there is such an account."""
        locked = {"state": AccountState.LOCKED.value}
        row = await self._change(connection, username, "account.locked", **locked)
        if row is not None:
            await connection.execute(delete(Session).where(Session.account_id == row.id))
        return row is not None

    async def unlock(self, connection: Connection, username: str) -> bool:
        """Let somebody in again, after a lock or too many failed attempts. Whether there is such an account."""
        row = await self._change(connection, username, "account.unlocked", state=_BEFORE_LOCK)
        if row is not None:
            await lockout.clear(connection, self.keys, row.username)
        return row is not None

    async def manage(self, connection: Connection, username: str, manager: bool) -> bool:
        """Let somebody change their party's policy, or no more, from their next page on. Whether there is such one."""
        action = "account.manager_made" if manager else "account.manager_ended"
        return await self._change(connection, username, action, manager=manager) is not None

    async def remove(self, connection: Connection, username: str) -> bool:
        """End an account for ever; its name stays, for the log. Whether there was one."""
        gone = {**_NOTHING, "state": AccountState.REMOVED.value}
        row = await self._change(connection, username, "account.removed", **gone)
        if row is not None:
            await forget_secrets(connection, row.id)
        return row is not None

    def _setup(self, code: str) -> dict[str, Any]:
        return {"setup": setup_hash(self.keys, code), "setup_until": func.now() + SETUP_LIFETIME}

    async def _change(self, connection: Connection, username: str, action: str, **values: Any) -> AccountRow | None:
        row = (
            await connection.execute(
                update(Account)
                .where(Account.username == username.strip().lower(), _IN_USE)
                .values(**values)
                .returning(*SHOWN)
            )
        ).one_or_none()
        if row is not None:
            await self._tell(connection, action, row.id, row.party)
        return row

    async def _tell(self, connection: Connection, action: str, id: UUID, party: str, **more: Any) -> None:
        detail = {"account": str(id), "party": party, **more}
        await record(connection, self.actor, [Event(Operation.ALTERATION, action, detail=detail)])


_IN_USE: ColumnElement[bool] = Account.state != AccountState.REMOVED.value

_BEFORE_LOCK = case(
    (Account.setup_until.is_not(None), AccountState.INVITED.value),
    else_=AccountState.ACTIVE.value,
)


def setup_hash(keys: Keys, code: str) -> bytes:
    """What is kept of a set-up code."""
    return keys.digest(Purpose.ONE_TIME_CODE, b"set-up " + codes.typed(code).encode())


def listed(party: str | None = None, *, every: bool = False) -> Select[*tuple[Any, ...]]:
    """The query for accounts, by party and user name: of one party or all, without those removed unless `every`."""
    query = select(*SHOWN).order_by(Account.party, Account.username, Account.id)
    if party is not None:
        query = query.where(Account.party == party)
    return query if every else query.where(_IN_USE)


async def find(connection: Connection, username: str) -> AccountRow | None:
    """An account that is not removed, as the register shows it."""
    query = select(*SHOWN).where(Account.username == username.strip().lower(), _IN_USE)
    return (await connection.execute(query)).one_or_none()


async def forget_secrets(connection: Connection, account: UUID) -> None:
    """Delete an account's recovery codes and end its sessions."""
    await connection.execute(delete(RecoveryCode).where(RecoveryCode.account_id == account))
    await connection.execute(delete(Session).where(Session.account_id == account))


async def names_of(connection: Connection, ids: Iterable[str]) -> dict[str, str]:
    """The names of those of these actors of the log that are people, by their ids. Keys and parts have none."""
    found = {id: uuid for id in set(ids) if (uuid := _uuid(id)) is not None}
    if not found:
        return {}
    rows = await connection.execute(select(Account.id, Account.name).where(Account.id.in_(found.values())))
    return {str(row.id): row.name for row in rows}


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


async def _roles(connection: Connection, new: NewAccount) -> Sequence[Role]:
    kind = await connection.scalar(select(Party.kind).where(Party.code == new.party))
    if kind is None:
        raise AccountRefused("party", f"there is no party with the code {new.party!r}")
    allowed = roles_of(PartyKind(kind))
    if wrong := [role for role in new.roles if role not in allowed]:
        raise AccountRefused("role", f"people of {new.party} may have the role {' or '.join(allowed)}, not {wrong[0]}")
    return list(dict.fromkeys(new.roles)) or allowed[:1]
