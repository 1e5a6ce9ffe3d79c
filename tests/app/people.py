"""People for tests: invited by an administrator, set up through the pages, with an authenticator that runs ahead."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import httpx

from app import clock
from app.access.accounts import codes
from app.access.accounts.register import Invited, NewAccount, Registrar
from app.access.policy import Role
from app.audit.record import Actor
from app.crypto.keys import Keys
from app.db import AS_ADMINISTRATOR, Connection, Database
from tests.acts import change, rows
from tests.browser import ORIGIN, carry_token, submit
from tests.conftest import SECRET, Cast

PASSWORD = "correct-otter-battery"
_KEYS = Keys(SECRET.encode())


@dataclass
class Someone:
    """A person: the account and all that opens it."""

    username: str
    id: str
    password: str
    secret: bytes
    recovery_codes: list[str] = field(default_factory=list)

    def code(self, steps: int = 0) -> str:
        """What the authenticator shows so many steps from now."""
        return codes.code_at(self.secret, clock.now() + timedelta(seconds=steps * codes.STEP_SECONDS))


@asynccontextmanager
async def administered(database: Database) -> AsyncIterator[tuple[Registrar, Connection]]:
    """The register, and a transaction in which an administrator changes it."""
    async with database.transaction(AS_ADMINISTRATOR) as connection:
        yield Registrar(Actor("GAIN", "command:tests"), _KEYS), connection


async def invited(database: Database, party: str, username: str, *roles: Role, name: str = "Ceri Example") -> Invited:
    """A new account that waits to be set up."""
    async with administered(database) as (registrar, connection):
        return await registrar.add(connection, NewAccount(party, username, name, roles))


async def set_up(browser: httpx.AsyncClient, invitation: Invited, password: str = PASSWORD) -> Someone:
    """Set the account up in this browser, which is signed in then."""
    answer = await submit(browser, "/sign-in/set-up", {"username": invitation.username, "code": invitation.code})
    assert answer.headers.get("location") == "/sign-in/set-up/password", answer.text
    answer = await submit(browser, answer.headers["location"], {"password": password, "again": password})
    assert answer.headers.get("location") == "/sign-in/set-up/authenticator", answer.text
    page = await browser.get(answer.headers["location"])
    found = re.search(r'<code id="secret">([A-Z2-7]+)</code>', page.text)
    assert found is not None
    someone = Someone(invitation.username, str(invitation.id), password, found[1].encode())
    page = await submit(browser, answer.headers["location"], {"code": someone.code()})
    assert page.status_code == 200, page.text
    someone.recovery_codes = re.findall(r"<li><code>([0-9A-Z-]{14})</code></li>", page.text)
    return someone


async def sign_in(
    browser: httpx.AsyncClient, someone: Someone, *, password: str = "", code: str | None = None
) -> httpx.Response:
    """The last answer on the way in: the redirect to the first page, or the form that refuses."""
    fields = {"username": someone.username, "password": password or someone.password}
    answer = await submit(browser, "/sign-in", fields)
    if answer.status_code != 303:
        return answer
    assert answer.headers["location"] == "/sign-in/code"
    # The next one: that of now was perhaps taken for the set-up a moment ago.
    return await submit(browser, "/sign-in/code", {"code": someone.code(1) if code is None else code})


async def signed_in(
    cast: Cast, database: Database, party: str = "TARIAN", *roles: Role, username: str = "ceri@tarian.example"
) -> tuple[httpx.AsyncClient, Someone]:
    """A browser of a new person, just signed in; its posts carry its token."""
    browser = cast.client(ORIGIN)
    someone = await set_up(browser, await invited(database, party, username, *roles))
    if len(roles) > 1:
        await submit(browser, "/sign-in/role", {"role": roles[0].value})
    carry_token(browser)
    return browser, someone


async def rewind(database: Database, someone: Someone) -> None:
    """Forget which codes were taken: as if half a minute had passed."""
    await change(database, "UPDATE account SET totp_step = 0 WHERE username = :username", username=someone.username)


__all__ = ["PASSWORD", "Someone", "invited", "rewind", "set_up", "sign_in", "signed_in"]


async def logged(database: Database, like: str = "^(session|account)") -> list[str]:
    """What the log says of people, in order."""
    found = await rows(database, "SELECT action FROM audit_event WHERE action ~ :like ORDER BY id", like=like)
    return [row["action"] for row in found]


async def failed(browser: httpx.AsyncClient, username: str, times: int) -> Sequence[httpx.Response]:
    """So many attempts with a wrong password."""
    fields = {"username": username, "password": "wrong-wrong-wrong"}
    return [await submit(browser, "/sign-in", fields) for _ in range(times)]
