"""A new referral as a list of tasks: drafts, faults beside fields, answers to check, one submission, a receipt."""

import re
from typing import Any

import httpx
import pytest

from app.audit.record import Actor
from app.db import AS_WORKER, Database
from app.referrals import drafts
from app.referrals.drafts import KEPT_DAYS
from tests.acts import change, rows
from tests.browser import forms, signed_in
from tests.conftest import Cast, Workers, referral

SUBJECT = {
    "kind": "person",
    "family_name": "Quill",
    "given_names": "Rhys Alun",
    "date_of_birth": "7 3 1984",
    "aliases": "Quille, Rhys",
    "addresses": "Plot 9, Heol y Mynydd, CF48 1AA",
    "identifier_1_type": "vehicle_registration",
    "identifier_1": "CX14 ABC",
    "warnings": ["violent"],
}
GROUP = {
    "criterion": "mapped_ocg",
    "crime_types": ["drug_trafficking", "modern_slavery"],
    "ocg_reference": "SWP-0142",
    "ocg_band": "4b",
    "ocg_score": "37",
    "operation_name": "Example",
}
ASK = {
    "priority": "routine",
    "purpose": "Identify vehicles, employment and premises linked to the subject before a day of action.",
    "information_sought": "Vehicles kept and driven since 2024; current employer.",
}
HANDLING = {
    "marking": "OFFICIAL-SENSITIVE",
    "legal_basis": "common_law_policing_purpose",
    "source": "2",
    "assessment": "B",
    "handling_code": "P",
}
ADDRESSEES = {"addressees": ["HMRC"], "others": "ea"}
CONTACT = {"contact_name": "Intelligence desk", "email": "desk@example.invalid", "client_reference": "SWP/2026/991"}
NEEDED: dict[str, dict[str, Any]] = {"subject": SUBJECT, "group": GROUP, "ask": ASK, "handling": HANDLING}
ALL: dict[str, dict[str, Any]] = {**NEEDED, "addressees": ADDRESSEES, "contact": CONTACT}


async def begun(browser: httpx.AsyncClient) -> str:
    """The address of a new draft."""
    answer = await browser.post("/my-referrals/new")
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


async def fill(browser: httpx.AsyncClient, draft: str, **given: Any) -> None:
    """Fill in these sections."""
    for section, fields in given.items():
        answer = await browser.post(f"{draft}/{section}", data=fields)
        assert (answer.status_code, answer.headers.get("location")) == (303, draft), answer.text


async def handed_in(browser: httpx.AsyncClient, draft: str) -> str:
    """Submit the draft; the address of the receipt."""
    answer = await browser.post(f"{draft}/check")
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


async def test_the_form_makes_the_same_referral_as_the_api(cast: Cast, workers: Workers) -> None:
    browser, client = await signed_in(cast, "SWP"), await cast.play("SWP")
    draft = await begun(browser)
    tasks = (await browser.get(draft)).text
    assert tasks.count("Not yet started") == 4
    assert tasks.count("Optional") == 2
    assert (await browser.get(f"{draft}/check")).headers["location"] == draft  # nothing to check yet
    await fill(browser, draft, **ALL)
    assert (await browser.get(draft)).text.count("Completed") == 6
    check = (await browser.get(f"{draft}/check")).text
    for words in ("Quill", "7 3 1984", "CX14 ABC", "Mapped OCG", "Common law policing purpose", "HM Revenue"):
        assert words in check, words

    receipt = await handed_in(browser, draft)
    page = (await browser.get(receipt)).text
    assert "Referral submitted" in page
    made = (await client.get(receipt.replace("/my-referrals/", "/v1/referrals/").removesuffix("/receipt"))).json()
    assert made["reference"] in page
    sent = referral(handling={"code": "P"})
    sent["subject"] |= {"addresses": [{"lines": ["Plot 9", "Heol y Mynydd"], "postcode": "CF48 1AA"}]}
    assert {name: made[name] for name in sent} == sent
    await workers.run()
    assert "0 of 2 answered" in (await browser.get("/my-referrals")).text


async def test_a_draft_submitted_twice_is_one_referral_and_the_draft_is_gone(cast: Cast, database: Database) -> None:
    browser = await signed_in(cast, "SWP")
    draft = await begun(browser)
    await fill(browser, draft, **NEEDED)
    assert await handed_in(browser, draft) == await handed_in(browser, draft)
    assert len(await rows(database, "SELECT id FROM referral")) == 1
    assert await rows(database, "SELECT id FROM draft") == []
    assert (await browser.get(draft)).status_code == 404


