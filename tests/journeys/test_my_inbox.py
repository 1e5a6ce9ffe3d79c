"""An agency's day in a real browser: from sign-in to the answer sent, with scripts and without, by keyboard alone."""

import re
from email.message import EmailMessage
from typing import Literal

import pytest
from playwright.async_api import Browser, expect

from app.db import Database
from tests.acts import dispatched, rows
from tests.conftest import Cast, Workers
from tests.journeys.test_page import SOON, Gateway, browser, gateway, pytestmark
from tests.journeys.visitor import Visitor
from tests.workers.outside import Post
from tests.workers.pushing import envelope
from tests.workers.test_email import adapter

__all__ = ["browser", "gateway", "pytestmark"]


async def _signs_in(visitor: Visitor, gateway: Gateway, key: str) -> None:
    """With a key, as agencies can that have no accounts yet; it leads to the inbox."""
    await visitor.page.goto(f"{gateway.url}/sign-in/key")
    await visitor.write("API key", key)
    await visitor.button("Sign in")
    await visitor.stands_at("My inbox")


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("width", "scripts", "colours"),
    [(320, True, "active"), (1280, True, "none"), (320, False, "none"), (1280, False, "none")],
    ids=["narrow, keyboard, forced colours", "wide, keyboard", "narrow, no scripts", "wide, no scripts"],
)
async def test_an_agency_answers_from_its_inbox(
    browser: Browser,
    gateway: Gateway,
    cast: Cast,
    workers: Workers,
    database: Database,
    width: int,
    scripts: bool,
    colours: Literal["active", "none"],
) -> None:
    _, made = await dispatched(cast, workers, "HMRC", count=3)
    first, second, third = (one["reference"] for one in made)
    context = await browser.new_context(
        viewport={"width": width, "height": 800}, java_script_enabled=scripts, forced_colors=colours
    )
    page = await context.new_page()
    desk = Visitor(page, scripts=scripts, keyboard=scripts)
    await _signs_in(desk, gateway, await cast.key("HMRC"))

    await desk.press(page.get_by_role("link", name=first))
    await desk.stands_at(first)
    await expect(page.get_by_text("Violent")).to_be_visible()
    await desk.button("Acknowledge")
    await desk.stands_at(first)
    await desk.button("Answer or ask")
    await desk.stands_at("Answer or ask")
    await desk.choose("What have you found?", re.compile("^Hit"))
    await desk.button("Continue")
    await desk.stands_at("What do you hold?")
    await desk.write("Summary", "Keeper of a van since March 2024.")
    await desk.button("Add a fact")
    await desk.button("Continue")
    await expect(page.get_by_role("alert")).to_contain_text("Choose how reliable the source is.")
    await desk.stands_at("What do you hold?")
    await desk.select("What fact 1 is about", "Vehicle")
    await desk.write("Fact 1", "CX14 ABC, a grey van.")
    await desk.choose("Source", "1 – reliable")
    await desk.choose("Assessment", re.compile("^A –"))
    await desk.choose("Handling", re.compile("^C –"))
    await desk.tick(
        page.get_by_role("group", name="Conditions", exact=True).get_by_label("S2 – consult the originator")
    )
    await desk.button("Continue")
    await desk.stands_at("Check your answer before you send it")
    await expect(page.get_by_text("CX14 ABC, a grey van.")).to_be_visible()
    await desk.button("Send answer")
    await expect(page.get_by_text("It was sent to the originator.")).to_be_visible()
    await desk.stands_at(first)

    # Two searched for without a hit, answered at once.
    for reference in (second, third):
        await desk.go("My inbox")
        await desk.stands_at("My inbox")
        await desk.press(page.get_by_role("link", name=reference))
        await desk.stands_at(reference)
    await desk.go("My inbox")
    await desk.stands_at("My inbox")
    for reference in (second, third):
        await desk.tick(page.get_by_label(f"No hit for {reference}"))
    await desk.button("Answer “no hit” to those ticked")
    await desk.stands_at("Answer “no hit” to these 2 items?")
    await desk.button("Answer no hit")
    await desk.stands_at("2 of 2 recorded as no hit")
    await desk.link("To the inbox")
    await expect(page.get_by_text("There is nothing to do.")).to_be_visible()
    await desk.stands_at("My inbox")

    await desk.go("My policy")
    await desk.stands_at("My policy")
    await desk.button("Change the policy")
    await desk.stands_at("Change the policy")
    await desk.write("First day", "24 12 2026")
    await desk.write("Last day", "2 1 2027")
    await desk.button("Save")
    await desk.stands_at("My policy")
    await expect(page.get_by_text("24 December 2026 to 2 January 2027")).to_be_visible()

    found = await rows(database, "SELECT outcome FROM dispatch ORDER BY number")
    assert [row["outcome"] for row in found] == ["hit", "no_hit", "no_hit"]
    assert [said for said in desk.complaints if "422" not in said] == []  # a form with errors is told of as that
    await context.close()


async def test_the_link_of_a_message_leads_to_the_item_and_whoever_is_not_signed_in_by_way_of_that(
    browser: Browser, gateway: Gateway, cast: Cast, workers: Workers, database: Database
) -> None:
    _, [made] = await dispatched(cast, workers, "HMRC")
    [dispatch] = await rows(database, "SELECT id FROM dispatch")
    async with Post().running() as post:
        await adapter(post, base=gateway.url).deliver(envelope(dispatch_id=dispatch["id"]))
    [message] = post.messages
    assert isinstance(message, EmailMessage)
    [link] = re.findall(r"http\S+", message.get_content())
    page = await browser.new_page()
    heading = page.get_by_role("heading", level=1)

    await page.goto(link)
    await page.get_by_role("link", name="Sign in with a key").click()
    await page.get_by_label("API key").fill(await cast.key("HMRC"))
    await page.get_by_role("button", name="Sign in").click()
    await expect(heading).to_have_text(made["reference"])
    await page.goto("about:blank")  # elsewhere: from here a browser shows no `strict` cookie
    await page.set_content(f'<h1>A message in webmail</h1><a href="{link}">The item</a>')
    await page.get_by_role("link", name="The item").click()
    await expect(heading).to_have_text(made["reference"])
    assert page.url == link
    await page.close()


async def test_an_open_inbox_says_within_two_seconds_that_there_is_something_new(
    browser: Browser, gateway: Gateway, cast: Cast, workers: Workers
) -> None:
    page = await browser.new_page()
    desk = Visitor(page, scripts=True)
    await _signs_in(desk, gateway, await cast.key("HMRC"))
    await page.wait_for_function("document.getElementById('news').dataset.words === ''")
    _, [made] = await dispatched(cast, workers, "HMRC")
    await expect(page.get_by_role("status")).to_contain_text("1 new item.", timeout=SOON)
    await desk.stands_at("My inbox")
    await page.get_by_role("link", name="Show it").click()
    await expect(page.get_by_role("link", name=made["reference"])).to_be_visible()
    await expect(page.get_by_role("status")).to_have_text("")
    assert desk.complaints == []
    await page.close()
