"""Why somebody reads pages: asked once a session of the roles that the operator names, shown, changeable, logged."""

from collections.abc import AsyncIterator

import httpx
import pytest

from app.access.pages import HOME, PURPOSE
from app.access.policy import Role
from app.db import Database
from app.settings import Settings
from tests.acts import Document, dispatched, rows
from tests.app.people import signed_in as person_signed_in
from tests.browser import forms, signed_in
from tests.conftest import Cast, Workers, gateway

PARTIES = {
    Role.ORIGINATOR: "SWP",
    Role.AGENCY: "HMRC",
    Role.COORDINATOR: "TARIAN",
    Role.NATIONAL: "GAIN",
    Role.AUDITOR: "GAIN",
    Role.ADMINISTRATOR: "GAIN",
}
READ = {
    Role.ORIGINATOR: "/my-referrals/{referral}",
    Role.AGENCY: "/my-inbox/{dispatch}",
    Role.COORDINATOR: "/referrals/{referral}",
    Role.NATIONAL: "/referrals/{referral}",
    Role.AUDITOR: "/log",
}
"""A page of each role that shows what is held, or what was done with it."""


@pytest.fixture
async def asking(configuration: Settings, database: Database) -> AsyncIterator[Cast]:
    """The cast, before a gateway that asks everybody for a purpose."""
    async with gateway(configuration, database, purpose_roles=",".join(Role)) as cast:
        yield cast


async def page_of(role: Role, cast: Cast, workers: Workers) -> str:
    """The address of this role's page, with something on it."""
    force, [made] = await dispatched(cast, workers, "HMRC")
    path = f"/v1/referrals/{made['id']}"
    why = {"GAIN-Purpose": "investigation"}
    [dispatch] = (await force.get(path, headers=why)).json()["dispatches"]
    return READ[role].format(referral=made["id"], dispatch=dispatch["id"])


async def stated(browser: httpx.AsyncClient, purpose: str) -> httpx.Response:
    """Say so on the page that asks."""
    return await browser.post(PURPOSE, data={"purpose": purpose})


async def events(database: Database, party: str) -> list[Document]:
    """What the log has of this party's readings of content, and of what they said of them."""
    return await rows(
        database,
        "SELECT action, detail FROM audit_event WHERE party = :party AND (action = 'session.purpose' OR action LIKE "
        "'%.read' OR action LIKE '%.searched') AND action <> 'account.read' ORDER BY id",
        party=party,
    )


@pytest.mark.parametrize("role", READ)
async def test_who_must_state_a_purpose_is_asked_once_and_then_reads(
    asking: Cast, workers: Workers, database: Database, role: Role
) -> None:
    path = await page_of(role, asking, workers)
    browser = await signed_in(asking, PARTIES[role], role)
    for address in (path, HOME[role]):
        led = await browser.get(address)
        assert (led.status_code, led.headers["location"]) == (303, f"{PURPOSE}?then={address}")
    page = await browser.get(f"{PURPOSE}?then={path}")
    assert "Why do you read?" in page.text
    [form] = forms(page)
    said = await browser.post(form.action, data={**form.fields, "purpose": "safeguarding"})
    assert (said.status_code, said.headers["location"]) == (303, path)
    for address in (path, HOME[role]):
        read = await browser.get(address)
        assert read.status_code == 200, read.text
        assert "Purpose: safeguarding" in read.text
    logged = await events(database, PARTIES[role])
    told = [event["detail"] for event in logged if event["action"] == "session.purpose"]
    assert told == [{"purpose": "safeguarding", "before": None}]
    if role is not Role.AUDITOR:  # a look at the log's page is told of below
        [event] = [event for event in logged if event["action"] in ("referral.read", "inbox.read")][-1:]
        assert event["detail"]["purpose"] == "safeguarding"


@pytest.mark.parametrize("role", READ)
async def test_who_need_not_state_it_is_not_asked(cast: Cast, workers: Workers, role: Role) -> None:
    path = await page_of(role, cast, workers)
    browser = await signed_in(cast, PARTIES[role], role)
    for address in (path, HOME[role]):
        read = await browser.get(address)
        assert read.status_code == 200, read.text
        assert "Purpose:" not in read.text


