"""An auditor in a real browser: finds what was done by person, party, referral and day, and takes its proof away."""

import subprocess
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser, expect

from app.access.policy import Role
from app.db import Database
from app.runtime.plan import gain_command
from app.settings import Settings
from tests.acts import rows, submitted
from tests.app.people import invited, set_up
from tests.app.test_log_pages import sealed, sequence_of
from tests.browser import ORIGIN
from tests.conftest import Cast
from tests.journeys.test_page import Gateway, browser, gateway, pytestmark
from tests.journeys.visitor import Visitor

__all__ = ["browser", "gateway", "pytestmark"]


async def _searches(auditor: Visitor, **given: str) -> None:
    """Search the whole log anew by these fields."""
    await auditor.link("Clear")
    for label, words in given.items():
        await auditor.write(label.replace("_", " "), words)
    await auditor.button("Search")
    await auditor.stands_at("Log")


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("width", "scripts", "colours"),
    [(320, True, "active"), (1280, True, "none"), (320, False, "none")],
    ids=["narrow, keyboard, forced colours", "wide, keyboard", "narrow, no scripts"],
)
async def test_an_auditor_finds_an_entry_and_takes_its_proof_to_whoever_doubts_it(
    browser: Browser,
    gateway: Gateway,
    cast: Cast,
    database: Database,
    configuration: Settings,
    tmp_path: Path,
    width: int,
    scripts: bool,
    colours: Literal["active", "none"],
) -> None:
    analyst = cast.client(ORIGIN)
    await set_up(analyst, await invited(database, "SWP", "ceri@swp.example", name="Ceri Analyst"))
    made = await submitted(await cast.play("SWP"))
    assert (await analyst.get(f"/my-referrals/{made['id']}")).status_code == 200
    key = await sealed(database, configuration)
    [today] = await rows(database, "SELECT (now() AT TIME ZONE 'Europe/London')::date::text AS day")

    context = await browser.new_context(
        viewport={"width": width, "height": 800}, java_script_enabled=scripts, forced_colors=colours
    )
    page = await context.new_page()
    auditor = Visitor(page, scripts=scripts, keyboard=scripts)
    await page.goto(f"{gateway.url}/sign-in/key")
    await auditor.write("API key", await cast.key("GAIN", Role.AUDITOR))
    await auditor.button("Sign in")
    await auditor.stands_at("Log")

    table = page.get_by_role("table", name="What was done, the newest first")
    await _searches(auditor, Person_or_key="Ceri Analyst")
    await expect(table.get_by_role("row", name="Referral read")).to_contain_text("Ceri Analyst")
    await expect(table.get_by_text("Referral accepted")).to_have_count(0)  # a key did that
    assert "Analyst" not in page.url
    await _searches(auditor, Party="HMRC")
    await expect(page.get_by_text("No such event was found.")).to_be_visible()
    await _searches(auditor, From="2020-01-01", Until="2020-12-31")
    await expect(page.get_by_text("No such event was found.")).to_be_visible()
    await _searches(auditor, From="the day before")
    await expect(page.get_by_role("alert")).to_contain_text("Give a day")
    await _searches(auditor, Referral=made["reference"], From=today["day"], Until=today["day"], Party="SWP")

    sequence = await sequence_of(database, "referral.accepted")
    await auditor.press(table.get_by_role("link", name=str(sequence), exact=True))
    await auditor.stands_at(f"Entry {sequence}")
    await expect(page.get_by_text("✓ Verified")).to_be_visible()
    async with page.expect_download() as loading:
        await auditor.link("Download the entry with its proof")
    file = tmp_path / (await loading.value).suggested_filename
    await (await loading.value).save_as(file)
    assert _verified(file, str(key)) == 0
    file.write_bytes(file.read_bytes().replace(b"referral.accepted", b"referral.rejected"))
    assert _verified(file, str(key)) != 0
    assert [said for said in auditor.complaints if "422" not in said] == []
    await context.close()


def _verified(file: Path, key: str) -> int:
    """What `gain audit verify-export` ends with, given the file and the public key alone."""
    command = gain_command("audit", "verify-export", str(file), "--key", key)
    return subprocess.run(command, env={}, capture_output=True, check=False).returncode
