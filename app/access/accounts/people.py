"""What people do with their own account: show who they are, set it up, change its secrets. Each change is logged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update

from app import clock
from app.access.accounts import codes, register
from app.access.accounts.models import Account, AccountState, RecoveryCode
from app.access.policy import Role
from app.audit.record import Actor, Event, Operation, record
from app.crypto.keys import Keys, Purpose
from app.crypto.sealing import Place
from app.crypto.vault import data_key
from app.db import Connection
from app.logs import request_id

_COLUMNS = (
    *(Account.id, Account.party, Account.username, Account.name, Account.roles, Account.state, Account.password),
    *(Account.totp, Account.totp_step, Account.setup, Account.demonstration),
)


@dataclass(frozen=True, slots=True)
class Person:
    """An account as signing in needs it. `password` is its hash, `totp` sealed."""

    id: UUID
    party: str
    username: str
    name: str
    roles: tuple[Role, ...]
    state: AccountState
    password: str | None
    totp: bytes | None
    totp_step: int
    setup: bytes | None
    demonstration: bool

    @property
    def is_active(self) -> bool:
        """Whether this person may sign in at all."""
        return self.state is AccountState.ACTIVE

    @property
    def actor(self) -> Actor:
        """The person as the log names them."""
        return Actor(self.party, str(self.id), request_id.get())


async def by_username(connection: Connection, username: str) -> Person | None:
    """The person of this user name."""
    return _person(
        await connection.execute(
            select(*_COLUMNS).where(
                Account.username == username.strip().lower(), Account.state != AccountState.REMOVED.value
            )
        )
    )


async def by_id(connection: Connection, id: UUID, *, lock: bool = False) -> Person | None:
    """The person of this account; with `lock` nobody else changes it before the transaction ends."""
    query = select(*_COLUMNS).where(Account.id == id)
    return _person(await connection.execute(query.with_for_update() if lock else query))


async def by_setup_code(connection: Connection, keys: Keys, username: str, code: str) -> Person | None:
    """The invited person of this user name, where this is their set-up code and its time is not over."""
    return _person(
        await connection.execute(
            select(*_COLUMNS).where(
                Account.username == username.strip().lower(),
                Account.state == AccountState.INVITED.value,
                Account.setup == register.setup_hash(keys, code),
                Account.setup_until > func.now(),
            )
        )
    )


def _person(found: Any) -> Person | None:
    row = found.one_or_none()
    if row is None:
        return None
    values = dict(row._mapping)
    # A role that a newer version knows, and this one does not, is none here.
    roles = tuple(Role(role) for role in values.pop("roles") if role in set(Role))
    return Person(roles=roles, state=AccountState(values.pop("state")), **values)


async def keep_password(connection: Connection, person: Person, hash: str, *, because: str = "") -> None:
    """Change the password's hash; `because` says in the log what for, and nothing where only its parameters change."""
    await connection.execute(update(Account).where(Account.id == person.id).values(password=hash))
    if because:
        await record(connection, person.actor, [Event(Operation.ALTERATION, because)])


async def take_code(connection: Connection, person: Person, code: str) -> bool:
    """Whether this is a code of the person's authenticator that was not taken before; it is from now on."""
    if person.totp is None:
        return False
    key = await data_key(connection, person.id)
    secret = key.open(_place(person.id), person.totp)
    step = codes.step_of(secret, code, clock.now(), person.totp_step)
    if step is None:
        return False
    # Of two that show the same code at once, one alone finds the step as it was.
    taken = await connection.scalar(
        update(Account)
        .where(Account.id == person.id, Account.totp_step < step)
        .values(totp_step=step)
        .returning(Account.id)
    )
    return taken is not None


async def take_recovery_code(connection: Connection, keys: Keys, person: Person, code: str) -> bool:
    """Whether this is one of the person's recovery codes; it is used up now."""
    taken = await connection.scalar(
        delete(RecoveryCode)
        .where(RecoveryCode.account_id == person.id, RecoveryCode.hash == _recovery_hash(keys, person.id, code))
        .returning(RecoveryCode.hash)
    )
    if taken is None:
        return False
    left = await recovery_codes_left(connection, person.id)
    await record(
        connection, person.actor, [Event(Operation.ALTERATION, "account.recovery_code_used", detail={"left": left})]
    )
    return True


async def recovery_codes_left(connection: Connection, account: UUID) -> int:
    """How many recovery codes this account still has."""
    query = select(func.count()).select_from(RecoveryCode).where(RecoveryCode.account_id == account)
    return int(await connection.scalar(query) or 0)


async def renew_recovery_codes(connection: Connection, keys: Keys, person: Person) -> Sequence[str]:
    """Ten new codes in place of all there were, to be shown once."""
    fresh = codes.new_recovery_codes()
    await connection.execute(delete(RecoveryCode).where(RecoveryCode.account_id == person.id))
    rows = [{"hash": _recovery_hash(keys, person.id, code), "account_id": person.id} for code in fresh]
    await connection.execute(insert(RecoveryCode), rows)
    await record(connection, person.actor, [Event(Operation.ALTERATION, "account.recovery_codes_renewed")])
    return fresh


async def seal_secret(connection: Connection, account: UUID, secret: bytes) -> bytes:
    """An authenticator's secret as it is kept."""
    return (await data_key(connection, account)).seal(_place(account), secret)


async def open_secret(connection: Connection, account: UUID, sealed: bytes) -> bytes:
    """The secret again. Raises `Unopenable`."""
    return (await data_key(connection, account)).open(_place(account), sealed)


async def enrol(connection: Connection, person: Person, sealed: bytes, step: int) -> None:
    """From now on codes of this authenticator are asked for; the one of `step` was taken already."""
    await connection.execute(update(Account).where(Account.id == person.id).values(totp=sealed, totp_step=step))
    await record(connection, person.actor, [Event(Operation.ALTERATION, "account.authenticator_enrolled")])


async def complete_setup(connection: Connection, person: Person, hash: str) -> None:
    """An invited account is set up: it has a password now, and its set-up code is used up."""
    await connection.execute(
        update(Account)
        .where(Account.id == person.id)
        .values(password=hash, state=AccountState.ACTIVE.value, setup=None, setup_until=None)
    )
    await record(connection, person.actor, [Event(Operation.ALTERATION, "account.set_up")])


async def note_sign_in(connection: Connection, account: UUID) -> None:
    """Somebody has signed in to this account now."""
    await connection.execute(update(Account).where(Account.id == account).values(signed_in_at=func.now()))


def _place(account: UUID) -> Place:
    return Place("account", "totp", account)


def _recovery_hash(keys: Keys, account: UUID, code: str) -> bytes:
    return keys.digest(Purpose.ONE_TIME_CODE, b"recovery " + account.bytes + codes.typed(code).encode())
