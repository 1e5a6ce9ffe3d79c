"""Whoever has to sign in first is led back to the page that they asked for, by every way of signing in."""

import re

import httpx
import pytest

from app.access.pages import PURPOSE
from app.access.policy import Role
from app.db import Database
from app.settings import Settings
from tests.acts import change, dispatched, rows
from tests.app.people import PASSWORD, Someone, invited, set_up, signed_in
from tests.browser import ORIGIN, carry_token, forms, send, submit
from tests.conftest import Cast, Workers, gateway

ASKED = "/my-inbox?page=2"
THEN = "?then=/my-inbox%3Fpage%3D2"


async def led(browser: httpx.AsyncClient, path: str = ASKED) -> str:
    """The sign-in page that this page leads to."""
    answer = await browser.get(path)
    assert answer.status_code == 303
    address: str = answer.headers["location"]
    return address


async def somebody(cast: Cast, database: Database, *roles: Role) -> Someone:
    """A person with an account at HMRC."""
    return await set_up(cast.client(ORIGIN), await invited(database, "HMRC", "sam@hmrc.example", *roles))


async def test_by_a_password_and_a_code_mistaken_first(cast: Cast, database: Database) -> None:
    someone, browser = await somebody(cast, database), cast.client(ORIGIN)
    start = await led(browser)
    assert start == f"/sign-in{THEN}"
    wrong = await submit(browser, start, {"username": someone.username, "password": PASSWORD[::-1]})
    assert wrong.status_code == 401
    answer = await send(browser, wrong, "/sign-in", {"username": someone.username, "password": PASSWORD})
    assert answer.headers["location"] == f"/sign-in/code{THEN}"
    wrong = await submit(browser, answer.headers["location"], {"code": "000000"})
    assert wrong.status_code == 401
    assert wrong.text.count(f'href="/sign-in{THEN}"') == 2  # back, and to start again
    answer = await submit(browser, answer.headers["location"], {"code": someone.code(1)})
    assert (answer.status_code, answer.headers["location"]) == (303, ASKED)


async def test_by_whoever_first_chooses_a_role(cast: Cast, database: Database) -> None:
    someone, browser = await somebody(cast, database, Role.AGENCY, Role.ORIGINATOR), cast.client(ORIGIN)
    answer = await submit(browser, await led(browser), {"username": someone.username, "password": PASSWORD})
    answer = await submit(browser, answer.headers["location"], {"code": someone.code(1)})
    assert answer.headers["location"] == f"/sign-in/role{THEN}"
    answer = await submit(browser, answer.headers["location"], {"role": "agency"})
    assert (answer.status_code, answer.headers["location"]) == (303, ASKED)
    # Of a sign-in that has run out, the address still tells where to.
    for path in ("/sign-in/code", "/sign-in/role"):
        assert (await cast.client(ORIGIN).get(path + THEN)).headers["location"] == f"/sign-in{THEN}"


async def test_by_a_key_mistaken_first(cast: Cast) -> None:
    browser = cast.client(ORIGIN)
    page = await browser.get(await led(browser))
    found = re.search(r'href="(/sign-in/key[^"]*)"', page.text)
    assert found
    wrong = await submit(browser, found[1], {"key": "guess"})
    assert wrong.status_code == 401
    assert f'href="/sign-in{THEN}"' in wrong.text
    answer = await send(browser, wrong, "/sign-in", {"key": await cast.key("HMRC")})
    assert (answer.status_code, answer.headers["location"]) == (303, ASKED)


async def test_by_whoever_first_sets_their_account_up(cast: Cast, database: Database) -> None:
    browser, invitation = cast.client(ORIGIN), await invited(database, "HMRC", "sam@hmrc.example")
    page = await browser.get(await led(browser))
    found = re.search(r'href="(/sign-in/set-up[^"]*)"', page.text)
    assert found
    page = await browser.get(found[1])
    assert f'href="/sign-in{THEN}"' in page.text
    answer = await send(browser, page, found[1], {"username": invitation.username, "code": invitation.code})
    answer = await submit(browser, answer.headers["location"], {"password": PASSWORD, "again": PASSWORD})
    page = await browser.get(answer.headers["location"])
    secret = re.search(r'<code id="secret">([A-Z2-7]+)</code>', page.text)
    assert secret
    someone = Someone(invitation.username, str(invitation.id), PASSWORD, secret[1].encode())
    page = await send(browser, page, answer.headers["location"], {"code": someone.code()})
    assert f'href="{ASKED}">I have kept them' in page.text
    assert (await cast.client(ORIGIN).get(f"/sign-in/set-up/password{THEN}")).headers["location"] == found[1]


