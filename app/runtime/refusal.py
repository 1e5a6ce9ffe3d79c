"""What keeps the system from starting, in one line for the person at the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager


class StartRefused(Exception):
    """The system cannot start; the text is one clear line that says what to do."""


@contextmanager
def refusing(doing: str) -> Iterator[None]:
    """Turn an operating-system error within the block into `StartRefused("cannot <doing>: <reason>")`."""
    try:
        yield
    except OSError as error:
        raise StartRefused(f"cannot {doing}: {error.strerror or error}") from error
