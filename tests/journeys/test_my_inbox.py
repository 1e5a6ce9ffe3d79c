"""An agency's day in a real browser: from sign-in to the answer sent, with scripts and without, by keyboard alone."""

import re

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from app.db import Database
from tests.acts import dispatched, rows
from tests.conftest import Cast, Workers
from tests.journeys.axe import assert_accessible, assert_fits
from tests.journeys.test_page import SOON, Gateway, browser, gateway, pytestmark

__all__ = ["browser", "gateway", "pytestmark"]


class Desk:
    """Somebody at HMRC's desk: with scripts by keyboard alone, without them by mouse."""

    def __init__(self, page: Page, *, scripts: bool) -> None:
        self.page = page
        self._keyboard = self._scripts = scripts
        self.complaints: list[str] = []
        page.on("console", lambda said: self.complaints.append(said.text) if said.type != "log" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    async def sign_in(self, gateway: Gateway, key: str) -> None:
        """With a key, as agencies can that have no accounts yet; it leads to the inbox."""
        await self.page.goto(f"{gateway.url}/sign-in/key")
        await self.page.get_by_label("API key").fill(key)
        await self.press(self.page.get_by_role("button", name="Sign in"))
        await self.stands_at("My inbox")

    async def press(self, place: Locator) -> None:
        """A button or link: by mouse, or reached with the tabulator alone and pressed with Enter."""
        if not self._keyboard:
            await place.click()
            return
        await self.reach(place)
        await self.page.keyboard.press("Enter")

    async def tick(self, place: Locator) -> None:
        """A radio button or a tick."""
        if not self._keyboard:
            await place.check()
            return
        await self.reach(place)
        await self.page.keyboard.press("Space")
        await expect(place).to_be_checked()

    async def choose(self, legend: str, words: str | re.Pattern[str]) -> None:
        """One of several radio buttons; the arrows move within them."""
        group = self.page.get_by_role("group", name=legend)
        wanted = group.get_by_role("radio", name=words)
        if not self._keyboard:
            await wanted.check()
            return
        first = group.get_by_role("radio").first
        await self.reach(first)
        await self.page.keyboard.press("Space")
        for _ in range(10):
            if await wanted.is_checked():
                return
            await self.page.keyboard.press("ArrowDown")
        raise AssertionError(f"{words} cannot be reached by keyboard")

    async def reach(self, place: Locator) -> None:
        """Go on with the tabulator until the focus is there, and see it."""
        for _ in range(150):
            if await place.evaluate("element => element === document.activeElement"):
                ring = await place.evaluate(
                    "element => [element, ...element.parentElement.querySelectorAll('*')].some(one => {"
                    " const style = getComputedStyle(one), before = getComputedStyle(one, '::before');"
                    " return [style, before].some(s => s.outlineStyle !== 'none' && s.outlineWidth !== '0px'"
                    " || s.boxShadow !== 'none' && s.boxShadow !== ''); })"
                )
                assert ring, "the focus cannot be seen"
                return
            await self.page.keyboard.press("Tab")
        raise AssertionError(f"{place} cannot be reached by keyboard")

    async def stands_at(self, heading: str) -> None:
        """The page has this heading, fits its window, and anybody can use it."""
        await expect(self.page.get_by_role("heading", level=1)).to_have_text(heading)
        if self._scripts:  # both look with one
            await assert_fits(self.page)
            await assert_accessible(self.page)


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_an_agency_answers_from_its_inbox(
    browser: Browser, gateway: Gateway, cast: Cast, workers: Workers, database: Database, width: int, scripts: bool
) -> None:
    _, made = await dispatched(cast, workers, "HMRC", count=3)
    first, second, third = (one["reference"] for one in made)
    context = await browser.new_context(viewport={"width": width, "height": 800}, java_script_enabled=scripts)
    page = await context.new_page()
    desk = Desk(page, scripts=scripts)
    await desk.sign_in(gateway, await cast.key("HMRC"))

    await desk.press(page.get_by_role("link", name=first))
    await desk.stands_at(first)
    await expect(page.get_by_text("Violent")).to_be_visible()
    await desk.press(page.get_by_role("button", name="Acknowledge"))
    await desk.stands_at(first)
    await desk.press(page.get_by_role("button", name="Answer or ask"))
    await desk.stands_at("Answer or ask")
    await desk.choose("What have you found?", re.compile("^Hit"))
    await desk.press(page.get_by_role("button", name="Continue"))
    await desk.stands_at("What do you hold?")
    await page.get_by_label("Summary").fill("Keeper of a van since March 2024.")
    await desk.press(page.get_by_role("button", name="Add a fact"))
    await desk.press(page.get_by_role("button", name="Continue").last)
    await expect(page.get_by_role("alert")).to_contain_text("Choose how reliable the source is.")
    await desk.stands_at("What do you hold?")
    await page.get_by_label("What fact 1 is about").select_option("vehicle")
    await page.get_by_label("Fact 1", exact=True).fill("CX14 ABC, a grey van.")
    await desk.choose("Source", "1 – reliable")
    await desk.choose("Assessment", re.compile("^A –"))
    await desk.choose("Handling", re.compile("^C –"))
    await desk.tick(
        page.get_by_role("group", name="Conditions", exact=True).get_by_label("S2 – consult the originator")
    )
    await desk.press(page.get_by_role("button", name="Continue").last)
    await desk.stands_at("Check your answer before you send it")
    await expect(page.get_by_text("CX14 ABC, a grey van.")).to_be_visible()
    await desk.press(page.get_by_role("button", name="Send answer"))
    await expect(page.get_by_text("It was sent to the originator.")).to_be_visible()
    await desk.stands_at(first)

    # Two searched for without a hit, answered at once.
    for reference in (second, third):
        await page.goto(f"{gateway.url}/my-inbox")
        await desk.press(page.get_by_role("link", name=reference))
        await desk.stands_at(reference)
    await desk.press(page.get_by_role("link", name="My inbox").first)
    await desk.stands_at("My inbox")
    for reference in (second, third):
        await desk.tick(page.get_by_label(f"No hit for {reference}"))
    await desk.press(page.get_by_role("button", name="Answer “no hit” to those ticked"))
    await desk.stands_at("Answer “no hit” to these 2 items?")
    await desk.press(page.get_by_role("button", name="Answer no hit"))
    await desk.stands_at("2 of 2 recorded as no hit")
    await desk.press(page.get_by_role("link", name="To the inbox"))
    await expect(page.get_by_text("There is nothing to do.")).to_be_visible()
    await desk.stands_at("My inbox")

    await page.goto(f"{gateway.url}/my-policy/change")
    await desk.stands_at("Change the policy")
    await page.get_by_label("First day").fill("24 12 2026")
    await page.get_by_label("Last day").fill("2 1 2027")
    await desk.press(page.get_by_role("button", name="Save"))
    await desk.stands_at("My policy")
    await expect(page.get_by_text("24 December 2026 to 2 January 2027")).to_be_visible()

    found = await rows(database, "SELECT outcome FROM dispatch ORDER BY number")
    assert [row["outcome"] for row in found] == ["hit", "no_hit", "no_hit"]
    assert [said for said in desk.complaints if "422" not in said] == []  # a form with errors is told of as that
    await context.close()


async def test_an_open_inbox_says_within_two_seconds_that_there_is_something_new(
    browser: Browser, gateway: Gateway, cast: Cast, workers: Workers
) -> None:
    page = await browser.new_page()
    desk = Desk(page, scripts=True)
    await desk.sign_in(gateway, await cast.key("HMRC"))
    await page.wait_for_function("document.getElementById('news').dataset.words === ''")
    _, [made] = await dispatched(cast, workers, "HMRC")
    await expect(page.get_by_role("status")).to_contain_text("1 new item.", timeout=SOON)
    await desk.stands_at("My inbox")
    await page.get_by_role("link", name="Show it").click()
    await expect(page.get_by_role("link", name=made["reference"])).to_be_visible()
    await expect(page.get_by_role("status")).to_have_text("")
    assert desk.complaints == []
    await page.close()
