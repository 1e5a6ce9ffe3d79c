"""The pages of the reports in a real browser: for every eye, every width, with scripts and without, and on paper."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from app.access import keys as api_keys
from app.access.keys import Credential
from app.access.policy import Role
from app.access.sessions import open_session
from app.crypto.keys import Keys
from app.db import Database
from app.settings import Settings
from tests.acts import NO_HIT, change, inbox, submitted
from tests.conftest import HIT, SECRET, Cast, Workers
from tests.journeys.axe import assert_accessible, assert_fits
from tests.journeys.test_page import ARGUMENTS, CHROMIUM, Gateway

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install it with `apt-get install chromium`")


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


class Reader:
    """Opens pages as somebody signed in; what their consoles complain of is kept."""

    def __init__(self, browser: Browser, url: str, database: Database, stack: AsyncExitStack) -> None:
        self._browser, self._url, self._database, self._stack = browser, url, database, stack
        self.complaints: list[str] = []

    async def open(self, address: str, party: str = "TARIAN", role: Role = Role.COORDINATOR, **options: Any) -> Page:
        context = await self._browser.new_context(base_url=self._url, **options)
        self._stack.push_async_callback(context.close)
        page = await context.new_page()
        page.on("console", lambda message: self.complaints.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        await context.add_cookies([{"name": "gain", "value": await self._session(party, role), "url": self._url}])
        await page.goto(address)
        return page

    async def _session(self, party: str, role: Role) -> str:
        keys = Keys(SECRET.encode())
        async with self._database.transaction() as connection:
            parsed = api_keys.parse(await api_keys.issue(connection, keys, party, role))
            assert parsed is not None
            return await open_session(connection, keys, Credential(parsed[0], party, role))


@pytest.fixture
async def reader(browser: Browser, gateway: Gateway, database: Database) -> AsyncIterator[Reader]:
    async with AsyncExitStack() as stack:
        made = Reader(browser, gateway.url, database, stack)
        yield made
    assert made.complaints == []  # above all: no style, script or image that the policy refused


@pytest.fixture
async def busy(cast: Cast, workers: Workers, database: Database) -> None:
    """Some of everything that a report shows."""
    made = {}
    for code, count in (("SWP", 4), ("GWP", 1), ("GMP", 2)):
        force = await cast.play(code)
        for _ in range(count):
            made[code] = force, await submitted(force, addressees=["HMRC", "EA", "BF"])
    await workers.run()
    declined = {"outcome": "declined", "decline_reason": "no_lawful_gateway"}
    for code, bodies in (("HMRC", (HIT, NO_HIT, NO_HIT)), ("EA", (NO_HIT, declined))):
        agency = await cast.play(code)
        for item, body in zip(await inbox(agency), bodies, strict=False):
            assert (await agency.post(f"/v1/inbox/{item['id']}/response", json=body)).status_code == 201
    await change(database, "UPDATE dispatch SET queued_at = answered_at - interval '80 hours' WHERE agency = 'HMRC'")
    await change(database, "UPDATE dispatch SET state = 'expired', closed_at = now() WHERE agency = 'BF'")
    force, referral = made["SWP"]
    action = {"acted_on": "2026-11-14", "disruption": "major", "arrests": 22, "assets_frozen": "60000"}
    assert (await force.post(f"/v1/referrals/{referral['id']}/outcome", json=action)).status_code == 200


PAGES = {
    "/reports": "Reports",
    "/reports/referrals": "Referrals",
    "/reports/agencies": "How agencies answer",
    "/reports/outcomes": "Outcomes",
}


@pytest.mark.parametrize("width", [320, 1280])
async def test_every_report_is_accessible_and_fits(busy: None, reader: Reader, width: int, tmp_path: Path) -> None:
    page = await reader.open("/reports", viewport={"width": width, "height": 900})
    for address, heading in PAGES.items():
        await page.goto(address)
        await expect(page.get_by_role("heading", level=1)).to_have_text(heading)
        await assert_accessible(page)
        await assert_fits(page)
        await page.screenshot(path=tmp_path / f"{heading}-{width}.png", full_page=True)


@pytest.mark.parametrize("scripts", [True, False])
async def test_a_coordinator_finds_a_report_narrows_it_and_takes_it_along(
    busy: None, reader: Reader, scripts: bool
) -> None:
    """From the header, by links and a form alone; the address keeps what was chosen."""
    page = await reader.open("/", java_script_enabled=scripts)
    await page.get_by_role("link", name="Reports", exact=True).first.click()
    await page.get_by_role("link", name="Referrals", exact=True).click()
    await expect(page.locator("main")).to_contain_text("most by South Wales Police (4)")
    chart = page.get_by_role("img", name="Referrals by force and unit")
    await expect(chart).to_be_visible()
    await expect(chart).to_contain_text("Gwent Police")
    table = page.get_by_role("table", name="By force and unit")
    await expect(table.get_by_role("row", name="Dyfed-Powys Police")).to_contain_text("0")

    await page.get_by_label("From").select_option("2026-01")
    await page.get_by_label("To", exact=True).select_option("2026-02")
    await page.get_by_role("button", name="Show").click()
    assert "from=2026-01&to=2026-02" in page.url
    await expect(page.locator("main")).to_contain_text("Nobody made a referral from January 2026 to February 2026.")
    await page.get_by_role("link", name="How agencies answer").click()
    assert "from=2026-01&to=2026-02" in page.url

    await page.goto("/reports/agencies")
    await expect(page.get_by_role("table", name="Answer times").get_by_role("row").nth(1)).to_contain_text("days")
    async with page.expect_download() as loading:
        await page.get_by_role("link", name="Download as CSV").click()
    file = await (await loading.value).path()
    assert "declined_no_lawful_gateway" in Path(file).read_text(encoding="utf-8-sig").splitlines()[0]


async def test_bars_are_seen_in_forced_colours_and_on_paper(busy: None, reader: Reader) -> None:
    page = await reader.open("/reports/referrals", forced_colors="active")
    bar = page.locator(".gain-chart .bar").first
    assert await bar.evaluate("bar => getComputedStyle(bar).fill") == await page.evaluate(
        "() => { const e = document.body; e.style.color = 'CanvasText'; return getComputedStyle(e).color }"
    )
    await page.emulate_media(media="print", forced_colors="none")
    await expect(bar).to_be_visible()
    await expect(page.get_by_role("button", name="Show")).to_be_hidden()
    await expect(page.get_by_role("table").first).to_be_visible()


async def test_a_force_has_its_own_reports_and_is_not_led_to_the_agencies(busy: None, reader: Reader) -> None:
    page = await reader.open("/reports", party="SWP", role=Role.ORIGINATOR)
    await expect(page.locator("main")).to_contain_text("South Wales Police made 4 referrals")
    await expect(page.get_by_role("link", name="How agencies answer")).to_have_count(0)
    refused = await page.goto("/reports/agencies")
    assert refused is not None
    assert refused.status == 403
    reader.complaints = [one for one in reader.complaints if "403" not in one]


async def test_the_national_coordinator_chooses_a_region(busy: None, reader: Reader) -> None:
    page = await reader.open("/reports/referrals", party="GAIN", role=Role.NATIONAL)
    await page.get_by_label("Region").select_option("TITAN")
    await page.get_by_role("button", name="Show").click()
    await expect(page.locator("main")).to_contain_text("most by Greater Manchester Police (2)")
    await expect(page.locator(".govuk-caption-l")).to_contain_text("(Titan)")
