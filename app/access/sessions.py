"""Sessions of the pages: opened with a key, kept on the server, ended by signing out, by time or with the key."""

import secrets
from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import delete, func, insert, select

from app.access.keys import CREDENTIAL, IN_FORCE, Credential, credential_of
from app.access.models import ApiKey, Session
from app.crypto.keys import Keys, Purpose
from app.db import Connection

LIFETIME = timedelta(hours=12)
"""A working day: the longest a session lasts."""

_IN_FORCE = (Session.expires_at > func.now(), *IN_FORCE)


async def open_session(connection: Connection, keys: Keys, credential: Credential) -> str:
    """Open a session for a credential just accepted; returns the cookie's value."""
    token = secrets.token_urlsafe(32)
    await connection.execute(delete(Session).where(Session.expires_at < func.now()))
    await connection.execute(
        insert(Session).values(id=session_id(keys, token), key_id=credential.id, expires_at=func.now() + LIFETIME)
    )
    return token


def session_id(keys: Keys, token: str) -> bytes:
    """What the database calls the session of this cookie."""
    return keys.digest(Purpose.SESSION, token.encode())


async def session_credential(connection: Connection, keys: Keys, token: str) -> Credential | None:
    """The credential of a session in force, or None."""
    row = (
        await connection.execute(
            select(*CREDENTIAL)
            .join(Session, Session.key_id == ApiKey.id)
            .where(Session.id == session_id(keys, token), *_IN_FORCE)
        )
    ).one_or_none()
    return None if row is None else credential_of(row)


async def in_force(connection: Connection, ids: Collection[bytes]) -> set[bytes]:
    """Those of these sessions that are neither over nor signed out, and whose key is in force; by one query."""
    rows = await connection.scalars(
        select(Session.id).join(ApiKey, Session.key_id == ApiKey.id).where(Session.id.in_(ids), *_IN_FORCE)
    )
    return set(rows)


async def close_session(connection: Connection, keys: Keys, token: str) -> None:
    """End a session; ending one that is not there does nothing."""
    await connection.execute(delete(Session).where(Session.id == session_id(keys, token)))
