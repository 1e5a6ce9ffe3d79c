"""The database's roles: those that processes sign in as, and those that their transactions take on.

A login owns nothing and may do nothing but take on the roles it is a member of, one at a time
(docs/decisions/0018-row-level-security.md). `gain migrate` makes what is missing where it
may, and says what to do where it may not.
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.policy import Role
from app.db import ACTING
from app.runtime.refusal import StartRefused
from app.settings import Settings


class Login(NamedTuple):
    """A role that processes sign in as, and what its transactions act as (without the prefix `ACTING`).

    `variable` names the file of its password for `gain migrate`.
    """

    name: str
    acts_as: tuple[str, ...]
    variable: str


GATEWAY = Login("gain_gateway", (*(role.value for role in Role), "covering", "gateway"), "GAIN_GATEWAY_PASSWORD_FILE")
WORKER = Login("gain_worker", ("worker",), "GAIN_WORKER_PASSWORD_FILE")
AUDITOR = Login("gain_auditor", ("auditor",), "GAIN_AUDITOR_PASSWORD_FILE")
LOGINS = (GATEWAY, WORKER, AUDITOR)

ACTED = tuple(sorted({ACTING + name for login in LOGINS for name in login.acts_as}))
"""Every role that a transaction may take on."""

COVERING, COORDINATOR = f"{ACTING}covering", f"{ACTING}{Role.COORDINATOR}"
"""A co-ordinator who covers another region may do what any may, and sees more rows: the one role inherits the other."""

_ITERATIONS = 4096
_ALREADY = {"42710", "23505"}  # another migration made it at this moment
_NOT_ALLOWED = "42501"

_ROLES = text("SELECT rolname FROM pg_roles WHERE rolname = ANY(CAST(:names AS text[]))")
_MEMBERS = text("""
    SELECT CAST(roleid AS regrole)::text AS role, CAST(member AS regrole)::text AS member
      FROM pg_auth_members WHERE set_option
""")
_INHERITS = text("""
    SELECT EXISTS (SELECT FROM pg_auth_members WHERE inherit_option AND CAST(roleid AS regrole)::text = :role
                      AND CAST(member AS regrole)::text = :member)
""")
_SELF = text("""
    SELECT rolname FROM pg_roles WHERE rolname = current_user AND NOT rolsuper
""")


async def make(connection: AsyncConnection) -> None:
    """Make the roles and memberships that are missing. Raises `StartRefused` with the statements for who may.

    On a connection that commits each statement.
    """
    for statement in (todo := await missing(connection)):
        try:
            await connection.exec_driver_sql(statement)
        except DBAPIError as error:
            state = getattr(error.orig, "sqlstate", None)
            if state == _NOT_ALLOWED:
                raise StartRefused(_advice(todo)) from error
            if state not in _ALREADY:
                raise


async def missing(connection: AsyncConnection) -> list[str]:
    """The statements that make what is not there yet, in order."""
    logins = [login.name for login in LOGINS]
    there = set(await connection.scalars(_ROLES, {"names": [*logins, *ACTED]}))
    members = {(row.role, row.member) for row in await connection.execute(_MEMBERS)}
    wanted = [(ACTING + name, login.name) for login in LOGINS for name in login.acts_as]
    # An owner who is no superuser runs commands that act as these too.
    wanted += [(role, owner) for owner in await connection.scalars(_SELF) for role in ACTED]
    inherits = await connection.scalar(_INHERITS, {"role": COORDINATOR, "member": COVERING})
    return [
        *(f"CREATE ROLE {name} NOLOGIN NOINHERIT" for name in ACTED if name not in there),
        *(f"CREATE ROLE {name} LOGIN NOINHERIT" for name in logins if name not in there),
        *(
            f'GRANT {role} TO "{member}" WITH INHERIT FALSE, SET TRUE'
            for role, member in wanted
            if (role, member) not in members
        ),
        *([] if inherits else [f"GRANT {COORDINATOR} TO {COVERING} WITH INHERIT TRUE, SET FALSE"]),
    ]


async def set_passwords(connection: AsyncConnection, settings: Settings) -> None:
    """Give the logins the passwords that the settings name. Raises `SettingsError` or `StartRefused`."""
    for name, password in passwords(settings).items():
        try:
            await connection.exec_driver_sql(f"ALTER ROLE {name} PASSWORD '{verifier(password)}'")
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == _NOT_ALLOWED:
                raise StartRefused(f"this user may not set the password of {name}: have a DBA do it") from error
            raise


def passwords(settings: Settings) -> Mapping[str, str]:
    """The password of each login for which the settings name one."""
    named = {
        GATEWAY.name: settings.gateway_password(),
        WORKER.name: settings.worker_password(),
        AUDITOR.name: settings.auditor_password(),
    }
    for name, password in named.items():
        if not password.isascii():
            raise StartRefused(f"the password of {name} must be ASCII")
    return {name: password for name, password in named.items() if password}


def verifier(password: str, salt: bytes | None = None) -> str:
    """What PostgreSQL keeps of a password (SCRAM-SHA-256, RFC 5803): so it is never sent, nor in any log."""
    salt = salt or os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    client = hmac.digest(salted, b"Client Key", "sha256")
    stored, server = hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")
    parts = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return "SCRAM-SHA-256${}:{}${}:{}".format(_ITERATIONS, *parts)


def _advice(statements: Sequence[str]) -> str:
    lines = "\n".join(f"  {statement};" for statement in statements)
    return f"this database user may not make roles: have a DBA run this, then migrate again\n{lines}"
