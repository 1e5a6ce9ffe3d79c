"""Sessions, through HTTP with the database: their role, their end, and what asks again who one is."""

import httpx
import pytest

from app.access.policy import Role
from app.crypto.keys import Keys
from app.db import AS_GATEWAY, Database
from app.settings import Settings
from tests.acts import change, rows
from tests.app.people import (
    administered,
    invited,
    logged,
    set_up,
    sign_in,
    signed_in,
)
from tests.browser import ORIGIN, forms, send, submit
from tests.conftest import SECRET, Cast, gateway

WRONG = "The user name or the password is not right."


async def test_whoever_has_several_roles_acts_in_one_and_can_change_it(cast: Cast, database: Database) -> None:
    browser = cast.client(ORIGIN)
    someone = await set_up(browser, await invited(database, "TARIAN", "a@t.example", Role.COORDINATOR, Role.ORIGINATOR))
    assert (await browser.get("/")).headers["location"] == "/sign-in"
    refused = await submit(browser, "/sign-in/role", {"role": "auditor"})
    assert refused.status_code == 422
    answer = await submit(browser, "/sign-in/role", {"role": "originator"})
    assert answer.headers["location"] == "/my-referrals"
    assert (await browser.get("/")).headers["location"] == "/my-referrals"
    answer = await submit(browser, "/account", {"role": "coordinator"}, action="/account/role")
    assert answer.headers["location"] == "/"
    assert (await browser.get("/")).status_code == 200
    answer = await submit(browser, "/account", {"role": "national"}, action="/account/role")
    assert answer.headers["location"] == "/account"
    assert (await browser.get("/")).status_code == 200
    # A role that is taken away ends the sessions in it.
    await change(database, "UPDATE account SET roles = '{originator}'")
    assert (await browser.get("/")).headers["location"] == "/sign-in"
    assert someone.username == "a@t.example"


@pytest.mark.parametrize(
    "over",
    [
        "UPDATE session SET expires_at = now()",
        "UPDATE session SET seen_at = now() - interval '30 minutes'",
        "UPDATE account SET state = 'locked'",
        "DELETE FROM session",
    ],
)
async def test_a_session_ends(cast: Cast, database: Database, over: str) -> None:
    browser, _ = await signed_in(cast, database)
    assert (await browser.get("/")).status_code == 200
    await change(database, over)
    assert (await browser.get("/")).headers["location"] == "/sign-in"
    assert (await browser.get("/live")).headers["location"] == "/sign-in"


async def test_using_a_page_keeps_the_session_alive_and_its_stream_alone_does_not(
    cast: Cast, database: Database
) -> None:
    browser, _ = await signed_in(cast, database)
    await change(database, "UPDATE session SET seen_at = now() - interval '29 minutes'")
    assert (await browser.get("/account")).status_code == 200
    [row] = await rows(database, "SELECT now() - seen_at < interval '1 minute' AS noted FROM session")
    assert row["noted"]
    [session] = await rows(database, "SELECT expires_at - created_at AS lasts FROM session")
    assert session["lasts"].total_seconds() == 12 * 3600


async def test_the_session_cookie_is_the_hosts_alone_over_https(configuration: Settings, database: Database) -> None:
    async with gateway(configuration, database, public_url="https://gain.test") as cast:
        browser = cast.client({"Origin": "https://gain.test"})
        browser.base_url = httpx.URL("https://gain.test")
        answer = await submit(browser, "/sign-in/key", {"key": await cast.key("TARIAN")})
        cookies = answer.headers.get_list("set-cookie")
    [session] = [cookie for cookie in cookies if cookie.startswith("__Host-gain=")]
    for word in ("HttpOnly", "Secure", "SameSite=strict", "Path=/"):
        assert word in session
    assert "Domain" not in session
    assert "Max-Age" not in session


async def test_signing_out_everywhere_ends_every_other_session(cast: Cast, database: Database) -> None:
    browser, someone = await signed_in(cast, database)
    other = cast.client(ORIGIN)
    assert (await sign_in(other, someone)).status_code == 303
    page = await browser.get("/account")
    assert page.text.count("(here)") == 1
    assert page.text.count('<tr class="govuk-table__row">') == 3
    answer = await send(browser, page, "/account", action="/account/sign-out-everywhere")
    assert answer.headers["location"] == "/account"
    assert (await other.get("/")).headers["location"] == "/sign-in"
    assert (await browser.get("/")).status_code == 200
    assert "session.closed_everywhere" in await logged(database)