async def test_one_role_is_asked_and_another_is_not(
    configuration: Settings, database: Database, workers: Workers
) -> None:
    async with gateway(configuration, database, purpose_roles="agency") as cast:
        agency, force = await signed_in(cast, "HMRC"), await signed_in(cast, "SWP")
        assert (await agency.get("/my-inbox")).status_code == 303
        assert (await force.get("/my-referrals")).status_code == 200


async def test_nobody_is_asked_on_the_pages_of_their_own_account(asking: Cast) -> None:
    for role, party in PARTIES.items():
        browser = await signed_in(asking, party, role)
        assert (await browser.get("/account")).status_code == 200


async def test_whoever_is_not_asked_may_still_say_why_they_read(
    cast: Cast, workers: Workers, database: Database
) -> None:
    path = await page_of(Role.ORIGINATOR, cast, workers)
    browser = await signed_in(cast, "SWP")
    assert (await stated(browser, "complaint")).headers["location"] == "/my-referrals"
    await browser.get(path)
    assert (await events(database, "SWP"))[-1] == {"action": "referral.read", "detail": {"purpose": "complaint"}}


async def test_the_purpose_can_be_changed_and_both_stand_in_the_log(
    asking: Cast, workers: Workers, database: Database
) -> None:
    path = await page_of(Role.COORDINATOR, asking, workers)
    browser = await signed_in(asking, "TARIAN")
    for purpose in ("investigation", "quality_review"):
        await stated(browser, purpose)
        assert "Quill" in (await browser.get(path)).text
    logged = await events(database, "TARIAN")
    assert [event["detail"] for event in logged if event["action"] == "referral.read"] == [
        {"purpose": "investigation"},
        {"purpose": "quality_review"},
    ]
    assert logged[-2]["detail"] == {"purpose": "quality_review", "before": "investigation"}


async def test_a_purpose_that_is_no_code_is_refused_and_not_repeated(asking: Cast, database: Database) -> None:
    browser = await signed_in(asking, "SWP")
    page = await browser.get(PURPOSE)
    for purpose in ("", "looking for Quill"):
        answer = await browser.post(PURPOSE, data={"purpose": purpose})
        assert (answer.status_code, "Quill" in answer.text) == (422, False)
        assert "Say why you read." in answer.text
    assert page.status_code == 200
    assert await events(database, "SWP") == []


async def test_it_leads_nowhere_but_to_our_own_pages(asking: Cast) -> None:
    browser = await signed_in(asking, "SWP")
    for elsewhere in ("https://elsewhere.invalid/", "//elsewhere.invalid"):
        answer = await browser.post(PURPOSE, params={"then": elsewhere}, data={"purpose": "complaint"})
        assert answer.headers["location"] == "/"


async def test_it_holds_for_one_session_alone(asking: Cast) -> None:
    browser = await signed_in(asking, "SWP")
    await stated(browser, "complaint")
    assert (await browser.get("/my-referrals")).status_code == 200
    other = await signed_in(asking, "SWP")
    assert (await other.get("/my-referrals")).headers["location"].startswith(PURPOSE)


async def test_in_another_role_it_is_asked_anew(asking: Cast, database: Database) -> None:
    roles = (Role.NATIONAL, Role.AUDITOR)
    browser, _ = await person_signed_in(asking, database, "GAIN", *roles, username="ceri@gain.example")
    await stated(browser, "coordination")
    assert (await browser.get("/")).status_code == 200
    assert (await browser.post("/account/role", data={"role": "auditor"})).headers["location"] == "/log"
    assert (await browser.get("/log")).headers["location"] == f"{PURPOSE}?then=/log"


async def test_a_form_sent_without_one_leads_to_the_question_and_changes_nothing(
    asking: Cast, workers: Workers, database: Database
) -> None:
    path = await page_of(Role.COORDINATOR, asking, workers)
    browser = await signed_in(asking, "TARIAN")
    answer = await browser.post(f"{path}/hold", data={"reason": "No."})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{PURPOSE}?then=/")
    assert [row["state"] for row in await rows(database, "SELECT state FROM referral")] == ["in_progress"]
