"""What every page may show of who looks at it, and the token that makes a form ours.

Templates write `{{ csrf() }}` into each form and ask `viewer()`. Both are of the request being answered: a part that is
painted for several people at once has neither, and asking for the token there raises `LookupError`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from markupsafe import Markup

FIELD = "csrf"
"""The name of the hidden field."""

HEADER = "x-csrf-token"
"""The header that carries the token where a script or a program sends the form."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whoever is signed in: a name to show, the party, the role acted in, and that role's first page.

    `name` is the person's own; of a session opened with a key it is empty. `roles` are all that the person may act in.
    """

    name: str
    party: str
    role: str
    home: str
    roles: tuple[str, ...] = ()


_token: ContextVar[Callable[[], str]] = ContextVar("form_token")
_viewer: ContextVar[Viewer | None] = ContextVar("viewer", default=None)


def csrf() -> Markup:
    """The hidden field that every form carries. Raises `LookupError` where no page of one person is being made."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, _token.get()())


def viewer() -> Viewer | None:
    """Who looks at the page that is being made; None where nobody is signed in."""
    return _viewer.get()


@contextmanager
def page_of(token: Callable[[], str]) -> Iterator[None]:
    """Within the block a page is made whose forms carry this token, for nobody until `show_to` says for whom."""
    set_token, set_viewer = _token.set(token), _viewer.set(None)
    try:
        yield
    finally:
        _viewer.reset(set_viewer)
        _token.reset(set_token)


def show_to(seen_by: Viewer) -> None:
    """The page being made is for this person."""
    _viewer.set(seen_by)
