"""A client gets the form it asked for, or is told that there is none."""

import pytest

from app.web.negotiation import preferred

OFFERS = ("application/json", "text/html")


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("text/*", "text/html"),
        ("application/json;q=0.2, text/html;q=0.1", "application/json"),
        ("application/json;q=0, */*", "text/html"),
        ("application/pdf", None),
        ("*/*;q=0", None),
        ("text/html;q=x", None),
        (",", None),
    ],
)
def test_the_form_a_client_prefers_is_given(accept: str | None, given: str | None) -> None:
    assert preferred(accept, OFFERS) == given
