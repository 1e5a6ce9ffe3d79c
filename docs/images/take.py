"""Takes the README's picture of the first page: `.venv/bin/python docs/images/take.py [FILE] [--width 1280] …`.

It runs the whole system with the simulated bodies on a data directory of its own, has South Wales submit Operation Lava
and some referrals of its own to bodies that nobody answers for, and photographs what the co-ordinator of Tarian sees.
What makes an exception takes hours or days: for three bodies the picture puts the times in the database back. Needs
Chromium; pngquant, where it is installed, makes the file smaller.
"""

import argparse
import asyncio
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, sync_playwright
from sqlalchemy import text

from app.db import Database
from app.runtime.credentials import issue
from app.runtime.moment import database_of
from app.runtime.system import running_system
from workers.simulation.scenario import lava_referrals

SEED = 20151112
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--force-device-scale-factor=1"]

_PUT_BACK = text("""
    UPDATE dispatch
       SET created_at = created_at - given.age, queued_at = queued_at - given.age,
           due_at = CASE WHEN given.overdue THEN now() - interval '26 hours' ELSE due_at END
      FROM (VALUES ('EA', interval '11 days', true), ('CC', interval '3 hours', false),
                   ('IPO', interval '50 minutes', false)) AS given (agency, age, overdue)
     WHERE dispatch.agency = given.agency
""")


def main() -> None:
    """Take the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, default=Path(__file__).with_name("page.png"))
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--window", action="store_true", help="only what the window shows")
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_system(Path(folder), simulate=True, speed=12_000) as url:
        data = Path(folder)
        submit(url, issue(data, "SWP"), issue(data, "GWP"))
        key = issue(data, "TARIAN")
        wait_for_answers(url, key)
        asyncio.run(put_back(data))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
            page = browser.new_page(
                viewport={"width": options.width, "height": options.height},
                color_scheme="dark" if options.dark else "light",
            )
            photograph(page, url, key, options.file, full=not options.window)
            browser.close()
    shrink(options.file)


def submit(url: str, south_wales: str, gwent: str) -> None:
    """Operation Lava, and before it referrals to bodies that the simulation does not answer for."""
    lava = lava_referrals(SEED)
    sides: list[tuple[str, dict[str, Any]]] = [
        (gwent, {"addressees": ["EA", "NRW", "HSE"], "priority": "routine", "crime_types": ["waste_crime"]}),
        (gwent, {"addressees": ["CC", "HMRC"], "priority": "priority", "crime_types": ["fraud"]}),
        (south_wales, {"addressees": ["IPO", "NTS"], "priority": "urgent", "crime_types": ["counterfeiting"]}),
        (south_wales, {"addressees": ["SMARTWATER", "DVLA"], "priority": "routine"}),
    ]
    with httpx.Client(base_url=f"{url}/v1") as client:
        for key, changes in sides:
            post(client, key, lava[0] | changes)
        for referral in lava[1:6]:
            post(client, south_wales, referral)


def post(client: httpx.Client, key: str, referral: dict[str, Any]) -> None:
    """One referral."""
    client.post("/referrals", json=referral, headers={"Authorization": f"Bearer {key}"}).raise_for_status()


def wait_for_answers(url: str, key: str) -> None:
    """Until enough is answered for a picture of work in progress."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        queues = httpx.get(f"{url}/v1/queues", headers={"Authorization": f"Bearer {key}"}).json()["items"]
        if sum(queue["answered_today"] for queue in queues) > 30:
            return
        time.sleep(0.2)
    raise SystemExit("the bodies do not answer")


async def put_back(data: Path) -> None:
    """Let the time of an exception have passed."""
    with database_of(data) as settings:
        database = Database(settings)
        async with database.transaction() as connection:
            await connection.execute(_PUT_BACK)
        await database.close()


def photograph(page: Page, url: str, key: str, file: Path, *, full: bool) -> None:
    """Sign in as a person does, wait until the page is live, and save what it shows."""
    page.goto(url)
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("status").get_by_text("Live").wait_for()
    page.locator("summary").last.click()  # the referral with what is overdue
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=file, full_page=full)


def shrink(file: Path) -> None:
    """Reduce it to 64 colours, which a plain page bears."""
    if tool := shutil.which("pngquant"):
        subprocess.run([tool, "--force", "--strip", "--speed", "1", "--output", str(file), "64", str(file)], check=True)


if __name__ == "__main__":
    main()
