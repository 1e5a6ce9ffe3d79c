"""A force in a real browser: signs in, submits a referral by the form, replies, reads; with scripts and without."""

import re
from typing import Literal

import pytest
from playwright.async_api import Browser, expect

from app.access.policy import Role
from app.db import Database
from tests.acts import QUESTION, inbox, rows
from tests.app.people import PASSWORD, Someone, invited
from tests.app.test_my_referrals_upload import HEADINGS, row
from tests.conftest import HIT, Cast, Workers
from tests.journeys.test_page import Gateway, browser, gateway, pytestmark
from tests.journeys.visitor import Visitor

__all__ = ["browser", "gateway", "pytestmark"]


async def _signs_in(visitor: Visitor, database: Database, url: str) -> None:
    invitation = await invited(database, "SWP", "ceri@swp.example", Role.ORIGINATOR)
    page = visitor.page
    await page.goto(f"{url}/sign-in/set-up")
    await visitor.write("User name", invitation.username)
    await visitor.write("Set-up code", invitation.code)
    await visitor.button("Continue")
    await visitor.write("Password", PASSWORD)
    await visitor.write("The same again", PASSWORD)
    await visitor.button("Continue")
    await visitor.press(page.locator("summary", has_text="Enter it by hand"))
    secret = (await page.locator("#secret").inner_text()).encode()
    code = Someone(invitation.username, str(invitation.id), PASSWORD, secret).code()
    await visitor.write("Code", code)
    await visitor.button("Continue")
    await visitor.button("I have kept them")


async def _fills_in(visitor: Visitor) -> None:
    """The sections that are needed, one with a mistake first."""
    await visitor.link("Subject")
    await visitor.stands_at("Subject")
    await visitor.tick("Person")
    await visitor.write("Family name", "Quill")
    await visitor.write("Date of birth", "7 3 2190")
    await visitor.button("Save and continue")
    await expect(visitor.page.get_by_role("alert")).to_contain_text("is in the future")
    await visitor.stands_at("Subject")
    await visitor.write("Date of birth", "7 3 1984")
    await visitor.button("Save and continue")
    await visitor.link("Criminal group and criterion")
    await visitor.stands_at("Criminal group and criterion")
    await visitor.tick("Mapped OCG", "Drug trafficking")
    await visitor.button("Save and continue")
    await visitor.link("What you ask")
    await visitor.stands_at("What you ask")
    await visitor.tick("Routine")
    await visitor.write("Purpose", "Identify vehicles before a day of action.")
    await visitor.button("Save and continue")
    await visitor.link("Handling and legal basis")
    await visitor.stands_at("Handling and legal basis")
    await visitor.tick("OFFICIAL-SENSITIVE", "2, untested", "B, known indirectly but corroborated")
    await visitor.tick("P, lawful sharing permitted")
    await visitor.select("Your legal basis", "Common law policing purpose")
    await visitor.button("Save and continue")
    await visitor.link("Bodies to ask")
    await visitor.stands_at("Bodies to ask")
    await visitor.tick(*(visitor.page.get_by_label(re.compile(rf"\({code}\)")) for code in ("EA", "HMRC")))
    await visitor.button("Save and continue")


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("width", "scripts", "colours"),
    [(320, True, "active"), (1280, True, "none"), (320, False, "none"), (1280, False, "none")],
    ids=["narrow, keyboard, forced colours", "wide, keyboard", "narrow, no scripts", "wide, no scripts"],
)
async def test_a_force_submits_replies_reads_and_records(
    browser: Browser,
    gateway: Gateway,
    cast: Cast,
    workers: Workers,
    database: Database,
    width: int,
    scripts: bool,
    colours: Literal["active", "none"],
) -> None:
    context = await browser.new_context(
        viewport={"width": width, "height": 900}, java_script_enabled=scripts, forced_colors=colours
    )
    page = await context.new_page()
    visitor = Visitor(page, scripts=scripts, keyboard=scripts)

    await _signs_in(visitor, database, gateway.url)
    await visitor.stands_at("My referrals")
    await visitor.button("New referral")
    await visitor.stands_at("New referral")
    await visitor.button("Start a new referral")
    await visitor.stands_at("New referral")
    await _fills_in(visitor)
    await visitor.stands_at("New referral")
    await visitor.button("Check your answers")
    await visitor.stands_at("Check your answers")
    await visitor.button("Submit the referral")
    await visitor.stands_at("Referral submitted")
    reference = await page.locator(".govuk-panel strong").inner_text()

    await workers.run()
    for party, said in (("HMRC", HIT), ("EA", QUESTION)):
        agency = await cast.play(party)
        [item] = await inbox(agency)
        assert (await agency.post(f"/v1/inbox/{item['id']}/response", json=said)).status_code == 201

    await visitor.go("My referrals")
    await visitor.stands_at("My referrals")
    await expect(page.get_by_text("1 of 2 answered, 1 hit")).to_be_visible()
    await visitor.link(f"Reply to EA about {reference}")
    await visitor.stands_at("Reply to a body")
    await visitor.write("Message", "The plot beside the quarry.")
    await visitor.button("Send")
    await visitor.stands_at(reference)
    await expect(page.get_by_text("The plot beside the quarry.")).to_be_visible()
    await expect(page.get_by_text("Grading 1A").first).to_be_visible()
    await visitor.button("Record an outcome")
    await visitor.stands_at("Record an outcome")
    await visitor.write("Day of the action", "20 11 2026")
    await visitor.write("Arrests", "2")
    await visitor.button("Record the outcome")
    await visitor.stands_at(reference)
    await expect(page.get_by_role("heading", name="Action of 20 November 2026")).to_be_visible()
    await visitor.button("Read the product")
    await visitor.stands_at(f"Consolidated product {reference}")
    await page.go_back()
    await visitor.link("Cancel this referral")
    await visitor.stands_at("Cancel this referral?")
    await visitor.write("Reason", "The operation has ended.")
    await visitor.button("Cancel the referral")
    await visitor.stands_at(reference)
    await expect(page.get_by_text("The operation has ended.")).to_be_visible()
    await visitor.go("My referrals")
    await visitor.link("Upload many from a file")
    await visitor.stands_at("Upload referrals")
    sheet = f"{HEADINGS}\r\n{row('A1')}\r\n{row('A2', priority='soon')}"
    await page.get_by_label("File").set_input_files({"name": "a.csv", "mimeType": "text/csv", "buffer": sheet.encode()})
    await visitor.button("Upload")
    await expect(page.get_by_text("Being accepted")).to_be_visible()
    await workers.run()
    # By its script in two seconds, or loaded again in five.
    await expect(page.get_by_text("2 of 2 rows done")).to_be_visible(timeout=15_000)
    await expect(page.get_by_role("rowheader", name="3")).to_be_visible()
    # What was refused is shown by the page, loaded again at the end, and by nothing else: each look is in the log.
    await expect(page.locator("script[src*='upload.js']")).to_have_count(0)
    looks = await rows(database, "SELECT id FROM audit_event WHERE action = 'batch.errors_read'")
    assert len(looks) >= 2
    await visitor.stands_at(await page.get_by_role("heading", level=1).inner_text())
    assert [line for line in visitor.complaints if "422" not in line] == []
    await context.close()
