"""A sign-in that takes several pages: what was shown already is kept on the server, under a cookie, for ten minutes."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update

from app.access.accounts.models import SignInStep
from app.crypto.keys import Keys, Purpose
from app.db import Connection

_LIFETIME = timedelta(minutes=10)
_SETTING_UP = timedelta(minutes=30)


class Stage(StrEnum):
    """What a sign-in waits for."""

    CODE = "code"  # the password was right: the code of the authenticator
    PASSWORD = "password"  # the set-up code was right: a new password  # nosec B105  # noqa: S105
    AUTHENTICATOR = "authenticator"  # the first code of a new authenticator
    ROLE = "role"  # all is shown: which role to act in
    PROVIDER = "provider"  # the answer of the OpenID provider


@dataclass(frozen=True, slots=True)
class Step:
    """A sign-in under way: whose (None: not known yet), what it waits for, and what it has to remember."""

    stage: Stage
    account: UUID | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


async def begin(connection: Connection, keys: Keys, step: Step) -> str:
    """Remember a sign-in; returns the cookie's value, a new one at every beginning."""
    token = secrets.token_urlsafe(32)
    await connection.execute(delete(SignInStep).where(SignInStep.expires_at < func.now()))
    lifetime = _SETTING_UP if step.stage is Stage.PASSWORD else _LIFETIME
    await connection.execute(
        insert(SignInStep).values(
            id=_id(keys, token),
            account_id=step.account,
            stage=step.stage.value,
            detail=dict(step.detail),
            expires_at=func.now() + lifetime,
        )
    )
    return token


async def find(connection: Connection, keys: Keys, token: str, stage: Stage) -> Step | None:
    """The sign-in of this cookie, where it waits for that."""
    row = (
        await connection.execute(
            select(SignInStep.account_id, SignInStep.detail).where(
                SignInStep.id == _id(keys, token),
                SignInStep.stage == stage.value,
                SignInStep.expires_at > func.now(),
            )
        )
    ).one_or_none()
    return None if row is None else Step(stage, row.account_id, row.detail or {})


async def go_on(connection: Connection, keys: Keys, token: str, stage: Stage, detail: Mapping[str, Any]) -> None:
    """The sign-in of this cookie now waits for this, and remembers that."""
    await connection.execute(
        update(SignInStep).where(SignInStep.id == _id(keys, token)).values(stage=stage.value, detail=dict(detail))
    )


async def end(connection: Connection, keys: Keys, token: str) -> bool:
    """Forget the sign-in of this cookie; whether it was there: of two that end one at once, one alone hears yes."""
    ended = await connection.scalar(
        delete(SignInStep).where(SignInStep.id == _id(keys, token)).returning(SignInStep.id)
    )
    return ended is not None


def _id(keys: Keys, token: str) -> bytes:
    return keys.digest(Purpose.SIGN_IN, b"step " + token.encode())
