"""Signing in with an OpenID provider, a real HTTP server here: who gets in, and every answer that is refused."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from app.access.policy import Role
from app.db import Database
from app.settings import Settings, SettingsError
from tests.acts import change, rows
from tests.app.openid import CLIENT, CLIENT_SECRET, Provider, serving
from tests.app.people import administered, invited, set_up
from tests.browser import ORIGIN, submit
from tests.conftest import Cast, gateway

EMAIL = "ceri@tarian.example"
ANSWER = "/sign-in/provider/answer"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serving() as found:
        found.claims = {"sub": "subject-1", "email": EMAIL, "email_verified": True}
        yield found


@pytest.fixture
async def cast(configuration: Settings, database: Database, provider: Provider, tmp_path: Path) -> AsyncIterator[Cast]:
    """The cast before a gateway that knows the provider."""
    secret = tmp_path / "client-secret"
    secret.write_text(CLIENT_SECRET)
    changes: dict[str, Any] = {"oidc_issuer": provider.url, "oidc_client_id": CLIENT, "oidc_client_secret_file": secret}
    async with gateway(configuration, database, public_url="http://gain.test", **changes) as played:
        yield played


async def gone_and_back(browser: httpx.AsyncClient, path: str = "/sign-in/provider") -> httpx.Response:
    """To the provider and back: the answer to the browser's return."""
    sent = await browser.get(path)
    assert sent.status_code == 303, sent.text
    async with httpx.AsyncClient() as outside:
        back = await outside.get(sent.headers["location"])
    target = urlsplit(back.headers["location"])
    assert target.path == ANSWER
    return await browser.get(f"{target.path}?{target.query}")


async def test_somebody_the_register_knows_signs_in_by_their_verified_address_and_then_by_their_subject(
    cast: Cast, database: Database, provider: Provider
) -> None:
    await invited(database, "TARIAN", EMAIL)
    browser = cast.client(ORIGIN)
    assert "Sign in with your organisation" in (await browser.get("/sign-in")).text
    answer = await gone_and_back(browser)
    assert answer.status_code == 200
    assert '<meta http-equiv="refresh" content="0; url=/">' in answer.text  # a strict cookie comes with our own page
    assert (await browser.get("/")).status_code == 200
    asked = provider.asked[0]
    assert asked["code_challenge_method"] == "S256"
    assert asked["scope"] == "openid email"
    assert asked["nonce"]
    # From now on the subject counts, whatever the address says.
    provider.claims = {"sub": "subject-1", "email": "other@tarian.example", "email_verified": True}
    assert (await gone_and_back(cast.client(ORIGIN))).status_code == 200
    logged = await rows(
        database, "SELECT action, detail FROM audit_event WHERE action ~ '^(account|session)' ORDER BY id"
    )
    assert [row["action"] for row in logged] == ["account.added", "account.linked", "session.opened", "session.opened"]
    assert logged[-1]["detail"] == {"role": "coordinator", "by": "provider"}


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "subject-2", "email": "nobody@tarian.example", "email_verified": True},
        {"sub": "subject-2", "email": EMAIL, "email_verified": False},
        {"sub": "subject-2", "email": EMAIL},
        {"sub": "subject-2", "email": EMAIL, "email_verified": "true"},
        {"sub": "subject-2"},
    ],
)
async def test_nobody_gets_an_account_by_what_the_provider_says(
    cast: Cast, database: Database, provider: Provider, claims: dict[str, object]
) -> None:
    await invited(database, "TARIAN", EMAIL)
    provider.claims = claims
    answer = await gone_and_back(cast.client(ORIGIN))
    assert answer.status_code == 401
    assert "There is no account here" in answer.text
    assert await rows(database, "SELECT state, subject FROM account") == [{"state": "invited", "subject": None}]
    assert await rows(database, "SELECT id FROM session") == []


async def test_another_person_with_the_same_address_does_not_take_an_account_over(
    cast: Cast, database: Database, provider: Provider
) -> None:
    await invited(database, "TARIAN", EMAIL)
    await gone_and_back(cast.client(ORIGIN))
    provider.claims["sub"] = "subject-2"
    assert (await gone_and_back(cast.client(ORIGIN))).status_code == 401


