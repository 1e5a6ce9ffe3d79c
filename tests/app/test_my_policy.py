"""An agency's own policy: by API and page, by whom, and what it changes for routing, notices and due times."""

import re
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app import clock
from app.access.keys import Terms
from app.access.policy import Role
from app.db import AS_WORKER, Database
from app.parties import channels, directory
from app.referrals.deadlines import london_day
from tests.acts import actions, dispatched, rows, slug, submitted
from tests.app import people
from tests.browser import signed_in
from tests.conftest import Cast, Workers

WEEK = {"working_days": [1, 2, 3, 4, 5]}


async def decided(client: httpx.AsyncClient, **policy: Any) -> dict[str, Any]:
    """The policy as it holds after this decision."""
    answer = await client.put("/v1/policy", json={**WEEK, **policy})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_an_agency_reads_and_decides_its_policy_and_each_change_is_a_logged_version(
    cast: Cast, database: Database
) -> None:
    agency = await cast.play("DVLA")
    before = (await agency.get("/v1/policy")).json()
    assert before["version"] == 0
    assert before["working_days"] == [1, 2, 3, 4, 5]
    changed = await decided(agency, crime_types=["fraud"], notices_per_day=5)
    assert (changed["version"], changed["crime_types"], changed["notices_per_day"]) == (1, ["fraud"], 5)
    assert (await decided(agency, crime_types=["fraud"], notices_per_day=5))["version"] == 1  # the same again
    assert (await decided(agency))["version"] == 2
    assert (await agency.get("/v1/policy")).json() == {
        **{"version": 2, "crime_types": None, "notices_per_day": None},
        **{"working_days": [1, 2, 3, 4, 5], "out_of_office": None},
    }
    logged = await rows(database, "SELECT party, detail FROM audit_event WHERE action = 'policy.changed' ORDER BY id")
    assert [row["detail"]["changed"] for row in logged] == [["crime_types", "notices_per_day"]] * 2
    assert {row["party"] for row in logged} == {"DVLA"}
    # Another agency's is its own.
    assert (await (await cast.play("EA")).get("/v1/policy")).json()["version"] == 0


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/working_days"),
        ({"working_days": []}, "/working_days"),
        ({"working_days": [8]}, "/working_days/0"),
        ({"working_days": [1, 1]}, "/working_days"),
        ({**WEEK, "notices_per_day": 0}, "/notices_per_day"),
        ({**WEEK, "crime_types": []}, "/crime_types"),
        ({**WEEK, "needs_release": True}, "/needs_release"),
        ({**WEEK, "out_of_office": {"first_day": 1, "last_day": "2027-01-01"}}, "/out_of_office/first_day"),
        ({**WEEK, "out_of_office": {"first_day": "2027-01-02", "last_day": "2027-01-01"}}, "/out_of_office"),
    ],
)
async def test_a_policy_that_cannot_be_is_refused(cast: Cast, body: dict[str, Any], pointer: str) -> None:
    answer = await (await cast.play("DVLA")).put("/v1/policy", json=body)
    assert slug(answer) == "invalid-body"
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_the_matrix_leaves_out_who_does_not_take_the_crime_type_and_a_named_addressee_is_asked(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force = await cast.play("SWP")
    await submitted(force, addressees=None, crime_types=["waste_crime"])
    await workers.run()
    asked = "SELECT count(*) AS number FROM dispatch WHERE agency = :agency"
    chosen = await rows(database, "SELECT DISTINCT agency FROM dispatch ORDER BY agency")
    agency = chosen[0]["agency"]
    await decided(await cast.play(agency), crime_types=["benefit_fraud"])
    workers = Workers(database)  # another process: it has no older copy of the parties
    await submitted(force, addressees=None, crime_types=["waste_crime"])
    await workers.run()
    assert await rows(database, asked, agency=agency) == [{"number": 1}]
    await submitted(force, addressees=[agency], crime_types=["waste_crime"])
    await workers.run()
    assert await rows(database, asked, agency=agency) == [{"number": 2}]


async def test_who_asks_an_agency_that_is_away_is_told_until_when(
    cast: Cast, workers: Workers, database: Database
) -> None:
    today = london_day(clock.now())
    away = {"first_day": str(today - timedelta(days=1)), "last_day": str(today + timedelta(days=9))}
    await decided(await cast.play("HMRC"), out_of_office=away)
    force, [made] = await dispatched(cast, workers, "HMRC")
    told = f"named by the originator; out of office until {today + timedelta(days=9):%-d %B %Y}"
    [dispatch] = (await force.get(f"/v1/referrals/{made['id']}")).json()["dispatches"]
    assert (dispatch["state"], dispatch["reason"]) == ("queued", told)
    overseer = await cast.play("TARIAN")
    assert told in (await overseer.get(f"/v1/referrals/{made['id']}")).text
    assert told[1:] in (await (await signed_in(cast, "TARIAN")).get("/")).text


async def test_working_days_and_the_quota_hold_for_what_comes_then(cast: Cast, database: Database) -> None:
    await decided(await cast.play("HMRC"), working_days=[1], notices_per_day=3)
    async with database.transaction(AS_WORKER) as connection:
        parties = await directory.load(connection)
        assert parties["HMRC"].policy.working_days == {1}
        assert parties["HMRC"].policy.routine_days == 10
        assert parties["EA"].policy.working_days == {1, 2, 3, 4, 5}
    async with database.transaction() as connection:
        await connection.exec_driver_sql("UPDATE party SET channel = 'push' WHERE code = 'HMRC'")
    async with database.transaction(AS_WORKER) as connection:
        [contact] = [one for one in await channels.load(connection) if one.agency == "HMRC"]
        assert contact.notices_per_day == 3


async def test_a_key_without_that_scope_and_other_roles_may_not(cast: Cast) -> None:
    reader = cast.client({"Authorization": f"Bearer {await cast.key('DVLA', terms=Terms(scope=('read',)))}"})
    assert (await reader.get("/v1/policy")).status_code == 200
    assert slug(await reader.put("/v1/policy", json=WEEK)) == "outside-scope"
    manager = cast.client({"Authorization": f"Bearer {await cast.key('DVLA', terms=Terms(scope=('manage_policy',)))}"})
    assert (await manager.put("/v1/policy", json=WEEK)).status_code == 200
    for party in ("SWP", "TARIAN"):
        assert slug(await (await cast.play(party)).put("/v1/policy", json=WEEK)) == "role-not-allowed"


async def test_its_manager_changes_the_policy_on_the_page(cast: Cast, database: Database) -> None:
    browser, someone = await people.signed_in(cast, database, "HMRC", username="dana@hmrc.example")
    page = (await browser.get("/my-policy")).text
    assert "Your manager can change it." in page
    refused = await browser.get("/my-policy/change")
    assert refused.status_code == 403
    assert (await browser.post("/my-policy/change", data={"accepts": "all"})).status_code == 403
    await rows(database, "UPDATE account SET manager = true WHERE username = :name RETURNING id", name=someone.username)

    form = {"accepts": "some", "crime_types": ["fraud", "tax_evasion"], "notices_per_day": "40"}
    form |= {"working_days": ["1", "2"], "first_day": "24 12 2026", "last_day": "2/1/2027"}
    answer = await browser.post("/my-policy/change", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/my-policy?saved=1")
    page = (await browser.get(answer.headers["location"])).text
    for words in ("This policy holds now.", "Fraud, Tax evasion", "At most 40", "Monday, Tuesday", "24 December 2026"):
        assert words in page
    filled = (await browser.get("/my-policy/change")).text
    assert 'value="24 12 2026"' in filled
    assert len(re.findall(r"checked", filled)) == 5  # two crime types, two days, "only those"
    assert (await actions(database)).count("policy.changed") == 1


async def test_what_the_rules_refuse_is_said_beside_its_field(cast: Cast, database: Database) -> None:
    browser = await signed_in(cast, "HMRC", Role.AGENCY)
    wrong = {"accepts": "some", "notices_per_day": "many", "first_day": "31 2 2027", "last_day": ""}
    page = await browser.post("/my-policy/change", data=wrong)
    assert page.status_code == 422
    assert re.findall(r'<li>\s*<a href="#([^"]+)">', page.text) == [
        *("crime_types", "notices_per_day", "working_days", "first_day", "last_day")
    ]
    assert 'value="many"' in page.text
    backwards = {"accepts": "all", "working_days": "1", "first_day": "3 1 2027", "last_day": "2 1 2027"}
    page = await browser.post("/my-policy/change", data=backwards)
    assert re.findall(r'<li>\s*<a href="#([^"]+)">', page.text) == ["last_day"]
    assert "policy.changed" not in await actions(database)
