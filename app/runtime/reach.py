"""Reaching the database, told in one line where it fails."""

from collections.abc import Iterator
from contextlib import contextmanager

from asyncpg import PostgresError

from app.db import is_away
from app.runtime.refusal import StartRefused


@contextmanager
def needing_database() -> Iterator[None]:
    """Turn an error that says the database cannot be reached within the block into `StartRefused`."""
    try:
        yield
    except PostgresError as error:  # raised while connecting: password, name of the database, too many connections
        raise StartRefused(f"the database refuses us ({type(error).__name__}): check GAIN_DATABASE_URL") from error
    except Exception as error:
        if not is_away(error):
            raise
        raise StartRefused("the database does not answer: check GAIN_DATABASE_URL") from error
