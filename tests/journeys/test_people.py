"""A person's account in a real browser: set up, signed out, signed in, changed; with scripts and without."""

import re

import pytest
from playwright.async_api import Browser, Page, expect

from app.db import Database
from tests.app.people import PASSWORD, Someone, invited, rewind
from tests.journeys.axe import assert_accessible, assert_fits
from tests.journeys.test_page import Gateway, browser, gateway, pytestmark

__all__ = ["browser", "gateway", "pytestmark"]


async def _looks_right(page: Page, scripts: bool) -> None:
    if scripts:  # both look with one
        await assert_fits(page)
        await assert_accessible(page)


@pytest.mark.parametrize(("width", "scripts"), [(320, True), (1280, True), (1280, False)])
async def test_somebody_sets_up_signs_in_and_keeps_their_account(
    browser: Browser, gateway: Gateway, database: Database, width: int, scripts: bool
) -> None:
    invitation = await invited(database, "TARIAN", "ceri@tarian.example")
    context = await browser.new_context(viewport={"width": width, "height": 800}, java_script_enabled=scripts)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)

    await page.goto(gateway.url)
    await page.get_by_role("link", name="Set up your account").click()
    await page.get_by_label("User name").fill(invitation.username)
    await page.get_by_label("Set-up code").fill(invitation.code)
    await page.get_by_role("button", name="Continue").click()
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_label("The same again").fill(PASSWORD)
    await _looks_right(page, scripts)
    await page.get_by_role("button", name="Continue").click()
    await expect(page.get_by_role("img", name="QR code with the secret")).to_be_visible()
    await page.get_by_text("Enter it by hand").click()
    secret = (await page.locator("#secret").inner_text()).encode()
    await _looks_right(page, scripts)
    someone = Someone(invitation.username, str(invitation.id), PASSWORD, secret)
    await page.get_by_role("textbox", name="Code").fill(someone.code())
    await page.get_by_role("button", name="Continue").click()
    await expect(page.locator("#recovery-codes li")).to_have_count(10)
    await _looks_right(page, scripts)
    await page.get_by_role("button", name="I have kept them").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("What needs you now")
    await expect(page.get_by_text(re.compile("Ceri Example, TARIAN, co-ordinator"))).to_be_visible()

    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_label("User name").fill(someone.username)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Continue").click()
    await page.get_by_role("textbox", name="Code").fill("000000")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_contain_text("This code is not right")
    await _looks_right(page, scripts)
    await page.get_by_role("textbox", name="Code").fill(someone.code(1))
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("What needs you now")

    await page.goto(f"{gateway.url}/account")
    await _looks_right(page, scripts)
    async with database.transaction() as connection:
        await connection.exec_driver_sql("UPDATE session SET confirmed_at = now() - interval '1 hour'")
    await rewind(database, someone)
    await page.get_by_role("link", name="Change your password").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Confirm that it is you")
    await _looks_right(page, scripts)
    await page.get_by_role("textbox", name="Code").fill(someone.code())
    await page.get_by_role("button", name="Continue").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Change your password")
    await _looks_right(page, scripts)
    assert [line for line in complaints if "401" not in line] == []
    await context.close()
