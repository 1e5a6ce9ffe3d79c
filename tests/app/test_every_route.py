"""Every route of the OpenAPI document, for everybody: 401 without a key, 403 for a role that it is not for."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from pydantic import SecretStr

from app.access.policy import POLICY, Role
from app.access.routes import declared_action
from app.main import OPEN_PATHS, create_app
from app.settings import Settings
from app.wake import Nobody
from tests.acts import slug
from tests.app.conftest import Served
from tests.conftest import SECRET

PARTIES = {
    Role.ORIGINATOR: "SWP",
    Role.AGENCY: "HMRC",
    Role.COORDINATOR: "TARIAN",
    Role.NATIONAL: "GAIN",
    Role.AUDITOR: "GAIN",
    Role.ADMINISTRATOR: "GAIN",
}
METHODS = ("get", "post", "put", "patch", "delete")
AN_ID = "00000000-0000-7000-8000-000000000000"
BAD_BODY = b'{"Quillfeather": NaN'


def whole_app() -> Any:
    """Every route of the program; no database behind it."""
    unused = Settings(
        database_url="postgresql+asyncpg://nobody@127.0.0.1:1/none",
        broker_url="redis://127.0.0.1:1/0",
        secret=SecretStr(SECRET),
    )
    return create_app(unused, Nobody())


def _known() -> list[tuple[str, str]]:
    """Method and path of everything that the document tells of and that is not for everybody to read."""
    paths = whole_app().openapi()["paths"]
    return [
        (method, path)
        for path, known in paths.items()
        for method in METHODS
        if method in known and path not in OPEN_PATHS
    ]


def _roles() -> dict[tuple[str, str], frozenset[Role]]:
    """Which roles the policy lets in at each method and path."""
    found = {}
    for context in iter_route_contexts(whole_app().routes):
        endpoint = getattr(context.original_route, "endpoint", None)
        if context.path in OPEN_PATHS or endpoint is None:
            continue
        action = declared_action(endpoint)
        if action is not None:
            for method in getattr(context.original_route, "methods", ()) or ():
                found[method.lower(), str(context.path)] = frozenset(POLICY[action])
    return found


ROLES = _roles()
OPERATIONS = [operation for operation in _known() if operation in ROLES]
PUBLIC = {("post", "/v1/token"), ("post", "/v1/token/revoke"), ("get", "/.well-known/jwks.json")}
"""What recognises its callers itself, or nobody: tests/app/test_tokens.py asks these."""


@pytest.fixture(scope="module")
def keys(served: Served) -> dict[Role, str]:
    """One key of each role."""
    return {role: served.key(party, role) for role, party in PARTIES.items()}


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[httpx.Client]:
    """A client without a key."""
    with httpx.Client(base_url=served.url, timeout=20) as opened:
        yield opened


def _ask(
    client: httpx.Client, operation: tuple[str, str], key: str | None, *, body: bytes = BAD_BODY
) -> httpx.Response:
    method, path = operation
    for name in ("{id}", "{dispatch_id}", "{referral_id}"):
        path = path.replace(name, AN_ID)
    assert "{" not in path, f"give {path} its parameters"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if method == "get":
        return client.get(path, headers=headers)
    return client.request(method, path, headers={**headers, "Content-Type": "application/json"}, content=body)


def test_the_document_and_the_routes_tell_of_the_same_operations() -> None:
    assert len(OPERATIONS) >= 12
    assert {("post", "/v1/referrals"), ("get", "/v1/inbox"), ("get", "/v1/queues")} <= set(ROLES)
    assert set(_known()) - set(OPERATIONS) == PUBLIC


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_without_a_key_nothing_is_read_or_done(client: httpx.Client, operation: tuple[str, str]) -> None:
    for answer in (_ask(client, operation, None), _ask(client, operation, "gain_dev_0_0_0")):
        assert answer.status_code == 401, answer.text
        assert slug(answer) == "credential-required"


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_a_role_gets_in_where_the_policy_says_so_and_nowhere_else(
    client: httpx.Client, keys: dict[Role, str], operation: tuple[str, str], role: Role
) -> None:
    answer = _ask(client, operation, keys[role])
    if role not in ROLES[operation]:
        assert answer.status_code == 403, answer.text
        assert slug(answer) == "role-not-allowed"
    else:
        assert answer.status_code not in (401, 403), answer.text
        assert answer.status_code < 500, answer.text
