"""Takes the README's pictures of the pages: `.venv/bin/python docs/images/take.py [FOLDER] [--width 1280] …`.

It runs the whole system with the simulated bodies on a data directory of its own, has South Wales submit Operation Lava
and some referrals of its own to bodies that nobody answers for, and photographs what the co-ordinator of Tarian, South
Wales and the Environment Agency see. What makes an exception takes hours or days: for three bodies the pictures put the
times in the database back. Needs Chromium, and pngquant to make the files small. Everybody in them is made up.
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

_REPORT = "/reports/agencies"

_PUT_BACK = text("""
    UPDATE dispatch
       SET created_at = created_at - given.age, queued_at = queued_at - given.age,
           due_at = CASE WHEN given.overdue THEN now() - interval '26 hours' ELSE due_at END
      FROM (VALUES ('EA', interval '11 days', true), ('CC', interval '3 hours', false),
                   ('IPO', interval '50 minutes', false)) AS given (agency, age, overdue)
     WHERE dispatch.agency = given.agency
""")


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=1080)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_system(Path(folder), simulate=True, speed=12_000) as url:
        data = Path(folder)
        force = issue(data, "SWP")
        submit(url, force, issue(data, "GWP"))
        key, agency = issue(data, "TARIAN"), issue(data, "EA")
        wait_for_answers(url, key)
        asyncio.run(put_back(data))
        answered = most_answered(url, force)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
            for seat, pictures in (
                (key, {"page": "/", "queues": "/queues", "referral": f"/referrals/{answered}", "report": _REPORT}),
                (force, {"my-referral": f"/my-referrals/{answered}"}),
                (agency, {"my-inbox": "/my-inbox"}),
            ):
                page = browser.new_page(base_url=url, viewport={"width": options.width, "height": options.height})
                sign_in(page, seat)
                for name, address in pictures.items():
                    photograph(page, address, options.folder / f"{name}.png")
                page.close()
            browser.close()


def submit(url: str, south_wales: str, gwent: str) -> None:
    """Operation Lava, and before it referrals to bodies that the simulation does not answer for."""
    lava = lava_referrals(SEED)
    spare = iter(lava[6:])  # others than those that Lava begins with: a subject twice would be a possible duplicate
    sides: list[tuple[str, dict[str, Any]]] = [
        (gwent, {"addressees": ["EA", "NRW", "HSE"], "priority": "routine", "crime_types": ["waste_crime"]}),
        (gwent, {"addressees": ["CC", "HMRC"], "priority": "priority", "crime_types": ["fraud"]}),
        (south_wales, {"addressees": ["IPO", "NTS"], "priority": "urgent", "crime_types": ["counterfeiting"]}),
        (south_wales, {"addressees": ["SMARTWATER", "DVLA"], "priority": "routine"}),
    ]
    sides += [
        (south_wales, next(spare) | {"addressees": ["EA", "NRW"], "priority": priority, "crime_types": ["waste_crime"]})
        for priority in ("routine", "priority", "routine", "urgent", "routine")
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


def most_answered(url: str, key: str) -> str:
    """The id of the force's referral that has most answers."""
    made = httpx.get(f"{url}/v1/referrals", headers={"Authorization": f"Bearer {key}"}).json()["items"]
    counts = {one["id"]: sum(each["state"] == "answered" for each in one["dispatches"]) for one in made}
    return max(counts, key=lambda id: counts[id])


def sign_in(page: Page, key: str) -> None:
    """Sign in as somebody does who has a key."""
    page.goto("/sign-in/key")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()


def photograph(page: Page, address: str, file: Path) -> None:
    """Save what the window shows of a page, once it is live where it is a live one."""
    page.goto(address)
    if page.locator("#live").count():
        page.get_by_role("status").get_by_text("Live").wait_for()
    page.screenshot(path=file)
    shrink(file)


def shrink(file: Path) -> None:
    """Reduce it to 64 colours, which a plain page bears."""
    if tool := shutil.which("pngquant"):
        subprocess.run([tool, "--force", "--strip", "--speed", "1", "--output", str(file), "64", str(file)], check=True)


if __name__ == "__main__":
    main()
