"""People sign in, through HTTP with the database: setting up, password, code, roles, sessions; and each refused."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from pydantic import SecretStr
from sqlalchemy import text

from app import clock
from app.access.accounts import codes
from app.access.accounts.register import Invited, NewAccount, Registrar
from app.access.policy import Role
from app.audit.record import Actor
from app.crypto.keys import Keys
from app.db import AS_ADMINISTRATOR, Database
from app.settings import Settings
from tests.acts import change, rows
from tests.app.people import PASSWORD, Someone, invited, set_up, signed_in, sign_in
from tests.browser import ORIGIN, carry_token, forms, send, submit
from tests.conftest import SECRET, Cast, gateway


async def logged(database: Database, like: str = "^(session|account)") -> list[str]:
    """What the log says of people, in order."""
    found = await rows(database, "SELECT action FROM audit_event WHERE action ~ :like ORDER BY id", like=like)
    return [row["action"] for row in found]


async def test_somebody_sets_their_account_up_with_a_code_and_signs_in(cast: Cast, database: Database) -> None:
    invitation = await invited(database, "TARIAN", "ceri@tarian.example")
    browser = cast.client(ORIGIN)
    someone = await set_up(browser, invitation)
    assert len(someone.recovery_codes) == 10
    assert (await browser.get("/")).status_code == 200  # the set-up ends signed in

    other = cast.client(ORIGIN)
    answer = await sign_in(other, someone)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "What needs you now" in (await other.get("/")).text
    actors = await rows(database, "SELECT DISTINCT actor FROM audit_event WHERE action = 'session.opened'")
    assert actors == [{"actor": str(invitation.id)}]
    assert await logged(database) == [
        "account.added",
        "account.set_up",
        "account.authenticator_enrolled",
        "account.recovery_codes_renewed",
        "session.opened",
        "session.opened",
    ]