@pytest.mark.parametrize("state", ["locked", "removed"])
async def test_whoever_is_locked_or_removed_stays_out(
    cast: Cast, database: Database, provider: Provider, state: str
) -> None:
    await invited(database, "TARIAN", EMAIL)
    await gone_and_back(cast.client(ORIGIN))
    async with administered(database) as (registrar, connection):
        await (registrar.lock if state == "locked" else registrar.remove)(connection, EMAIL)
    assert (await gone_and_back(cast.client(ORIGIN))).status_code == 401


@pytest.mark.parametrize("wrong", ["state", "nonce", "iss", "aud", "exp", "signature", "alg"])
async def test_an_answer_that_is_not_the_providers_to_us_is_refused(
    cast: Cast, database: Database, provider: Provider, wrong: str
) -> None:
    await invited(database, "TARIAN", EMAIL)
    provider.wrong = wrong
    answer = await gone_and_back(cast.client(ORIGIN))
    assert answer.status_code == 401
    assert "could not be used" in answer.text
    assert await rows(database, "SELECT id FROM session") == []
    [refusal] = await rows(database, "SELECT detail FROM audit_event WHERE action = 'session.refused'")
    assert refusal["detail"]["because"].startswith("provider: ")


async def test_a_code_is_taken_in_the_browser_that_began_and_once(
    cast: Cast, database: Database, provider: Provider
) -> None:
    await invited(database, "TARIAN", EMAIL)
    browser, other = cast.client(ORIGIN), cast.client(ORIGIN)
    sent = await browser.get("/sign-in/provider")
    async with httpx.AsyncClient() as outside:
        back = (await outside.get(sent.headers["location"])).headers["location"].removeprefix("http://gain.test")
    assert (await other.get(back)).status_code == 401
    await other.get("/sign-in/provider")
    assert (await other.get(back)).status_code == 401
    assert (await browser.get(back)).status_code == 200
    assert (await browser.get(back)).status_code == 401


async def test_a_refusal_of_the_provider_is_one_here(cast: Cast, database: Database) -> None:
    browser = cast.client(ORIGIN)
    sent = await browser.get("/sign-in/provider")
    state = parse_qs(urlsplit(sent.headers["location"]).query)["state"][0]
    answer = await browser.get(ANSWER, params={"state": state, "error": "access_denied", "code": "x"})
    assert answer.status_code == 401


async def test_a_provider_that_is_away_or_another_is_told_as_such(
    configuration: Settings, database: Database, provider: Provider
) -> None:
    provider.wrong = "metadata"
    for issuer in (provider.url, "http://127.0.0.1:1"):
        changes: dict[str, Any] = {"oidc_issuer": issuer, "oidc_client_id": CLIENT}
        async with gateway(configuration, database, **changes) as cast:
            answer = await cast.client(ORIGIN).get("/sign-in/provider")
        assert answer.status_code == 503
        assert "does not answer" in answer.text


async def test_the_context_of_authentication_must_be_the_one_that_is_asked_for(
    configuration: Settings, database: Database, provider: Provider, tmp_path: Path
) -> None:
    await invited(database, "TARIAN", EMAIL)
    secret = tmp_path / "secret"
    secret.write_text(CLIENT_SECRET)
    changes: dict[str, Any] = {"oidc_issuer": provider.url, "oidc_client_id": CLIENT, "oidc_client_secret_file": secret}
    async with gateway(configuration, database, public_url="http://gain.test", oidc_acr="mfa", **changes) as cast:
        assert (await gone_and_back(cast.client(ORIGIN))).status_code == 401
        provider.claims["acr"] = "mfa"
        assert (await gone_and_back(cast.client(ORIGIN))).status_code == 200
    assert provider.asked[-1]["acr_values"] == "mfa"


async def test_several_roles_are_chosen_from_after_the_provider_too(
    cast: Cast, database: Database, provider: Provider
) -> None:
    await invited(database, "TARIAN", EMAIL, Role.COORDINATOR, Role.ORIGINATOR)
    browser = cast.client(ORIGIN)
    answer = await gone_and_back(browser)
    assert "url=/sign-in/role" in answer.text
    assert (await submit(browser, "/sign-in/role", {"role": "originator"})).headers["location"] == "/my-referrals"


