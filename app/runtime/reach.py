"""Reaching the database, told in one line where it fails."""

from collections.abc import Iterator
from contextlib import contextmanager

from asyncpg import PostgresError

from app.db import is_away
from app.runtime.refusal import StartRefused

_NOT_ALLOWED = "42501"  # SQLSTATE: insufficient privilege
_OWNERS = "this user of the database may not do that: name its owner in GAIN_DATABASE_URL"


@contextmanager
def needing_database() -> Iterator[None]:
    """Turn an error that says the database cannot be reached within the block into `StartRefused`."""
    try:
        yield
    except PostgresError as error:  # raised while connecting: password, name of the database, too many connections
        raise StartRefused(f"the database refuses us ({type(error).__name__}): check GAIN_DATABASE_URL") from error
    except Exception as error:
        if getattr(getattr(error, "orig", None), "sqlstate", None) == _NOT_ALLOWED:
            raise StartRefused(_OWNERS) from error
        if not is_away(error):
            raise
        raise StartRefused("the database does not answer: check GAIN_DATABASE_URL") from error
