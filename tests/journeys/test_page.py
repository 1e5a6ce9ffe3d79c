"""The first page in a real browser, before a gateway that really runs."""

import asyncio
import re
import shutil
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect
from sqlalchemy import text

from app.db import Database
from app.main import create_app
from app.runtime.gateway import Connection
from app.settings import Settings
from app.wake import Nobody
from tests import browser as plain
from tests.conftest import HIT, Cast, Workers, referral
from tests.journeys.axe import assert_accessible, assert_fits

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install it with `apt-get install chromium`")

ARGUMENTS = [
    "--no-sandbox",  # it does not run as root with one
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SOON = 2000
"""Milliseconds in which the page shows a change."""


class Gateway:
    """A gateway in a thread of its own, on a free port."""

    def __init__(self, configuration: Settings) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        port = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.app: FastAPI = create_app(configuration.model_copy(update={"port": port}), Nobody())
        config = uvicorn.Config(self.app, http=Connection, log_config=None, access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listening]})
        self._thread.start()

    def stop(self) -> float:
        """Stop it; how many seconds that took."""
        began = time.monotonic()
        self._server.should_exit = True
        self._thread.join(timeout=15)
        self._listening.close()
        assert not self._thread.is_alive()
        return time.monotonic() - began


@pytest.fixture
def gateway(configuration: Settings) -> Iterator[Gateway]:
    running = Gateway(configuration)
    yield running
    running.stop()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


Open = Callable[..., Any]


@pytest.fixture
async def opened(browser: Browser, gateway: Gateway, cast: Cast) -> AsyncIterator[Open]:
    """Open the page as Tarian's co-ordinator, signed in through the form; what the console says must be nothing."""
    complaints: list[str] = []

    async with AsyncExitStack() as stack:

        async def open_page(**options: Any) -> Page:
            context: BrowserContext = await browser.new_context(**options)
            stack.push_async_callback(context.close)
            page = await context.new_page()
            page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            await page.goto(gateway.url)
            assert page.url.endswith("/sign-in")
            await page.get_by_role("link", name="Sign in with a key").click()
            await page.get_by_label("API key").fill(await cast.key("TARIAN"))
            await page.get_by_role("button", name="Sign in").click()
            await expect(page.get_by_role("heading", level=1)).to_have_text("What needs you now")
            return page

        yield open_page
    assert complaints == []


async def submit(cast: Cast, **changes: Any) -> str:
    """The reference of a referral by South Wales."""
    answer = await (await cast.play("SWP")).post("/v1/referrals", json=referral(**changes))
    reference: str = answer.json()["reference"]
    return reference


async def answer(cast: Cast, party: str) -> None:
    """The agency answers the first item of its inbox: a hit."""
    agency = await cast.play(party)
    item = (await agency.get("/v1/inbox")).json()["items"][0]
    assert (await agency.post(f"/v1/inbox/{item['id']}/response", json=HIT)).status_code == 201


async def is_live(page: Page) -> None:
    await expect(page.get_by_role("status")).to_have_text("Live")


async def test_a_referral_and_its_answer_appear_in_the_open_page_within_two_seconds(
    opened: Open, cast: Cast, workers: Workers
) -> None:
    page = await opened()
    await is_live(page)
    await page.evaluate("window.neverReloaded = true")
    reference = await submit(cast)
    shown = page.get_by_role("article", name=reference)
    await expect(shown).to_be_visible(timeout=SOON)

    await workers.run()
    await expect(shown.get_by_text("2 asked: 2 open")).to_be_visible(timeout=SOON)
    summary = shown.locator("summary")
    await summary.click()
    await expect(summary).to_be_focused()
    await answer(cast, "HMRC")
    await expect(shown.get_by_text("2 asked: 1 answered (1 hit), 1 open")).to_be_visible(timeout=SOON)
    await expect(shown.get_by_role("row", name=re.compile("HMRC"))).to_contain_text("Hit")
    await expect(page.locator("#queue-HMRC td").nth(6)).to_have_text("1")

    # What the reader did is left as it was: the details are open, the focus is where it was, nothing was reloaded.
    await expect(shown.get_by_role("row", name=re.compile("HMRC"))).to_be_visible()
    await expect(summary).to_be_focused()
    assert await page.evaluate("window.neverReloaded")

    await answer(cast, "EA")
    await expect(shown).to_have_count(0, timeout=SOON)  # completed
    await expect(page.get_by_role("heading", name="Referrals in progress")).to_be_focused()


