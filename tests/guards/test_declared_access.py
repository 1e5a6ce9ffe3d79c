"""No route without a declared permission, no action without a rule, no refusal without a page."""

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import SecretStr

from app import main
from app.access.policy import POLICY, Action, Relation, Role, relation, roles_of
from app.access.routes import AccessRoute, UndeclaredRoutes, permit, public
from app.errors import PROBLEM_TYPES
from app.main import create_app
from app.parties.codes import RECEIVING_KINDS, PartyKind
from app.settings import Settings
from app.wake import Nobody
from tests.conftest import SECRET

CONTENT = (Action.READ_REFERRAL, Action.READ_RESPONSES, Action.READ_INBOX, Action.SUBMIT_REFERRAL, Action.ANSWER)


@pytest.fixture
def unconnected() -> Settings:
    """Settings of a gateway that is never asked anything of its database."""
    return Settings(
        database_url="postgresql+asyncpg://nobody@127.0.0.1:1/none",
        broker_url="redis://127.0.0.1:1/0",
        secret=SecretStr(SECRET),
    )


def _router(route_class: type, *, declared: bool) -> APIRouter:
    router = APIRouter(route_class=route_class) if route_class is AccessRoute else APIRouter()

    async def secrets() -> None: ...

    router.get("/v1/secrets")(permit(Action.READ_REFERRAL)(secrets) if declared else secrets)
    return router


@pytest.mark.parametrize(
    ("router", "why"),
    [
        (_router(AccessRoute, declared=False), "it declares nothing"),
        (_router(APIRouter, declared=True), "it declares, and its class enforces nothing"),
        (_router(APIRouter, declared=False), "neither"),
    ],
)
def test_an_undeclared_route_keeps_the_gateway_from_starting(
    unconnected: Settings, monkeypatch: pytest.MonkeyPatch, router: APIRouter, why: str
) -> None:
    monkeypatch.setattr(main, "ROUTES", [*main.ROUTES, *main.together(router)])
    with pytest.raises(UndeclaredRoutes, match="/v1/secrets"):
        create_app(unconnected, Nobody())


def test_a_mounted_application_of_unknown_routes_keeps_the_gateway_from_starting(
    unconnected: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = APIRouter()
    router.mount("/v1/more", FastAPI())
    monkeypatch.setattr(main, "ROUTES", [*main.ROUTES, *main.together(router)])
    with pytest.raises(UndeclaredRoutes):
        create_app(unconnected, Nobody())


def test_the_gateway_starts_with_the_doors_it_has(unconnected: Settings) -> None:
    assert create_app(unconnected, Nobody()).routes


def test_a_public_route_says_so(unconnected: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    router = APIRouter()

    @router.get("/v1/time")
    @public
    async def time() -> None: ...

    monkeypatch.setattr(main, "ROUTES", [*main.ROUTES, *main.together(router)])
    assert create_app(unconnected, Nobody()).routes


def test_every_action_has_its_row_and_every_row_known_roles() -> None:
    assert set(POLICY) == set(Action)
    for action, roles in POLICY.items():
        assert roles, f"nobody may {action}"
        assert set(roles) <= set(Role)
        assert set(roles.values()) <= set(Relation)


@pytest.mark.parametrize("action", CONTENT)
@pytest.mark.parametrize("role", [Role.AUDITOR, Role.ADMINISTRATOR])
def test_who_keeps_the_log_or_the_keys_sees_no_content(role: Role, action: Action) -> None:
    assert relation(role, action) is None


@pytest.mark.parametrize("action", [Action.READ_INBOX, Action.ANSWER])
def test_the_inbox_is_the_addressees_alone(action: Action) -> None:
    assert POLICY[action] == {Role.AGENCY: Relation.ADDRESSED}


def test_every_kind_of_party_has_a_default_role_and_only_receivers_are_agencies() -> None:
    for kind in PartyKind:
        assert roles_of(kind)
        assert (Role.AGENCY in roles_of(kind)) == (kind in RECEIVING_KINDS)


async def test_every_problem_type_has_a_page_that_says_what_to_do(unconnected: Settings) -> None:
    transport = httpx.ASGITransport(create_app(unconnected, Nobody()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gain.test") as client:
        for kind in PROBLEM_TYPES.values():
            page = await client.get(f"/problems/{kind.slug}")
            assert page.status_code == 200
            assert page.headers["content-type"].startswith("text/html")
            assert kind.title in page.text