async def test_signing_out_everywhere_ends_a_sign_in_that_waits_for_its_role(cast: Cast, database: Database) -> None:
    roles = (Role.COORDINATOR, Role.ORIGINATOR)
    browser, someone = await signed_in(cast, database, "TARIAN", *roles)
    other = cast.client(ORIGIN)
    answer = await sign_in(other, someone)
    assert answer.headers["location"] == "/sign-in/role"
    page = await other.get("/sign-in/role")
    assert (await browser.post("/account/sign-out-everywhere")).status_code == 303
    answer = await send(other, page, "/sign-in/role", {"role": "coordinator"})
    assert answer.headers["location"] == "/sign-in"
    assert (await other.get("/")).headers["location"] == "/sign-in"


@pytest.mark.parametrize("path", ["/account/password", "/account/recovery-codes", "/account/authenticator"])
async def test_what_needs_it_asks_again_who_one_is_and_leads_back(cast: Cast, database: Database, path: str) -> None:
    browser, someone = await signed_in(cast, database)
    page = await browser.get(path)
    assert page.status_code == 200  # just signed in
    await change(database, "UPDATE session SET confirmed_at = now() - interval '5 minutes'")
    asked = await browser.get(path)
    assert (asked.status_code, asked.headers["location"]) == (303, f"/account/confirm?then={path}")
    before = await rows(database, "SELECT password, totp FROM account")
    sent = await browser.post(path, data=forms(page)[0].fields, headers={"Referer": f"http://gain.test{path}"})
    assert sent.headers["location"] == f"/account/confirm?then={path}"
    assert await rows(database, "SELECT password, totp FROM account") == before
    wrong = await submit(browser, sent.headers["location"], {"code": "000000"})
    assert wrong.status_code == 422
    assert (await browser.get(path)).status_code == 303
    right = await submit(browser, sent.headers["location"], {"code": someone.code(1)})
    assert (right.status_code, right.headers["location"]) == (303, path)
    assert (await browser.get(path)).status_code == 200
    assert (await logged(database)).count("session.confirmed") == 1


@pytest.mark.parametrize("then", ["https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere", "account", ""])
async def test_confirming_leads_nowhere_else(cast: Cast, database: Database, then: str) -> None:
    browser, someone = await signed_in(cast, database)
    page = await browser.get("/account/confirm", params={"then": then})
    assert "elsewhere" not in page.text
    answer = await browser.post("/account/confirm", params={"then": then}, data={"code": someone.code(1)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


async def test_whoever_signed_in_with_a_key_confirms_with_it(cast: Cast, database: Database) -> None:
    browser, key = cast.client(ORIGIN), await cast.key("TARIAN")
    await submit(browser, "/sign-in/key", {"key": key})
    other = await cast.key("TARIAN")
    assert (await submit(browser, "/account/confirm", {"key": other})).status_code == 422
    assert (await submit(browser, "/account/confirm", {"key": key})).headers["location"] == "/account"
    page = await browser.get("/account")
    assert "You signed in with an API key" in page.text
    assert (await browser.get("/account/password")).headers["location"] == "/account"


async def test_an_open_stream_ends_with_its_session(cast: Cast, database: Database, configuration: Settings) -> None:
    """tests/app/test_live.py follows a stream; here: what it asks about is a person's session too."""
    from app.access.sessions import Reader, change_role, in_force, session_id

    browser, someone = await signed_in(cast, database, "TARIAN", Role.COORDINATOR, Role.ORIGINATOR)
    opened = Reader(session_id(Keys(SECRET.encode()), browser.cookies["gain"]), Role.COORDINATOR)

    async def goes_on() -> bool:
        async with database.transaction(AS_GATEWAY) as connection:
            return await in_force(connection, {opened}) == {opened}

    assert await goes_on()
    async with database.transaction(AS_GATEWAY) as connection:
        await change_role(connection, opened.session, Role.ORIGINATOR)
    assert not await goes_on(), "in another role it is another reader's"
    async with database.transaction(AS_GATEWAY) as connection:
        await change_role(connection, opened.session, Role.COORDINATOR)
    assert await goes_on()
    async with administered(database) as (registrar, connection):
        await registrar.lock(connection, someone.username)
    assert not await goes_on()
