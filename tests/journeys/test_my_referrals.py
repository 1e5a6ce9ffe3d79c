"""A force in a real browser: signs in, submits a referral by the form, replies, reads; with scripts and without."""

import re

import pytest
from playwright.async_api import Browser, Page, expect

from app.access.policy import Role
from app.db import Database
from tests.acts import QUESTION, inbox
from tests.app.people import PASSWORD, Someone, invited
from tests.app.test_my_referrals_upload import HEADINGS, row
from tests.conftest import HIT, Cast, Workers
from tests.journeys.axe import assert_accessible, assert_fits
from tests.journeys.test_page import Gateway, browser, gateway, pytestmark

__all__ = ["browser", "gateway", "pytestmark"]


class Visitor:
    """A person at a page, who looks at each whether it fits and is accessible."""

    def __init__(self, page: Page, scripts: bool) -> None:
        self.page = page
        self._scripts = scripts

    async def arrives(self, heading: str) -> None:
        """The page has this heading, and is as it should be."""
        await expect(self.page.get_by_role("heading", level=1)).to_have_text(heading)
        if self._scripts:  # both look with one
            await assert_fits(self.page)
            await assert_accessible(self.page)

    async def presses(self, name: str) -> None:
        await self.page.get_by_role("button", name=name).click()

    async def follows(self, name: str) -> None:
        await self.page.get_by_role("link", name=name).first.click()

    async def types(self, label: str, words: str) -> None:
        await self.page.get_by_label(label, exact=True).fill(words)

    async def ticks(self, *labels: str) -> None:
        for label in labels:
            await self.page.get_by_label(label, exact=True).check()


async def _signs_in(visitor: Visitor, database: Database, url: str) -> None:
    invitation = await invited(database, "SWP", "ceri@swp.example", Role.ORIGINATOR)
    page = visitor.page
    await page.goto(f"{url}/sign-in/set-up")
    await page.get_by_label("User name").fill(invitation.username)
    await page.get_by_label("Set-up code").fill(invitation.code)
    await visitor.presses("Continue")
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_label("The same again").fill(PASSWORD)
    await visitor.presses("Continue")
    await page.get_by_text("Enter it by hand").click()
    secret = (await page.locator("#secret").inner_text()).encode()
    code = Someone(invitation.username, str(invitation.id), PASSWORD, secret).code()
    await page.get_by_role("textbox", name="Code").fill(code)
    await visitor.presses("Continue")
    await visitor.presses("I have kept them")


async def _fills_in(visitor: Visitor) -> None:
    """The sections that are needed, one with a mistake first."""
    await visitor.follows("Subject")
    await visitor.arrives("Subject")
    await visitor.ticks("Person")
    await visitor.types("Family name", "Quill")
    await visitor.types("Date of birth", "7 3 2190")
    await visitor.presses("Save and continue")
    await expect(visitor.page.get_by_role("alert")).to_contain_text("is in the future")
    await visitor.arrives("Subject")
    await visitor.types("Date of birth", "7 3 1984")
    await visitor.presses("Save and continue")
    await visitor.follows("Criminal group and criterion")
    await visitor.arrives("Criminal group and criterion")
    await visitor.ticks("Mapped OCG", "Drug trafficking")
    await visitor.presses("Save and continue")
    await visitor.follows("What you ask")
    await visitor.arrives("What you ask")
    await visitor.ticks("Routine")
    await visitor.types("Purpose", "Identify vehicles before a day of action.")
    await visitor.presses("Save and continue")
    await visitor.follows("Handling and legal basis")
    await visitor.arrives("Handling and legal basis")
    await visitor.ticks("OFFICIAL-SENSITIVE", "2, untested", "B, known indirectly but corroborated")
    await visitor.ticks("P, lawful sharing permitted")
    await visitor.page.get_by_label("Your legal basis").select_option("Common law policing purpose")
    await visitor.presses("Save and continue")
    await visitor.follows("Bodies to ask")
    await visitor.arrives("Bodies to ask")
    await visitor.page.get_by_label(re.compile(r"\(HMRC\)")).check()
    await visitor.page.get_by_label(re.compile(r"\(EA\)")).check()
    await visitor.presses("Save and continue")


@pytest.mark.parametrize(("width", "scripts"), [(320, True), (1280, True), (1280, False)])
async def test_a_force_submits_replies_reads_and_records(
    browser: Browser, gateway: Gateway, cast: Cast, workers: Workers, database: Database, width: int, scripts: bool
) -> None:
    context = await browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=scripts)
    page = await context.new_page()
    page.set_default_timeout(10_000)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
    visitor = Visitor(page, scripts)

    await _signs_in(visitor, database, gateway.url)
    await visitor.arrives("My referrals")
    await visitor.presses("New referral")
    await visitor.arrives("New referral")
    await visitor.presses("Start a new referral")
    await visitor.arrives("New referral")
    await _fills_in(visitor)
    await visitor.arrives("New referral")
    await visitor.presses("Check your answers")
    await visitor.arrives("Check your answers")
    await visitor.presses("Submit the referral")
    await visitor.arrives("Referral submitted")
    reference = await page.locator(".govuk-panel strong").inner_text()

    await workers.run()
    for party, said in (("HMRC", HIT), ("EA", QUESTION)):
        agency = await cast.play(party)
        [item] = await inbox(agency)
        assert (await agency.post(f"/v1/inbox/{item['id']}/response", json=said)).status_code == 201

    await page.goto(f"{gateway.url}/my-referrals")
    await visitor.arrives("My referrals")
    await expect(page.get_by_text("1 of 2 answered, 1 hit")).to_be_visible()
    await visitor.follows(f"Reply to EA about {reference}")
    await visitor.arrives("Write to a body")
    await visitor.types("Message", "The plot beside the quarry.")
    await visitor.presses("Send")
    await visitor.arrives(reference)
    await expect(page.get_by_text("The plot beside the quarry.")).to_be_visible()
    await expect(page.get_by_text("Grading 1A").first).to_be_visible()
    await visitor.presses("Record an outcome")
    await visitor.arrives("Record an outcome")
    await visitor.types("Day of the action", "20 11 2026")
    await visitor.types("Arrests", "2")
    await visitor.presses("Record the outcome")
    await visitor.arrives(reference)
    await expect(page.get_by_role("heading", name="Action of 20 November 2026")).to_be_visible()
    await visitor.presses("Read the product")
    await visitor.arrives(f"Consolidated product {reference}")
    await page.go_back()
    await visitor.follows("Cancel this referral")
    await visitor.arrives("Cancel this referral?")
    await visitor.types("Reason", "The operation has ended.")
    await visitor.presses("Cancel the referral")
    await visitor.arrives(reference)
    await expect(page.get_by_text("The operation has ended.")).to_be_visible()
    await page.goto(f"{gateway.url}/my-referrals/upload")
    await visitor.arrives("Upload referrals")
    sheet = f"{HEADINGS}\r\n{row('A1')}\r\n{row('A2', priority='soon')}"
    await page.get_by_label("File").set_input_files({"name": "a.csv", "mimeType": "text/csv", "buffer": sheet.encode()})
    await visitor.presses("Upload")
    await expect(page.get_by_text("Being accepted")).to_be_visible()
    await workers.run()
    # By its script in two seconds, or loaded again in five.
    await expect(page.get_by_text("2 of 2 rows done")).to_be_visible(timeout=15_000)
    await expect(page.get_by_role("rowheader", name="3")).to_be_visible()
    await visitor.arrives(await page.get_by_role("heading", level=1).inner_text())
    assert [line for line in complaints if "422" not in line] == []
    await context.close()
