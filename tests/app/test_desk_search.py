"""Search: by reference; by subject with a purpose, never in an address, of the own region, and logged."""

import httpx
import pytest

from app.access.policy import Role
from app.db import Database
from tests.acts import rows
from tests.app.test_desk import sent
from tests.app.test_pages import submitted
from tests.browser import signed_in
from tests.conftest import Cast

pytestmark = pytest.mark.timeout(120)

BORN = {"born-day": "7", "born-month": "3", "born-year": "1984"}
QUILL = {"family_name": "QUILL", "given_names": "Rhys  Alun", **BORN, "purpose": "safeguarding"}
VAN = {"identifier": "vehicle_registration", "value": "cx14abc", "purpose": "coordination"}


async def found(browser: httpx.AsyncClient, **fields: str) -> str:
    """The answer to a search by subject."""
    answer = await sent(browser, "/search", **fields)
    assert answer.status_code == 200, answer.text
    return answer.text


async def test_a_referral_is_found_by_its_reference_in_the_own_region(cast: Cast) -> None:
    own, foreign = await submitted(cast, "SWP"), await submitted(cast, "GMP")
    browser = await signed_in(cast, "TARIAN")
    answer = await browser.get(f"/search?reference={own.lower()}%20")
    assert answer.status_code == 303
    assert own in (await browser.get(answer.headers["location"])).text
    for reference in (foreign, "GAIN-2026-999999", "nonsense"):
        refused = await browser.get("/search", params={"reference": reference})
        assert refused.status_code == 404
        assert "No referral that you oversee has this reference." in refused.text


async def test_a_subject_is_found_by_name_and_birth_date_or_identifier_in_the_own_region(cast: Cast) -> None:
    own, foreign = await submitted(cast, "SWP"), await submitted(cast, "GMP")
    browser = await signed_in(cast, "TARIAN")
    for fields, by in ((QUILL, "name and date of birth"), (VAN, "identifier")):
        page = await found(browser, **fields)
        assert own in page
        assert by in page
        assert foreign not in page
        assert "1 referral found" in page
    assert "0 referrals found" in await found(browser, **{**QUILL, "born-year": "1985"})
    national = await found(await signed_in(cast, "GAIN", Role.NATIONAL), **QUILL)
    assert own in national
    assert foreign in national


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({**QUILL, "purpose": ""}, "purpose"),
        ({**QUILL, "purpose": "curiosity"}, "purpose"),
        ({**QUILL, "born-day": "31", "born-month": "2"}, "born-day"),
        ({**QUILL, "born-day": "", "born-month": "", "born-year": ""}, "family_name"),
        ({**QUILL, "given_names": ""}, "family_name"),
        ({"identifier": "passport", "purpose": "coordination"}, "value"),
        ({"identifier": "shoe size", "value": "44", "purpose": "coordination"}, "value"),
    ],
)
async def test_too_little_or_no_purpose_finds_nothing_and_says_what_it_takes(
    cast: Cast, database: Database, fields: dict[str, str], field: str
) -> None:
    await submitted(cast, "SWP")
    answer = await sent(await signed_in(cast, "TARIAN"), "/search", **fields)
    assert answer.status_code == 422
    assert f'href="#{field}"' in answer.text
    assert "GAIN-2026" not in answer.text
    assert not await rows(database, "SELECT 1 FROM audit_event WHERE action = 'subject.searched'")


async def test_the_log_keeps_that_and_why_somebody_searched_but_not_for_whom(cast: Cast, database: Database) -> None:
    await submitted(cast, "SWP")
    await found(await signed_in(cast, "TARIAN"), **QUILL)
    [id] = [str(one["id"]) for one in await rows(database, "SELECT id FROM referral")]
    [logged] = await rows(database, "SELECT * FROM audit_event WHERE action = 'subject.searched'")
    assert logged["operation"] == "consultation"
    assert logged["detail"] == {"by": ["person"], "ids": [id], "purpose": "safeguarding"}
    assert "quill" not in str(logged).lower()
