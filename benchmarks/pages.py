"""How long the server takes for each page, with a year of referrals stored: signed in as those who open them."""

import re
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx

from app.access.forms import HEADER, token_of_session
from app.access.policy import Role
from app.access.sessions import session_id
from app.crypto.keys import Keys
from benchmarks import desk
from benchmarks.measure import Figure
from benchmarks.referrals import referral
from benchmarks.stage import SECRET, Stage

LIMIT_MS = 150.0
"""Each page's 95th percentile must stay under it, and should under half of it (`_GO_FOR`)."""

_GO_FOR = 0.53
_WARM = 6
"""First looks that do not count: a gateway imports, connects and caches, and plans each statement five times."""

_FULL, _QUICK = 1_000_000, 10_000
_REGION, _FORCE, _AGENCY = "TARIAN", "SWP", "HMRC"
_SAID = re.compile(r'name="csrf" value="([^"]+)"')


@dataclass(frozen=True, slots=True)
class Page:
    """A page as somebody opens it; with a `form` it is posted."""

    name: str
    path: str
    form: Mapping[str, str] | None = None

    async def open(self, browser: httpx.AsyncClient) -> float:
        """Ask for it; returns how long that took, in milliseconds. Raises `AssertionError` where it is refused."""
        began = time.perf_counter()
        answer = await (browser.get(self.path) if self.form is None else browser.post(self.path, data=self.form))
        took = (time.perf_counter() - began) * 1000
        assert answer.status_code in (200, 303), (self.path, answer.status_code)
        assert answer.headers.get("location", "") != "/sign-in", "the session is over"
        return took


async def run(stage: Stage) -> list[Figure]:
    """A figure for each page: its 95th percentile, round by round, beside the limit."""
    stored = stage.effort.stored or stage.effort.size(_FULL, _QUICK)
    url = await desk.filled(stage, stored)
    times = stage.effort.size(40, 10)
    async with stage.gateways(url, count=1) as servers, AsyncExitStack() as opened:
        address = f"http://127.0.0.1:{servers.ports[0]}"
        looks: list[tuple[Page, httpx.AsyncClient]] = []
        for party, role, pages in await _people(stage, url):
            browser = await opened.enter_async_context(httpx.AsyncClient(base_url=address, timeout=60))
            await _sign_in(browser, await stage.key(url, party, role))
            looks += [(page, browser) for page in pages]
        figures = [_figure(page, stored) for page, _ in looks]
        for _ in range(_WARM):
            for page, browser in looks:
                await page.open(browser)
        for _ in range(stage.effort.rounds):
            for figure, (page, browser) in zip(figures, looks, strict=True):
                began = stage.processor(servers.children)
                took = sorted([await page.open(browser) for _ in range(times)])
                spent = [
                    (now - then) / times * 1000
                    for now, then in zip(stage.processor(servers.children), began, strict=True)
                ]
                figure.add(took[round(0.95 * (times - 1))], LIMIT_MS)
                figure.notes.append(f"p50 {took[times // 2]:.0f} ms; processor {spent[0]:.0f} + {spent[1]:.0f} ms")
    return figures


def _figure(page: Page, stored: int) -> Figure:
    return Figure(f"{page.name}, p95, {stored:,} stored", "ms", "the limit", 1.0, _GO_FOR, lower=True)


async def _sign_in(browser: httpx.AsyncClient, key: str) -> None:
    """With a key, as a person's first page asks for; the browser's posts carry its session's token."""
    browser.headers["Origin"] = str(browser.base_url).rstrip("/")
    page = await browser.get("/sign-in/key")
    found = _SAID.search(page.text)
    assert found is not None, "the sign-in page has no token"
    answer = await browser.post("/sign-in", data={"key": key, "csrf": found[1]})
    assert answer.status_code == 303, answer.text
    keys = Keys(SECRET.encode())
    browser.headers[HEADER] = token_of_session(keys, session_id(keys, browser.cookies["gain"]))


async def _people(stage: Stage, url: str) -> list[tuple[str, Role, list[Page]]]:
    """Who opens what: party, role, pages."""
    connection = await stage.connect(url)
    [regions, own] = [
        await connection.fetchrow(f"SELECT id, reference FROM referral WHERE {whose} ORDER BY id DESC LIMIT 1")  # noqa: S608
        for whose in (f"region = '{_REGION}'", f"originator = '{_FORCE}'")
    ]
    await connection.close()
    subject = referral(desk.SUBJECT)["subject"]
    year, month, day = subject["date_of_birth"].split("-")
    names = {"family_name": subject["family_name"], "given_names": subject["given_names"]}
    born = {"born-day": day, "born-month": month, "born-year": year}
    sought = {**names, **born, "purpose": "coordination"}
    filters = {
        "critical": "group=critical",
        "overdue": "group=overdue",
        "due soon": "group=soon",
        "decisions": "group=decision",
        "one body": f"agency={_AGENCY}",
        "urgent": "priority=urgent",
        "one body, routine": f"agency={_AGENCY}&priority=routine",
    }

    def overseer(who: str) -> list[Page]:
        return [
            Page(f"{who}: home", "/"),
            *(Page(f"{who}: home, {name}", f"/?{query}") for name, query in filters.items()),
            Page(f"{who}: queues", "/queues"),
            Page(f"{who}: queue of {_AGENCY}", f"/queues/{_AGENCY}"),
            Page(f"{who}: a referral", f"/referrals/{regions['id']}"),
            Page(f"{who}: search by reference", f"/search?reference={regions['reference']}"),
            Page(f"{who}: search by subject", "/search", sought),
            Page(f"{who}: reports", "/reports"),
            *(Page(f"{who}: report of {name}", f"/reports/{name}") for name in ("referrals", "agencies", "outcomes")),
        ]

    national = [*overseer("national"), Page("national: home of a region", f"/?region={_REGION}")]
    national.append(Page("national: report of a region's agencies", f"/reports/agencies?region={_REGION}"))
    force = [
        Page("force: my referrals", "/my-referrals"),
        Page("force: my referrals, questions", "/my-referrals?asked=true"),
        Page("force: my referrals, in progress", "/my-referrals?state=in_progress"),
        Page("force: my referrals, at one body", f"/my-referrals?agency={_AGENCY}"),
        Page("force: a referral", f"/my-referrals/{own['id']}"),
        Page("force: reports", "/reports"),
        Page("force: report of outcomes", "/reports/outcomes"),
    ]
    agency = [Page("agency: inbox", "/my-inbox"), Page("agency: answered", "/my-inbox?show=answered")]
    return [
        (_REGION, Role.COORDINATOR, overseer("region")),
        ("GAIN", Role.NATIONAL, national),
        (_FORCE, Role.ORIGINATOR, force),
        (_AGENCY, Role.AGENCY, agency),
    ]