@pytest.mark.parametrize(
    ("section", "changes", "field", "words"),
    [
        ("subject", {"kind": ""}, "kind", "Choose what it is about."),
        ("subject", {"date_of_birth": "31 2 1984"}, "date_of_birth", "Date of birth"),
        ("subject", {"date_of_birth": "1 1 2190"}, "date_of_birth", "is in the future"),
        ("subject", {"identifier_1_type": ""}, "identifier_1_type", "Choose the kind of number."),
        (
            "subject",
            {"kind": "organisation", "addresses": "", "identifier_1_type": "", "identifier_1": ""},
            "name",
            "needs at least one name",
        ),
        ("group", {"criterion": ""}, "criterion", "Choose why it may be referred."),
        ("group", {"crime_types": []}, "crime_types", "Choose crime types."),
        ("group", {"ocg_reference": ""}, "ocg_reference", "Enter reference of the group."),
        ("group", {"ocg_score": "high"}, "ocg_score", "Score must be a number in figures."),
        ("ask", {"purpose": "  "}, "purpose", "Enter purpose."),
        ("ask", {"purpose": "x" * 2001}, "purpose", "at most 2000 characters"),
        ("handling", {"handling_code": "C"}, "conditions", "handling code C needs at least one condition"),
        ("handling", {"marking": "SECRET"}, "marking", "OFFICIAL and OFFICIAL-SENSITIVE only"),
        ("addressees", {"others": "NOBODY"}, "others", "Name agencies by their codes"),
        ("addressees", {"others": "SWP"}, "others", "Name agencies by their codes"),
        ("contact", {"email": "nowhere"}, "email", "Email is not written as it should be."),
    ],
)
async def test_what_is_wrong_stands_beside_its_field_and_nothing_is_kept(
    cast: Cast, database: Database, section: str, changes: dict[str, Any], field: str, words: str
) -> None:
    browser = await signed_in(cast, "SWP")
    draft = await begun(browser)
    answer = await browser.post(f"{draft}/{section}", data={**ALL[section], **changes})
    assert answer.status_code == 422
    assert f'href="#{field}"' in answer.text
    beside = re.search(rf'id="{field}-error"[^>]*>(.*?)</p>', answer.text, re.DOTALL)
    assert beside is not None
    assert words in beside[1]
    assert await rows(database, "SELECT id FROM draft WHERE sealed IS NOT NULL") == []


async def test_what_was_typed_is_kept_sealed_and_a_colleague_goes_on_with_it(cast: Cast, database: Database) -> None:
    browser, colleague = await signed_in(cast, "SWP"), await signed_in(cast, "SWP")
    draft = await begun(browser)
    await fill(browser, draft, subject=SUBJECT)
    [kept] = await rows(database, "SELECT sealed FROM draft")
    assert b"Quill" not in kept["sealed"]
    listed = (await colleague.get("/my-referrals/new")).text
    assert "Quill, Rhys Alun" in listed
    assert "by a colleague" in listed
    assert forms(await colleague.get(f"{draft}/subject"))[0].fields["date_of_birth"] == "7 3 1984"
    await fill(colleague, draft, group=GROUP, ask=ASK, handling=HANDLING)
    assert (await browser.get(await handed_in(browser, draft))).status_code == 200
    logged = await rows(database, "SELECT DISTINCT action FROM audit_event WHERE action LIKE 'draft%' ORDER BY action")
    found = {one["action"] for one in logged}
    assert found == {"draft.begun", "draft.read", "draft.saved", "draft.submitted", "drafts.listed"}


async def test_neither_a_strange_force_nor_an_agency_reaches_a_draft(cast: Cast) -> None:
    browser = await signed_in(cast, "SWP")
    draft = await begun(browser)
    await fill(browser, draft, subject=SUBJECT)
    stranger, agency = await signed_in(cast, "GWP"), await signed_in(cast, "HMRC")
    for part in ("", "/subject", "/check", "/discard"):
        assert (await stranger.get(draft + part)).status_code == 404, part
        assert (await agency.get(draft + part)).status_code == 403, part
    for part in ("/subject", "/check", "/discard"):
        assert (await stranger.post(draft + part, data=SUBJECT)).status_code == 404, part
    assert "Quill" not in (await stranger.get("/my-referrals/new")).text
    assert (await browser.get(draft)).status_code == 200


async def test_a_draft_is_deleted_with_its_key_by_its_party_and_after_its_time(cast: Cast, database: Database) -> None:
    browser = await signed_in(cast, "SWP")
    deleted, old, young = await begun(browser), await begun(browser), await begun(browser)
    for draft in (deleted, old, young):
        await fill(browser, draft, ask=ASK)
    assert (await browser.get(f"{deleted}/discard")).status_code == 200
    assert (await browser.post(f"{deleted}/discard")).headers["location"] == "/my-referrals/new"
    query = f"UPDATE draft SET updated_at = now() - interval '{KEPT_DAYS} days 1 hour' WHERE id = :id"  # noqa: S608
    await change(database, query, id=old.rpartition("/")[2])
    async with database.transaction(AS_WORKER) as connection:
        assert await drafts.expire(connection, Actor("GAIN", "scheduler")) == 1
        assert await drafts.expire(connection, Actor("GAIN", "scheduler")) == 0
    left = await rows(database, "SELECT id FROM draft")
    assert [str(one["id"]) for one in left] == [young.rpartition("/")[2]]
    keys = await rows(database, "SELECT referral_id AS id FROM data_key")
    assert keys == left


async def test_own_referrals_about_the_subject_are_named_before_submitting_and_no_other_forces(cast: Cast) -> None:
    own = (await (await cast.play("SWP")).post("/v1/referrals", json=referral())).json()
    foreign = (await (await cast.play("GWP")).post("/v1/referrals", json=referral())).json()
    browser = await signed_in(cast, "SWP")
    draft = await begun(browser)
    await fill(browser, draft, **NEEDED)
    page = (await browser.get(f"{draft}/check")).text
    assert f'href="/my-referrals/{own["id"]}">{own["reference"]}' in page
    assert foreign["reference"] not in page
    assert (await browser.get(await handed_in(browser, draft))).status_code == 200
