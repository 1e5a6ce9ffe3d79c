"""People's accounts for a data directory, whether or not its system is running."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from app import clock
from app.access.accounts import codes, people, register
from app.access.accounts.passwords import Passwords
from app.access.accounts.register import AccountRefused, Invited, NewAccount, Registrar
from app.access.policy import Role
from app.audit.record import Event, Operation, record
from app.crypto.keys import Keys
from app.db import AS_ADMINISTRATOR, AS_GATEWAY, Connection, act
from app.runtime.moment import database_of
from app.runtime.operating import in_transaction, operator
from app.runtime.refusal import StartRefused
from app.settings import Settings

T = TypeVar("T")

HERE = Path(".gain")

COLUMNS = ("user name", "party", "roles", "state", "created", "signed in", "name", "id")
"""What `listed` tells of an account."""

_CAST = (
    NewAccount("TARIAN", "coordinator@tarian.example", "Ceri Coordinator", (Role.COORDINATOR,)),
    NewAccount("SWP", "analyst@swp.example", "Aled Analyst", (Role.ORIGINATOR,)),
    NewAccount("HMRC", "desk@hmrc.example", "Dana Desk", (Role.AGENCY,), manager=True),
    NewAccount("GAIN", "auditor@gain.example", "Owen Auditor", (Role.AUDITOR,)),
)
"""The people of the demonstration: nobody of these names is meant."""

_WORDS = ("amber", "birch", "cobalt", "drift", "ember", "fjord", "garnet", "harbour", "indigo", "juniper", "kestrel")


@dataclass(frozen=True, slots=True)
class Demonstrated:
    """An account of the demonstration, with what opens it: to be printed, never to be real."""

    username: str
    party: str
    role: str
    password: str
    secret: str


def add(data_dir: Path, new: NewAccount) -> Invited:
    """A new account and its set-up code. Raises `StartRefused` with what a person can mend."""
    return _registered(data_dir, lambda registrar, connection: registrar.add(connection, new))


def reset(data_dir: Path, username: str) -> Invited:
    """A new set-up code; all that opened the account before is gone. Raises as `add`."""
    return _there(_registered(data_dir, lambda registrar, connection: registrar.reset(connection, username)))


def lock(data_dir: Path, username: str) -> None:
    """Keep somebody out. Raises as `add`."""
    _there(_registered(data_dir, lambda registrar, connection: registrar.lock(connection, username)))


def unlock(data_dir: Path, username: str) -> None:
    """Let somebody in again. Raises as `add`."""
    _there(_registered(data_dir, lambda registrar, connection: registrar.unlock(connection, username)))


def manage(data_dir: Path, username: str, *, manager: bool) -> None:
    """Let somebody change their party's policy, or no more. Raises as `add`."""
    _there(_registered(data_dir, lambda registrar, connection: registrar.manage(connection, username, manager)))


def remove(data_dir: Path, username: str) -> None:
    """End an account for ever. Raises as `add`."""
    _there(_registered(data_dir, lambda registrar, connection: registrar.remove(connection, username)))


def listed(data_dir: Path, party: str | None = None, *, every: bool = False) -> list[list[str]]:
    """The accounts, removed ones only with `every`: the texts of `COLUMNS`. Raises as `add`."""

    async def read(connection: Connection) -> list[list[str]]:
        lines = [_line(row) for row in await connection.execute(register.listed(party, every=every))]
        told = {"ids": [line[-1] for line in lines]}
        await record(connection, operator(), [Event(Operation.CONSULTATION, "accounts.listed", detail=told)])
        return lines

    with database_of(data_dir) as settings:
        return in_transaction(settings, read)


def demonstrate(data_dir: Path) -> list[Demonstrated]:
    """The people of the demonstration, ready to sign in, anew at each call. Raises `StartRefused` in production."""
    with database_of(data_dir) as settings:
        if settings.environment == "production":
            raise StartRefused("production takes no accounts of the demonstration")

        async def make(connection: Connection) -> list[Demonstrated]:
            registrar = Registrar(operator(), Keys(settings.master_secret()))
            return [await _ready(connection, registrar, one) for one in _CAST]

        return in_transaction(settings, make)


async def _ready(connection: Connection, registrar: Registrar, new: NewAccount) -> Demonstrated:
    """One of them, set up as its owner would have."""
    password = "-".join(secrets.choice(_WORDS) for _ in range(3)) + f"-{secrets.randbelow(90) + 10}"
    await registrar.remove(connection, new.username)
    invited = await registrar.add(connection, new, demonstration=True)
    secret, hash = codes.new_secret(), await Passwords().hash(password)
    await act(connection, AS_GATEWAY)
    person = await people.by_id(connection, invited.id)
    assert person is not None  # noqa: S101  it was just made
    await people.complete_setup(connection, person, hash)
    sealed = await people.seal_secret(connection, person.id, secret)
    await people.enrol(connection, person, sealed, int(clock.now().timestamp()) // codes.STEP_SECONDS - 2)
    await act(connection, AS_ADMINISTRATOR)
    return Demonstrated(new.username, new.party, new.roles[0].value, password, secret.decode())


def refuse_demonstration(settings: Settings) -> None:
    """Raise `StartRefused` in production where people of a demonstration could sign in."""
    if settings.environment != "production":
        return

    async def read(connection: Connection) -> list[str]:
        return [row.username for row in await connection.execute(register.listed()) if row.demonstration]

    if found := in_transaction(settings, read):
        raise StartRefused(
            f"production does not start with accounts of the demonstration: {', '.join(found)}. "
            "Remove them with: gain users remove"
        )


def first_steps(url: str, data_dir: Path) -> str:
    """How the first person comes to sign in."""
    where = "" if data_dir == HERE else f" --data-dir {data_dir}"
    return (
        f'people sign in at {url}/sign-in; add one: gain users add TARIAN you@tarian.example --name "Your Name"{where}'
    )


def _registered(data_dir: Path, work: Callable[[Registrar, Connection], Awaitable[T]]) -> T:
    with database_of(data_dir) as settings:
        registrar = Registrar(operator(), Keys(settings.master_secret()))
        try:
            return in_transaction(settings, lambda connection: work(registrar, connection))
        except AccountRefused as refusal:
            raise StartRefused(str(refusal)) from refusal


def _there(found: T | None) -> T:
    if not found:
        raise StartRefused("there is no such user: gain users list shows them")
    return found


def _line(row: register.AccountRow) -> list[str]:
    moments = [row.created_at, row.signed_in_at]
    times = ["-" if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in moments]
    return [row.username, row.party, ",".join(row.roles), row.state, *times, row.name, str(row.id)]
