"""A co-ordinator's day in a real browser: what presses, chased, decided, searched, handed over."""

import re

import pytest
from playwright.async_api import Page, expect

from app.db import Database
from tests.app.test_desk_home import late
from tests.conftest import Cast, Workers
from tests.journeys.axe import assert_accessible, assert_fits
from tests.journeys.test_page import SOON, Open, browser, gateway, is_live, opened, pytestmark, submit

__all__ = ["browser", "gateway", "opened", "pytestmark"]

_FOCUSED = "[document.activeElement.innerText, getComputedStyle(document.activeElement).outlineStyle]"


async def _looks_right(page: Page, scripts: bool) -> None:
    if scripts:  # both look with one
        await assert_fits(page)
        await assert_accessible(page)


async def _to(page: Page, words: str, *, shifted: bool = False) -> None:
    """Go on by the Tab key to the link or button of these words, whose focus must show."""
    for _ in range(200):
        await page.keyboard.press("Shift+Tab" if shifted else "Tab")
        text, outline = await page.evaluate(_FOCUSED)
        if re.sub(r"\s+", " ", text or "").strip() == words:
            assert outline != "none", f"the focus on {words} does not show"
            return
    raise AssertionError(f"the Tab key does not lead to {words}")


async def _scene(cast: Cast, workers: Workers, database: Database) -> str:
    """Two items overdue at the Environment Agency, one to release; the reference of the last referral."""
    await submit(cast, addressees=["EA"])
    reference = await submit(cast, addressees=["EA", "SMARTWATER"])
    await workers.run()
    await late(database, "EA")
    return reference


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("width", "scripts"), [(320, True), (320, False), (1280, True), (1280, False)])
async def test_a_coordinator_chases_decides_searches_and_hands_over(
    opened: Open, cast: Cast, workers: Workers, database: Database, width: int, scripts: bool
) -> None:
    reference = await _scene(cast, workers, database)
    page = await opened(viewport={"width": width, "height": 800}, java_script_enabled=scripts)
    counts = page.get_by_role("list", name="How many need you")
    await expect(counts.get_by_role("link", name="2 Overdue", exact=True)).to_be_visible()
    await expect(counts.get_by_role("link", name="1 Needs a decision")).to_be_visible()
    await _looks_right(page, scripts)

    await page.get_by_label("Group").select_option("overdue")
    await page.get_by_role("button", name="Apply filters").click()
    assert "group=overdue" in page.url
    await expect(page.get_by_role("heading", name="Needs a decision")).to_have_count(0)
    await page.get_by_role("link", name="EA (2)").click()  # one
    await expect(page.get_by_role("heading", level=1)).to_have_text("Chase EA about all that is overdue?")
    await _looks_right(page, scripts)
    await page.get_by_role("button", name="Chase 2 dispatches").click()  # two
    await expect(page.get_by_text("The body is reminded of all that is overdue.")).to_be_visible()

    await page.locator("#needs-decision").get_by_role("link", name=re.compile("^Decide")).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(reference)
    await _looks_right(page, scripts)
    await page.get_by_role("link", name=re.compile("Release.*SMARTWATER")).click()
    await page.get_by_role("button", name="Release").click()
    await expect(page.get_by_text("It is released.")).to_be_visible()
    await page.get_by_role("button", name="Hold").click()
    await _looks_right(page, scripts)
    await page.get_by_label("Reason").fill("Wait for the day of action.")
    await page.get_by_role("button", name="Hold").click()
    await expect(page.get_by_text("The referral is held.")).to_be_visible()
    await _looks_right(page, scripts)

    await page.goto(page.url.split("/referrals")[0] + "/queues")
    await expect(page.get_by_role("row", name=re.compile("^EA"))).to_contain_text("Answers are overdue")
    await _looks_right(page, scripts)
    await page.get_by_role("link", name="EA", exact=True).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("EA")
    await _looks_right(page, scripts)

    await page.goto(page.url.split("/queues")[0] + "/search")
    await page.get_by_label("Family name").fill("Quill")
    await page.get_by_label("Given names").fill("Rhys Alun")
    for part, value in (("Day", "7"), ("Month", "3"), ("Year", "1984")):
        await page.get_by_label(part, exact=True).fill(value)
    await page.get_by_label("Coordination").check()
    await _looks_right(page, scripts)
    await page.get_by_role("button", name="Search").click()
    await expect(page.get_by_role("heading", name="2 referrals found")).to_be_visible()
    assert "Quill" not in page.url
    await _looks_right(page, scripts)

    await page.goto(page.url.split("/search")[0] + "/handover")
    await page.get_by_label("What the next co-ordinator should know").fill("EA promised to answer by noon.")
    await _looks_right(page, scripts)
    await page.get_by_role("button", name="Save note").click()
    await page.get_by_text("Handover note, just now by TARIAN").click()
    await expect(page.get_by_text("EA promised to answer by noon.")).to_be_visible()
    await page.goto(page.url.split("?")[0] + "cover")
    await page.get_by_label("Covered by the co-ordinators of").select_option("TITAN")
    await _looks_right(page, scripts)
    await page.get_by_role("button", name="Grant cover").click()
    await expect(page.get_by_text("TITAN covers TARIAN until")).to_be_visible()


@pytest.mark.timeout(120)
async def test_all_of_it_is_reached_by_the_keyboard_alone(
    opened: Open, cast: Cast, workers: Workers, database: Database
) -> None:
    reference = await _scene(cast, workers, database)
    page = await opened()
    await is_live(page)
    await _to(page, "EA (2)")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Chase EA about all that is overdue?")
    await _to(page, "Chase 2 dispatches")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("The body is reminded of all that is overdue.")).to_be_visible()
    await _to(page, reference)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text(reference)
    await _to(page, "Reject")
    await page.keyboard.press("Enter")
    await page.get_by_label("Reason").focus()
    await page.keyboard.type("Not within the criteria.")
    await _to(page, "Reject")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("The referral is rejected.")).to_be_visible()


async def test_what_falls_due_counts_in_the_open_page_within_two_seconds(
    opened: Open, cast: Cast, workers: Workers, database: Database
) -> None:
    await submit(cast, addressees=["EA"])
    await workers.run()
    page = await opened()
    await is_live(page)
    counts = page.get_by_role("list", name="How many need you")
    await expect(counts.get_by_role("link", name="0 Overdue", exact=True)).to_be_visible()
    await late(database, "EA")
    await expect(counts.get_by_role("link", name="1 Overdue", exact=True)).to_be_visible(timeout=SOON)
    await expect(page.locator("#needs-overdue")).to_contain_text("2 days overdue")
    await assert_accessible(page)


@pytest.mark.parametrize("width", [320, 1280])
async def test_forced_colours_take_nothing_away(
    opened: Open, cast: Cast, workers: Workers, database: Database, width: int
) -> None:
    await _scene(cast, workers, database)
    page = await opened(viewport={"width": width, "height": 800}, forced_colors="active")
    await expect(page.get_by_role("link", name="2 Overdue", exact=True)).to_be_visible()
    await assert_fits(page)
