"""Every page of every role in a real browser: no size, no colours and no lack of scripts keeps anybody out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from fastapi.routing import iter_route_contexts
from playwright.async_api import Browser, BrowserContext, Page, expect

from app.access.pages import PageRoute
from app.access.policy import Role
from app.db import Database
from app.settings import Settings
from tests.acts import NO_HIT, Document, inbox, rows, submitted
from tests.app.people import PASSWORD, Someone, invited
from tests.app.test_every_route import whole_app
from tests.app.test_log_pages import sealed, sequence_of
from tests.app.test_my_referrals_new import NEEDED, begun, fill
from tests.app.web_inbox import hit
from tests.browser import signed_in, submit
from tests.conftest import HIT, Cast, Workers
from tests.journeys.axe import assert_accessible, assert_fits, assert_usable_in_forced_colours
from tests.journeys.test_page import Gateway, browser, gateway, pytestmark

__all__ = ["browser", "gateway", "pytestmark"]

NO_PAGES = frozenset(
    {
        "/live",
        "/queues/live",
        "/my-inbox/live",
        "/my-referrals/uploads/{id}/progress",  # a part of the page at the address before
        "/my-referrals/upload/template.csv",
        "/my-referrals/{id}/product.pdf",
        "/needs.csv",
        "/reports/referrals.csv",
        "/reports/agencies.csv",
        "/reports/outcomes.csv",
        "/log/{sequence}/proof",
        "/sign-in/provider",  # leads to the provider's own
        "/account/confirm/provider",
    }
)
"""Addresses that a page or a person asks and that are no pages: streams, parts, files, what leads elsewhere."""

COORDINATOR = {
    "/": "/",
    "/queues": "/queues",
    "/queues/{code}": "/queues/HMRC",
    "/queues/{agency}/chase": "/queues/HMRC/chase",
    "/search": "/search",
    "/handover": "/handover",
    "/cover": "/cover",
    "/cover/{id}/end": "/cover/{cover}/end",
    "/duplicates/{id}": "/duplicates/{duplicate}",
    "/referrals/{id}/consent": "/referrals/{answered}/consent?agency=HMRC",
    "/consents/{id}/chase": "/consents/{consent}/chase",
    "/consents/{id}/withdraw": "/consents/{consent}/withdraw",
    "/referrals/{id}": "/referrals/{answered}",
    "/referrals/{id}/hold": "/referrals/{open}/hold",
    "/referrals/{id}/release": "/referrals/{held}/release",
    "/referrals/{id}/addressees": "/referrals/{open}/addressees",
    "/referrals/{id}/reopen": "/referrals/{answered}/reopen",
    "/referrals/{id}/reject": "/referrals/{open}/reject",
    "/dispatches/{id}/chase": "/dispatches/{dispatch}/chase",
    "/dispatches/{id}/extend": "/dispatches/{dispatch}/extend",
    "/dispatches/{id}/release": "/dispatches/{kept}/release",
    "/dispatches/{id}/redeliver": "/dispatches/{ended}/redeliver",
    "/dispatches/{id}/cancel": "/dispatches/{dispatch}/cancel",
    "/dispatches/{id}/noted": "/dispatches/{ended}/noted",
    "/reports": "/reports",
    "/reports/referrals": "/reports/referrals",
    "/reports/agencies": "/reports/agencies",
    "/reports/outcomes": "/reports/outcomes",
}
FORCE = {
    "/my-referrals": "/my-referrals",
    "/my-referrals/new": "/my-referrals/new",
    "/my-referrals/new/{id}": "/my-referrals/new/{draft}",
    "/my-referrals/new/{id}/check": "/my-referrals/new/{draft}/check",
    "/my-referrals/new/{id}/discard": "/my-referrals/new/{draft}/discard",
    "/my-referrals/new/{id}/{slug}": "/my-referrals/new/{draft}/subject",
    "/my-referrals/upload": "/my-referrals/upload",
    "/my-referrals/uploads/{id}": "/my-referrals/uploads/{batch}",
    "/my-referrals/{id}": "/my-referrals/{answered}",
    "/my-referrals/{id}/product": "/my-referrals/{answered}/product",
    "/my-referrals/{id}/receipt": "/my-referrals/{open}/receipt",
    "/my-referrals/{id}/reply": "/my-referrals/{open}/reply",
    "/my-referrals/{id}/cancel": "/my-referrals/{open}/cancel",
    "/my-referrals/{id}/outcome": "/my-referrals/{answered}/outcome",
    "/my-referrals/{id}/consent": "/my-referrals/{answered}/consent?agency=HMRC",
    "/my-referrals/consents/{id}/withdraw": "/my-referrals/consents/{consent}/withdraw",
}
AGENCY = {
    "/my-inbox": "/my-inbox",
    "/my-inbox/{id}": "/my-inbox/{dispatch}",
    "/my-inbox/{id}/answer": "/my-inbox/{dispatch}/answer?outcome=hit",
    "/my-inbox/{id}/answer/check": "/my-inbox/{dispatch}/answer/check",
    "/my-inbox/no-hits": "/my-inbox/no-hits?id={dispatch}",
    "/my-inbox/no-hits/results": "/my-inbox/no-hits/results?id={ended}",
    "/my-inbox/consents/{id}": "/my-inbox/consents/{consent}",
    "/my-policy": "/my-policy",
    "/my-policy/change": "/my-policy/change",
}
AUDITOR = {"/log": "/log", "/log/{sequence}": "/log/{sequence}"}
ACCOUNT = {
    f"/account{page}": f"/account{page}"
    for page in ("", "/password", "/recovery-codes", "/authenticator", "/confirm", "/purpose")
}
ON_THE_WAY_IN = frozenset(
    {
        "/sign-in",
        "/sign-in/key",
        "/sign-in/code",
        "/sign-in/role",
        "/sign-in/set-up",
        "/sign-in/set-up/password",
        "/sign-in/set-up/authenticator",
        "/sign-in/provider/answer",
    }
)
SEATS = ((COORDINATOR, "TARIAN", None), (FORCE, "SWP", None), (AGENCY, "HMRC", None), (AUDITOR, "GAIN", Role.AUDITOR))
VISITED = {*COORDINATOR, *FORCE, *AGENCY, *AUDITOR, *ACCOUNT, *ON_THE_WAY_IN}


def test_no_page_is_left_out() -> None:
    """A page added to the program has to be added here too."""
    pages = {
        str(context.path)
        for context in iter_route_contexts(whole_app().routes)
        if isinstance(context.original_route, PageRoute) and "GET" in (context.original_route.methods or ())
    }
    assert pages - NO_PAGES == VISITED
    assert pages >= NO_PAGES


@dataclass
class Eyes:
    """Two looks at a page at 320 pixels: with scripts, also in forced colours; without scripts.

    The journeys look at 1280 pixels, and at forms that were filled in wrongly.
    """

    page: Page
    plain: Page
    complaints: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for page in (self.page, self.plain):
            page.on("console", lambda said: self.complaints.append(said.text) if said.type != "log" else None)
            page.on("pageerror", lambda error: self.complaints.append(str(error)))

    async def open(self, route: str, address: str, status: int = 200) -> None:
        """Go there and look."""
        answer = await self.page.goto(address)
        assert answer is not None
        assert (answer.status, answer.headers["content-type"][:9]) == (status, "text/html"), address
        await self.look(route, status)

    async def look(self, route: str, status: int = 200) -> None:
        """Look at the page that is open."""
        await expect(self.page.locator("h1")).to_be_visible()
        await assert_fits(self.page)
        await assert_accessible(self.page)
        await self.page.emulate_media(forced_colors="active")
        await assert_usable_in_forced_colours(self.page)
        await self.page.emulate_media(forced_colors="none")
        await self.plain.context.add_cookies(await self.page.context.cookies())  # type: ignore[arg-type]
        answer = await self.plain.goto(self.page.url)
        assert answer is not None
        assert answer.status == status, self.plain.url
        assert await self.plain.locator("h1").inner_text() == await self.page.locator("h1").inner_text()
        await assert_fits(self.plain)
        self.seen.add(route)


async def _eyes(browser: Browser, gateway: Gateway, cookie: str | None = None) -> Eyes:
    contexts: list[BrowserContext] = [
        await browser.new_context(
            base_url=gateway.url, viewport={"width": 320, "height": 800}, java_script_enabled=scripts
        )
        for scripts in (True, False)
    ]
    if cookie is not None:
        await contexts[0].add_cookies([{"name": "gain", "value": cookie, "url": gateway.url}])
    page, plain = [await context.new_page() for context in contexts]
    return Eyes(page, plain)


async def _scene(cast: Cast, workers: Workers, database: Database, configuration: Settings) -> Mapping[str, str]:
    """Of everything that a page shows there is some; the ids that the addresses name."""
    force, agency, tarian = await cast.play("SWP"), await cast.play("HMRC"), await cast.play("TARIAN")
    answered = await submitted(force, addressees=["HMRC"])
    await workers.run()
    [item] = await inbox(agency)
    assert (await agency.post(f"/v1/inbox/{item['id']}/response", json=HIT)).status_code == 201
    assert (await agency.post(f"/v1/inbox/{item['id']}/response", json=NO_HIT)).status_code == 409  # to be noted
    to_another = {"recipient": "GMP", "reason": "They search there on Friday."}
    path = f"/v1/referrals/{answered['id']}/dispatches/{item['id']}/consents"
    assert (await force.post(path, json=to_another)).status_code == 201
    held = await submitted(force, addressees=["HMRC"])
    assert (await tarian.post(f"/v1/referrals/{held['id']}/hold", json={"reason": "Wait."})).status_code == 200
    asked = await submitted(force, addressees=["HMRC", "SMARTWATER", "EA"])
    await submitted(await cast.play("GMP"), addressees=["HMRC"])  # a possible duplicate between two regions
    batch = await force.post("/v1/referral-batches", content=b"{}\n", headers={"Content-Type": "application/x-ndjson"})
    assert batch.status_code == 202, batch.text
    await workers.run()
    query = "SELECT agency, id FROM dispatch WHERE referral_id = CAST(:id AS uuid)"
    of_asked = {row["agency"]: str(row["id"]) for row in await rows(database, query, id=asked["id"])}
    desk, form, web = await signed_in(cast, "TARIAN"), await signed_in(cast, "SWP"), await signed_in(cast, "HMRC")
    draft = await begun(form)
    await fill(form, draft, **NEEDED)
    for item_id in (of_asked["HMRC"],):
        assert (await web.get(f"/my-inbox/{item_id}")).status_code == 200
        assert (await web.post(f"/my-inbox/{item_id}/answer", data=hit())).status_code == 303
    assert (await submit(desk, "/cover", {"by_region": "TITAN"})).status_code == 303
    await sealed(database, configuration)
    return {
        "answered": answered["id"],
        "held": held["id"],
        "open": asked["id"],
        "ended": item["id"],
        "dispatch": of_asked["HMRC"],
        "kept": of_asked["SMARTWATER"],
        "draft": draft.rpartition("/")[2],
        "batch": batch.json()["id"],
        "cover": await _only(database, "cover"),
        "duplicate": await _only(database, "duplicate"),
        "consent": await _only(database, "consent"),
        "sequence": str(await sequence_of(database, "referral.accepted")),
    }


async def _only(database: Database, table: str) -> str:
    found: list[Document] = await rows(database, f"SELECT id FROM {table} LIMIT 1")  # noqa: S608
    return str(found[0]["id"])


async def _way_in(eyes: Eyes, database: Database) -> None:
    """From the invitation to a session in one of two roles, with a look at each page on the way."""
    page = eyes.page
    await eyes.open("/sign-in/key", "/sign-in/key")
    await eyes.open("/sign-in/provider/answer", "/sign-in/provider/answer", status=401)
    invitation = await invited(database, "GAIN", "ceri@gain.example", Role.NATIONAL, Role.AUDITOR)
    await eyes.open("/sign-in/set-up", "/sign-in/set-up")
    await page.get_by_label("User name").fill(invitation.username)
    await page.get_by_label("Set-up code").fill(invitation.code)
    await page.get_by_role("button", name="Continue").click()
    await eyes.look("/sign-in/set-up/password")
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_label("The same again").fill(PASSWORD)
    await page.get_by_role("button", name="Continue").click()
    await expect(page.get_by_role("img", name="QR code with the secret")).to_be_visible()
    await eyes.look("/sign-in/set-up/authenticator")
    secret = await page.locator("#secret").text_content() or ""
    someone = Someone(invitation.username, str(invitation.id), PASSWORD, secret.encode())
    await page.get_by_role("textbox", name="Code").fill(someone.code())
    await page.get_by_role("button", name="Continue").click()
    await page.context.clear_cookies()
    await eyes.open("/sign-in", "/sign-in")
    await page.get_by_label("User name").fill(someone.username)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Continue").click()
    await eyes.look("/sign-in/code")
    await page.get_by_role("textbox", name="Code").fill(someone.code(1))
    await page.get_by_role("button", name="Sign in").click()
    await eyes.look("/sign-in/role")
    await page.get_by_label("National co-ordinator").check()
    await page.get_by_role("button", name="Continue").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("What needs you now")


@pytest.mark.timeout(300)
async def test_every_page_is_there_for_everybody(
    browser: Browser, gateway: Gateway, cast: Cast, workers: Workers, database: Database, configuration: Settings
) -> None:
    """axe, no page wider than its window, the focus seen in forced colours, all of it there without scripts."""
    named = await _scene(cast, workers, database, configuration)
    seen: set[str] = set()
    complaints: list[str] = []
    for pages, party, role in SEATS:
        eyes = await _eyes(browser, gateway, (await signed_in(cast, party, role)).cookies["gain"])
        for route, address in pages.items():
            await eyes.open(route, address.format(**named))
        seen |= eyes.seen
        complaints += eyes.complaints
    eyes = await _eyes(browser, gateway)
    await _way_in(eyes, database)
    for route, address in ACCOUNT.items():
        await eyes.open(route, address)
    assert seen | eyes.seen == VISITED
    # A refusal's status is told of in the console; nothing else is, above all nothing that the policy forbade.
    assert [said for said in complaints + eyes.complaints if "401" not in said] == []