async def test_whoever_must_say_why_they_read_does_so_on_the_way(
    configuration: Settings, database: Database, workers: Workers
) -> None:
    async with gateway(configuration, database, purpose_roles="agency") as cast:
        await dispatched(cast, workers, "HMRC")
        [item] = await rows(database, "SELECT id FROM dispatch")
        asked, browser = f"/my-inbox/{item['id']}", cast.client(ORIGIN)
        await led(browser, asked)
        answer = await submit(browser, f"/sign-in/key?then={asked}", {"key": await cast.key("HMRC")})
        answer = await browser.get(answer.headers["location"])
        assert answer.headers["location"] == f"{PURPOSE}?then={asked}"
        [form] = forms(await browser.get(answer.headers["location"]))
        answer = await browser.post(form.action, data={**form.fields, "purpose": "investigation"})
        assert answer.headers["location"] == asked
        assert (await browser.get(asked)).status_code == 200


async def test_a_form_sent_when_the_session_is_over_leads_back_to_the_form(cast: Cast, database: Database) -> None:
    browser, _ = await signed_in(cast, database)
    await change(database, "DELETE FROM session")
    form = {"Referer": "http://gain.test/queues/HMRC?page=2"}
    answer = await browser.post("/queues/HMRC/chase", headers=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?then=/queues/HMRC%3Fpage%3D2")
    for elsewhere in ({}, {"Referer": "http://elsewhere.test/queues"}, {"Referer": "http://["}):
        assert (await browser.post("/queues/HMRC/chase", headers=elsewhere)).headers["location"] == "/sign-in"


async def test_an_address_that_cannot_be_read_is_refused_and_no_fault_of_ours(cast: Cast) -> None:
    browser = cast.client({})
    assert (await browser.post("/sign-in", headers={"Origin": "http://["})).status_code == 403
    assert await led(browser, "/my-inbox/%C3%A9") == "/sign-in"


async def test_whoever_comes_from_elsewhere_is_led_on_first_for_they_may_be_signed_in(cast: Cast) -> None:
    browser = cast.client({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-User": "?1"})
    page = await browser.get(await led(browser))
    assert page.status_code == 200
    assert f'<meta http-equiv="refresh" content="0; url={ASKED}">' in page.text
    assert "<form" not in page.text
    # Where nobody clicked, another site may have sent them: nobody's look is made by itself.
    browser = cast.client({"Sec-Fetch-Site": "cross-site"})
    page = await browser.get(await led(browser))
    assert "http-equiv" not in page.text
    assert f'href="{ASKED}">Continue' in page.text
    # From there the browser comes from a page of ours: whoever is not signed in sees the form.
    browser = cast.client({"Sec-Fetch-Site": "same-origin"})
    assert forms(await browser.get(await led(browser)))
    assert forms(await cast.client({"Sec-Fetch-Site": "cross-site"}).get("/sign-in"))


@pytest.mark.parametrize("path", ["/", "/live"])
async def test_the_first_page_and_streams_are_no_pages_to_come_back_to(cast: Cast, path: str) -> None:
    browser = cast.client(ORIGIN)
    assert await led(browser, path) == "/sign-in"
    answer = await submit(browser, "/sign-in/key", {"key": await cast.key("HMRC")})
    assert answer.headers["location"] == "/my-inbox"


@pytest.mark.parametrize(
    "then",
    [
        "//elsewhere.test/",
        "https://elsewhere.test/",
        "/\\elsewhere.test",
        "javascript:alert(1)",
        "/\n/x",
        "/é",
        "/" * 501,
    ],
)
async def test_nobody_is_led_elsewhere(cast: Cast, then: str) -> None:
    browser = cast.client(ORIGIN)
    page = await browser.get("/sign-in/key", params={"then": then})
    assert "elsewhere" not in page.text
    [form] = forms(page)
    assert form.action == "/sign-in?then=/"
    for action in (form.action, str(httpx.URL("/sign-in", params={"then": then}))):
        answer = await browser.post(action, data={**form.fields, "key": await cast.key("HMRC")})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
    carry_token(browser)
    assert (await browser.get("/")).headers["location"] == "/my-inbox"
