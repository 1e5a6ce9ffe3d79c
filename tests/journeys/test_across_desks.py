"""Several desks at once in real browsers: what one does the others see, and how little a co-ordinator has to do."""

import time
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from app.db import Database
from tests.acts import rows
from tests.app.test_desk_home import late
from tests.app.test_my_referrals_new import ASK, NEEDED, begun, fill
from tests.app.web_inbox import hit
from tests.browser import signed_in
from tests.conftest import Cast, Workers
from tests.journeys.test_page import Gateway, browser, gateway, is_live, pytestmark, submit

__all__ = ["browser", "gateway", "pytestmark"]

BY_THEN = 30_000
"""Milliseconds of patience on a busy machine; how long it really took is printed."""

_COUNT = "addEventListener('click', event => clicked(event.target.textContent.trim()), true)"


class Desk:
    """A party's browser; `clicks` are the words of all that was clicked in it, `complaints` what its console said."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clicks: list[str] = []
        self.complaints: list[str] = []

    async def sit_down(self, browser: Browser, cast: Cast, party: str) -> None:
        """Signed in as this party."""
        context = await browser.new_context(base_url=self.url)
        await context.expose_function("clicked", lambda words: self.clicks.append(words))
        await context.add_init_script(_COUNT)
        cookie = (await signed_in(cast, party)).cookies["gain"]
        await context.add_cookies([{"name": "gain", "value": cookie, "url": self.url}])
        self._context = context

    async def open(self, address: str) -> Page:
        """One more page of it."""
        page = await self._context.new_page()
        page.on("console", lambda said: self.complaints.append(said.text) if said.type != "log" else None)
        await page.goto(address)
        return page


async def _desk(browser: Browser, gateway: Gateway, cast: Cast, party: str) -> Desk:
    desk = Desk(gateway.url)
    await desk.sit_down(browser, cast, party)
    return desk


async def _drafted(cast: Cast) -> str:
    """The address of a routine referral to the Environment Agency that needs only to be submitted."""
    form = await signed_in(cast, "SWP")
    draft = await begun(form)
    await fill(form, draft, **NEEDED | {"ask": ASK, "addressees": {"addressees": ["EA"]}})
    return f"{draft}/check"


async def _shows(what: str, began: float, shown: Any) -> None:
    await shown.to_be_visible(timeout=BY_THEN)
    print(f"{what}: {(time.monotonic() - began) * 1000:.0f} ms")


@pytest.mark.timeout(180)
async def test_a_routine_referral_is_answered_before_the_coordinators_eyes_and_needs_none_of_their_clicks(
    browser: Browser, gateway: Gateway, cast: Cast, workers: Workers, database: Database
) -> None:
    """All by pages: the force submits, the agency answers, the co-ordinator looks on."""
    force, agency, tarian = [await _desk(browser, gateway, cast, party) for party in ("SWP", "EA", "TARIAN")]
    home, queues = await tarian.open("/"), await tarian.open("/queues")
    row = queues.get_by_role("row", name="EA")
    for page in (home, queues):
        await page.bring_to_front()
        await is_live(page)
    form = await force.open(await _drafted(cast))
    await form.get_by_role("button", name="Submit the referral").click()
    began = time.monotonic()
    await expect(form.get_by_role("heading", level=1)).to_have_text("Referral submitted")
    reference = await form.locator(".govuk-panel strong").inner_text()
    article = home.get_by_role("article", name=reference)
    await _shows("submitted, and shown to the co-ordinator", began, expect(article))

    await workers.run()
    await expect(article.get_by_text("1 asked: 1 open")).to_be_visible(timeout=BY_THEN)
    await expect(row.locator("td").nth(1)).to_have_text("1", timeout=BY_THEN)  # queued
    inbox = await agency.open("/my-inbox")
    await inbox.get_by_role("link", name=reference).click()
    await inbox.get_by_role("button", name="Answer or ask").click()
    await inbox.get_by_label("Hit", exact=False).first.check()
    await inbox.get_by_role("button", name="Continue").click()
    said = hit()
    await inbox.get_by_label("Summary").fill(said["summary"])
    for group, words in (("Source", "1 – reliable"), ("Assessment", "A –"), ("Handling", "P –")):
        await inbox.get_by_role("group", name=group, exact=True).get_by_role("radio", name=words).check()
    await inbox.get_by_role("button", name="Continue").last.click()
    await inbox.get_by_role("button", name="Send answer").click()
    began = time.monotonic()
    await expect(inbox.get_by_text("It was sent to the originator.")).to_be_visible()
    await expect(article).to_have_count(0, timeout=BY_THEN)  # all have answered: nothing more is in progress
    print(f"answered, and shown to the co-ordinator: {(time.monotonic() - began) * 1000:.0f} ms")
    await expect(home.locator("#queue-EA td").nth(6)).to_have_text("1", timeout=BY_THEN)  # answered today
    await expect(row.locator("td").nth(1)).to_have_text("0", timeout=BY_THEN)

    product = await force.open("/my-referrals")
    await product.get_by_role("link", name=reference).click()
    await expect(product.get_by_text(said["summary"]).first).to_be_visible()
    assert tarian.clicks == []
    query = (
        "SELECT action FROM audit_event WHERE party = 'TARIAN' AND operation = 'alteration' AND referral_id IS NOT NULL"
    )
    assert await rows(database, query) == []
    assert [row["state"] for row in await rows(database, "SELECT state FROM referral")] == ["completed"]
    assert [*force.complaints, *agency.complaints, *tarian.complaints] == []


@pytest.mark.timeout(180)
async def test_all_that_is_overdue_at_one_body_is_chased_with_two_clicks(
    browser: Browser, gateway: Gateway, cast: Cast, workers: Workers, database: Database
) -> None:
    for _ in range(3):
        await submit(cast, addressees=["EA"])
    await workers.run()
    await late(database, "EA")
    tarian = await _desk(browser, gateway, cast, "TARIAN")
    home = await tarian.open("/")
    await home.get_by_role("link", name="EA (3)").click()
    await home.get_by_role("button", name="Chase 3 dispatches").click()
    await expect(home.get_by_text("The body is reminded of all that is overdue.")).to_be_visible()
    assert tarian.clicks == ["EA (3)", "Chase 3 dispatches"]
    chased = await rows(database, "SELECT dispatch_id FROM audit_event WHERE action = 'dispatch.chased'")
    assert len({row["dispatch_id"] for row in chased}) == 3
    assert tarian.complaints == []