async def test_a_new_referral_does_not_move_what_is_being_read(opened: Open, cast: Cast, workers: Workers) -> None:
    for _ in range(12):
        await submit(cast)
    await workers.run()
    page = await opened(viewport={"width": 1000, "height": 500})
    await is_live(page)
    article = page.get_by_role("article").nth(6)
    read = page.get_by_role("article", name=await article.get_by_role("heading").inner_text())
    await read.scroll_into_view_if_needed()
    before = await read.bounding_box()
    newest = await submit(cast)
    await expect(page.get_by_role("article", name=newest)).to_be_attached(timeout=SOON)
    after = await read.bounding_box()
    assert before
    assert after
    assert abs(before["y"] - after["y"]) < 2


async def test_without_scripts_the_page_shows_the_same_after_a_refresh(
    opened: Open, cast: Cast, workers: Workers
) -> None:
    page = await opened(java_script_enabled=False)
    assert await page.locator("noscript").count()
    reference = await submit(cast)
    await workers.run()
    await answer(cast, "HMRC")
    await page.get_by_role("link", name="Refresh", exact=True).click()
    shown = page.get_by_role("article", name=reference)
    await expect(shown.get_by_text("2 asked: 1 answered (1 hit), 1 open")).to_be_visible()
    await shown.locator("summary").click()
    await expect(shown.get_by_role("row", name=re.compile("HMRC"))).to_contain_text("Hit")
    assert await page.locator("meta[http-equiv=refresh]").get_attribute("content") == "30"
    await page.get_by_role("link", name="Stop that").click()
    assert await page.locator("meta[http-equiv=refresh]").count() == 0
    await page.get_by_role("button", name="Sign out").click()
    assert page.url.endswith("/sign-in")


@pytest.mark.parametrize("width", [320, 1280])
async def test_the_page_fits_its_window_and_anybody_can_use_it(
    opened: Open, cast: Cast, workers: Workers, width: int
) -> None:
    await submit(cast, priority="urgent", addressees=["EA", "HMRC", "SMARTWATER", "LA-MTYDFIL", "FRS-SWALES"])
    await workers.run()
    page = await opened(viewport={"width": width, "height": 700})
    await is_live(page)
    await page.locator("summary").first.click()
    await assert_fits(page)
    await assert_accessible(page)
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await assert_fits(page)
    await assert_accessible(page)


@pytest.mark.parametrize(
    "path", ["/problems/", "/problems/not-found", "/sign-in", "/sign-in/set-up", "/sign-in/key?wrong"]
)
@pytest.mark.parametrize("width", [320, 1280])
async def test_the_other_pages_do_too(browser: Browser, gateway: Gateway, path: str, width: int) -> None:
    page = await browser.new_page(viewport={"width": width, "height": 700})
    await page.goto(gateway.url + path)
    if path.endswith("?wrong"):
        await page.get_by_label("API key").fill("gain_dev_wrong")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_contain_text("This key is not known")
    await assert_fits(page)
    await assert_accessible(page)
    await page.close()


async def test_updates_can_be_paused_and_resumed(opened: Open, cast: Cast, gateway: Gateway) -> None:
    page = await opened()
    await is_live(page)
    await page.get_by_role("button", name="Pause updates").click()
    await expect(page.get_by_role("status")).to_have_text("Paused")
    async with asyncio.timeout(5):
        while gateway.app.state.live.open_pages:
            await asyncio.sleep(0.02)
    reference = await submit(cast)
    await page.get_by_role("button", name="Resume updates").click()
    await expect(page.get_by_role("article", name=reference)).to_be_visible(timeout=SOON)
    await is_live(page)


async def test_a_page_whose_key_is_revoked_goes_to_the_sign_in_page(
    browser: Browser, gateway: Gateway, cast: Cast, database: Database
) -> None:
    page = await browser.new_page()
    await page.goto(f"{gateway.url}/sign-in/key")
    await page.get_by_label("API key").fill(await cast.key("TARIAN"))
    await page.get_by_role("button", name="Sign in").click()
    await is_live(page)
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE api_key SET revoked_at = now()"))
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible(timeout=12_000)
    await page.close()


async def test_an_open_page_does_not_hold_up_a_stop(configuration: Settings, cast: Cast) -> None:
    gateway = Gateway(configuration)
    try:
        async with httpx.AsyncClient(base_url=gateway.url, headers={"Origin": gateway.url}) as client:
            await plain.submit(client, "/sign-in/key", {"key": await cast.key("TARIAN")})
            async with client.stream("GET", "/live") as stream:
                lines = stream.aiter_lines()
                assert await anext(lines) == "retry: 1000"
                seconds = await asyncio.to_thread(gateway.stop)
                assert [line async for line in lines][-1] == ""  # it ended as a stream ends
        assert seconds < 2
    finally:
        gateway.stop()