async def test_whoever_asked_for_a_page_first_is_led_back_to_it_by_the_provider_too(
    cast: Cast, database: Database, provider: Provider
) -> None:
    await invited(database, "TARIAN", EMAIL, Role.COORDINATOR, Role.ORIGINATOR)
    browser = cast.client(ORIGIN)
    start = (await browser.get("/queues/HMRC")).headers["location"]
    depart = "/sign-in/provider?then=/queues/HMRC"
    assert f'href="{depart}"' in (await browser.get(start)).text
    provider.wrong = "nonce"
    refused = await gone_and_back(browser, depart)
    assert refused.status_code == 401
    assert 'href="/sign-in?then=/queues/HMRC"' in refused.text
    provider.wrong = ""
    answer = await gone_and_back(browser, depart)
    role = "/sign-in/role?then=/queues/HMRC"
    assert f"url={role}" in answer.text
    assert (await submit(browser, role, {"role": "coordinator"})).headers["location"] == "/queues/HMRC"
    await change(database, "UPDATE account SET roles = '{coordinator}'")
    assert "url=/queues/HMRC" in (await gone_and_back(cast.client(ORIGIN), depart)).text
    assert 'url=/"' in (await gone_and_back(cast.client(ORIGIN), "/sign-in/provider?then=//elsewhere.test")).text


async def test_whoever_has_no_authenticator_here_confirms_at_the_provider(
    cast: Cast, database: Database, provider: Provider
) -> None:
    await invited(database, "TARIAN", EMAIL)
    browser = cast.client(ORIGIN)
    await gone_and_back(browser)
    page = await browser.get("/account/confirm", params={"then": "/account"})
    assert "/account/confirm/provider?then=/account" in page.text
    await change(database, "UPDATE session SET confirmed_at = now() - interval '1 hour'")
    confirmed = "SELECT confirmed_at > now() - interval '1 minute' AS lately FROM session"
    provider.wrong = "auth_time"
    assert (await gone_and_back(browser, "/account/confirm/provider?then=/account")).status_code == 401
    assert (await rows(database, confirmed))[0]["lately"] is False
    provider.wrong = ""
    answer = await gone_and_back(browser, "/account/confirm/provider?then=/account")
    assert "url=/account" in answer.text
    assert (provider.asked[-1]["prompt"], provider.asked[-1]["max_age"]) == ("login", "0")
    assert (await rows(database, confirmed))[0]["lately"] is True


async def test_another_persons_word_confirms_nobody(cast: Cast, database: Database, provider: Provider) -> None:
    await invited(database, "TARIAN", EMAIL)
    await invited(database, "TARIAN", "other@tarian.example")
    browser = cast.client(ORIGIN)
    await gone_and_back(browser)
    await change(database, "UPDATE session SET confirmed_at = now() - interval '1 hour'")
    provider.claims = {"sub": "subject-2", "email": "other@tarian.example", "email_verified": True}
    assert (await gone_and_back(browser, "/account/confirm/provider")).status_code == 401
    [session] = await rows(database, "SELECT confirmed_at > now() - interval '1 minute' AS lately FROM session")
    assert session["lately"] is False


async def test_a_password_and_the_provider_lead_to_the_same_account(
    cast: Cast, database: Database, provider: Provider
) -> None:
    someone = await set_up(cast.client(ORIGIN), await invited(database, "TARIAN", EMAIL))
    assert (await gone_and_back(cast.client(ORIGIN))).status_code == 200
    found = await rows(database, "SELECT DISTINCT actor FROM audit_event WHERE action = 'session.opened'")
    assert found == [{"actor": someone.id}]


@pytest.mark.parametrize(
    "wrong",
    [
        {"oidc_issuer": "http://idp.example", "oidc_client_id": "x"},
        {"oidc_issuer": "https://idp.example"},
        {"oidc_issuer": "http://127.0.0.1:1", "oidc_client_id": "x", "environment": "production"},
    ],
)
def test_a_provider_that_cannot_be_trusted_keeps_a_process_from_starting(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="GAIN_OIDC"):
        Settings(**wrong)
