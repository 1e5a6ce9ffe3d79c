"""Every list that goes on page by page takes the positions that we gave, and answers 400 to any other."""

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from app.access.policy import Role
from app.errors import Problem
from app.web import cursor as cursors
from tests.acts import slug
from tests.app.test_every_route import PARTIES, ROLES, whole_app
from tests.browser import signed_in
from tests.conftest import Cast

A_DAY, A_UUID = "2026-01-01T00:00:00+00:00", "00000000-0000-7000-8000-000000000000"
BEFORE_TIME = "0001-01-01T00:00:00+23:59"
POSITIONS: tuple[Any, ...] = (
    [],
    [1],
    [2**31],
    [2**40],
    [2**63],
    [-1],
    [0, 2**63],
    [1, 2, 3],
    [1.5],
    [True],
    [None],
    [[1]],
    {"a": 1},
    "text",
    ["\0"],
    [A_UUID],
    [A_UUID, BEFORE_TIME],
    [A_DAY, "\0"],
    [A_DAY, "of nobody"],
    [BEFORE_TIME, "of nobody"],
    [BEFORE_TIME, 1],
    ["9999-12-31T23:59:59-23:59", 1],
    ["2026-01-01T00:00:00", 2**62],
)
"""What somebody could write into a cursor who knows how one is made."""


def _lists() -> list[str]:
    """The addresses of the route table that take a cursor."""
    found = []
    for context in iter_route_contexts(whole_app().routes):
        dependant = getattr(context.original_route, "dependant", None)
        if dependant is None:
            continue
        if any(field.alias == "cursor" for field in _parameters(dependant)):
            found.append(str(context.path))
    return sorted(found)


def _parameters(dependant: Dependant) -> list[Any]:
    """What a route reads of its query, by itself and by what it depends on."""
    return [*dependant.query_params, *(field for one in dependant.dependencies for field in _parameters(one))]


LISTS = _lists()


def test_the_lists_are_found() -> None:
    assert {"/", "/my-inbox", "/v1/inbox", "/v1/keys", "/v1/referrals", "/v1/referral-batches/{id}/errors"} <= set(
        LISTS
    )


@pytest.mark.parametrize("path", LISTS)
async def test_a_cursor_that_we_did_not_make_is_refused_wherever_one_is_taken(
    path: str, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, address = await _client(cast, path), await _address(cast, path)
    filters: list[Sequence[object]] = []
    decode = cursors.decode

    def heard(asked: Sequence[object], cursor: str) -> list[str | int]:
        filters.append(asked)
        return decode(asked, cursor)

    monkeypatch.setattr(cursors, "decode", heard)
    assert (await client.get(address, params={"cursor": "bm9uc2Vuc2U"})).status_code == 400
    [known] = filters
    for position in POSITIONS:
        for made in (_of_before(known, position), _altered(known, position), _unsigned(position)):
            answer = await client.get(address, params={"cursor": made})
            assert answer.status_code == 400, (position, answer.text)
            if path.startswith("/v1/"):
                assert slug(answer) == "bad-cursor"
    assert len(filters) == 1 + 3 * len(POSITIONS)


def test_a_cursor_is_good_for_every_gateway_of_one_secret_and_for_no_other() -> None:
    whole_app()
    made = cursors.encode(("SWP", None), [2**40, "x"])
    whole_app()
    assert cursors.decode(("SWP", None), made) == [2**40, "x"]
    assert base64.urlsafe_b64decode(made + "==")[12:] == b'[1099511627776,"x"]'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cursors, "_digest", cursors._of_this_process)
        with pytest.raises(Problem, match="bad-cursor"):
            cursors.decode(("SWP", None), made)


async def _client(cast: Cast, path: str) -> httpx.AsyncClient:
    role = min(ROLES["get", path])
    party = PARTIES[role]
    return await (cast.play(party, role) if path.startswith("/v1/") else signed_in(cast, party, role))


async def _address(cast: Cast, path: str) -> str:
    if "{" not in path:
        return path
    assert path == "/v1/referral-batches/{id}/errors", "a list of something: make one here"
    force = await cast.play("SWP", Role.ORIGINATOR)
    sent = await force.post("/v1/referral-batches", content=b"{}\n", headers={"Content-Type": "application/x-ndjson"})
    return path.format(id=sent.json()["id"])


def _of_before(filters: Sequence[object], position: Any) -> str:
    """A cursor as they were made before they had a code: anybody could."""
    head = hashlib.sha256(repr([str(item) for item in filters]).encode()).digest()[:6]
    return _text(head + json.dumps(position).encode())


def _altered(filters: Sequence[object], position: Any) -> str:
    """One that we gave, with another position in it."""
    given = base64.urlsafe_b64decode(cursors.encode(filters, [7]) + "==")
    assert given.endswith(b"[7]")
    return _text(given[:-3] + json.dumps(position).encode())


def _unsigned(position: Any) -> str:
    return _text(json.dumps(position).encode())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
