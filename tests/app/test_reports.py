"""Reports through HTTP: who made referrals, how agencies answer, what came of it; whose figures anybody gets."""

import csv
import io
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from app.access.policy import Role
from app.db import Database
from app.reporting import aggregates
from app.reporting.period import period, written
from tests.acts import NO_HIT, Document, actions, change, dispatched, inbox, rows, slug, submitted
from tests.conftest import HIT, Cast, Workers, referral

LAVA: Document = {
    "acted_on": "2026-03-14",
    "disruption": "major",
    "arrests": 22,
    "charged": 16,
    "assets_frozen": "60000",
    "children_safeguarded": 1,
    "prohibition_orders": 10,
    "seizures": [{"kind": "plants", "quantity": 460, "value": "493000"}],
}
REPORTS = ("referrals", "agencies", "outcomes")


async def read(client: httpx.AsyncClient, report: str, **query: str) -> Document:
    """A report as JSON."""
    answer = await client.get(f"/v1/reports/{report}", params=query)
    assert answer.status_code == 200, answer.text
    document: Document = answer.json()
    return document


def by(report: Document, word: str = "party") -> dict[str, Any]:
    """The items of a report by their party or agency."""
    return {item[word]: item for item in report["items"]}


async def outcome(force: httpx.AsyncClient, referral_id: str, **changes: Any) -> None:
    answer = await force.post(f"/v1/referrals/{referral_id}/outcome", json=LAVA | changes)
    assert answer.status_code == 200, answer.text


async def answered(cast: Cast, workers: Workers) -> None:
    """Three forces of two regions ask; HMRC finds something for one, nothing for another, declines a third."""
    for code, count in (("SWP", 2), ("GWP", 1), ("GMP", 1)):
        force = await cast.play(code)
        for _ in range(count):
            await submitted(force, addressees=["HMRC", "EA"])
    await workers.run()
    agency = await cast.play("HMRC")
    items = sorted(await inbox(agency), key=lambda item: str(item["reference"]))
    for item, body in zip(
        items, (HIT, NO_HIT, {"outcome": "declined", "decline_reason": "capacity"}, NO_HIT), strict=True
    ):
        answer = await agency.post(f"/v1/inbox/{item['id']}/response", json=body)
        assert answer.status_code == 201, answer.text


async def test_a_coordinator_sees_how_many_referrals_each_force_of_the_region_made(
    cast: Cast, workers: Workers
) -> None:
    """As in the inspection's Figure 5, those that made none too; the same month by month."""
    await answered(cast, workers)
    report = await read(await cast.play("TARIAN"), "referrals")
    made = by(report)
    assert {code: item["referrals"] for code, item in made.items()} == {"DPP": 0, "GWP": 1, "SWP": 2, "TARIAN": 0}
    assert made["SWP"]["name"] == "South Wales Police"
    this = written(period(None, None, datetime.now(UTC)).last)
    assert len(made["SWP"]["by_month"]) == 12
    assert {month: number for month, number in made["SWP"]["by_month"].items() if number} == {this: 2}
    assert (report["to"], report["region"]) == (this, "TARIAN")
    assert "most by South Wales Police (2)" in report["headline"]


async def test_the_national_coordinator_sees_all_regions_or_one(cast: Cast, workers: Workers) -> None:
    await answered(cast, workers)
    national = await cast.play("GAIN")
    made = by(await read(national, "referrals"))
    assert len(made) >= 43 + 10
    assert {code: item["referrals"] for code, item in made.items() if item["referrals"]} == {
        "SWP": 2,
        "GWP": 1,
        "GMP": 1,
    }
    assert by(await read(national, "referrals", region="TITAN")).keys() == {
        *("CHS", "CUM", "GMP", "LAN", "MER", "NWP", "TITAN")
    }
    assert by(await read(national, "agencies", region="TITAN"), "agency")["HMRC"]["no_hits"] == 1


async def test_a_force_sees_its_own_figures_and_no_others(cast: Cast, workers: Workers) -> None:
    await answered(cast, workers)
    force = await cast.play("SWP")
    assert {code: item["referrals"] for code, item in by(await read(force, "referrals")).items()} == {"SWP": 2}
    assert by(await read(force, "outcomes")).keys() == {"SWP"}
    assert (await read(force, "referrals"))["headline"].startswith("South Wales Police made 2 referrals from")


async def test_an_agency_that_refers_sees_its_referrals_and_not_how_it_answers(
    cast: Cast, workers: Workers, database: Database
) -> None:
    await answered(cast, workers)
    client = await cast.play("HMRC", Role.ORIGINATOR)
    assert by(await read(client, "referrals"))["HMRC"]["referrals"] == 0
    answer = await client.post("/v1/referrals", json=referral(addressees=["EA"]))
    assert answer.status_code == 201
    assert by(await read(client, "referrals"))["HMRC"]["referrals"] == 1


async def test_how_agencies_answer_is_told_with_times_rates_and_reasons(
    cast: Cast, workers: Workers, database: Database
) -> None:
    await answered(cast, workers)
    await change(
        database, "UPDATE dispatch SET queued_at = answered_at - interval '3 days' WHERE outcome IN ('hit', 'no_hit')"
    )
    await change(database, "UPDATE dispatch SET state = 'expired', closed_at = now() WHERE agency = 'EA'")
    coordinator = await cast.play("TARIAN")
    for _ in range(2):
        agencies = by(await read(coordinator, "agencies"), "agency")
        hmrc, ea = agencies["HMRC"], agencies["EA"]
        assert (hmrc["ended"], hmrc["hits"], hmrc["no_hits"], hmrc["hit_rate"]) == (3, 1, 1, 0.5)
        assert hmrc["declined"] == {"capacity": 1}
        assert hmrc["median_seconds"] == pytest.approx(3 * 86_400, rel=0.0906)
        assert (ea["ended"], ea["expired"], ea["median_seconds"], ea["hit_rate"]) == (3, {"unseen": 3}, None, None)
        assert agencies["BF"]["ended"] == 0
        await aggregates.fold(database, most=0)  # told the same before and after


async def test_what_actions_brought_is_added_up_and_a_correction_counts_in_place_of_what_it_corrects(
    cast: Cast, workers: Workers
) -> None:
    force, [made] = await dispatched(cast, workers, "HMRC")
    await outcome(force, made["id"])
    await outcome(force, made["id"], arrests=3, disruption="minor")
    items = (await force.get(f"/v1/referrals/{made['id']}/outcomes")).json()["items"]
    await outcome(force, made["id"], arrests=2, disruption=None, replaces=items[1]["id"], assets_frozen="0.50")
    for client in (force, await cast.play("TARIAN"), await cast.play("GAIN")):
        report = await read(client, "outcomes", **{"from": "2026-03", "to": "2026-03"})
        brought = by(report)["SWP"]
        assert (brought["actions"], brought["arrests"], brought["charged"]) == (2, 24, 32)
        assert brought["disruptions"] == {"major": 1}
        assert (brought["assets_frozen"], brought["seized"]) == ("60000.50", "986000.00")
        assert report["headline"] == "2 actions in March 2026 brought 24 arrests. Disruptions: 1 major."
    assert by(await read(force, "outcomes", **{"from": "2026-04", "to": "2026-05"}))["SWP"]["actions"] == 0
    assert by(await read(await cast.play("TITAN"), "outcomes")).get("SWP") is None


@pytest.mark.parametrize("report", REPORTS)
async def test_a_region_that_is_not_the_callers_is_as_one_that_does_not_exist(cast: Cast, report: str) -> None:
    coordinator = await cast.play("TARIAN")
    national = await cast.play("GAIN")
    answers = [await coordinator.get(f"/v1/reports/{report}?region={code}") for code in ("TITAN", "ATLANTIS")]
    answers.append(await national.get(f"/v1/reports/{report}?region=ATLANTIS"))
    if report != "agencies":
        answers.append(await (await cast.play("SWP")).get(f"/v1/reports/{report}?region=TARIAN"))
    assert {(answer.status_code, slug(answer)) for answer in answers} == {(404, "not-found")}
    assert (await coordinator.get(f"/v1/reports/{report}?region=TARIAN")).status_code == 200


async def test_who_has_no_part_in_it_is_refused(cast: Cast) -> None:
    for party, role in (("HMRC", Role.AGENCY), ("GAIN", Role.AUDITOR), ("GAIN", Role.ADMINISTRATOR)):
        client = await cast.play(party, role)
        for report in REPORTS:
            assert slug(await client.get(f"/v1/reports/{report}")) == "role-not-allowed"
    assert slug(await (await cast.play("SWP")).get("/v1/reports/agencies")) == "role-not-allowed"
    assert slug(await cast.client({}).get("/v1/reports/referrals")) == "credential-required"


@pytest.mark.parametrize(
    "query",
    ["from=2026-13", "from=26-01", "to=2026-1", "from=2026-10&to=2026-09", "from=2020-01&to=2026-01", "region=a b"],
)
async def test_a_period_that_is_none_is_refused(cast: Cast, query: str) -> None:
    answer = await (await cast.play("TARIAN")).get(f"/v1/reports/referrals?{query}")
    assert (answer.status_code, slug(answer)) == (422, "invalid-parameter")


@pytest.mark.parametrize("report", REPORTS)
async def test_every_report_can_be_had_as_csv(cast: Cast, workers: Workers, report: str) -> None:
    await answered(cast, workers)
    coordinator = await cast.play("TARIAN")
    answer = await coordinator.get(f"/v1/reports/{report}", headers={"Accept": "text/csv"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/csv")
    assert f"gain-{report}-TARIAN-" in answer.headers["content-disposition"]
    found = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    document = await read(coordinator, report)
    word = "agency" if report == "agencies" else "party"
    assert [row[word] for row in found] == [item[word] for item in document["items"]]
    refused = await coordinator.get(f"/v1/reports/{report}", headers={"Accept": "application/pdf"})
    assert (refused.status_code, slug(refused)) == (406, "not-acceptable")


async def test_no_name_in_a_file_is_a_formula(cast: Cast, database: Database) -> None:
    await change(database, "UPDATE party SET name = '=HYPERLINK(\"x\")' WHERE code = 'GWP'")
    answer = await (await cast.play("TARIAN")).get("/v1/reports/referrals", headers={"Accept": "text/csv"})
    found = {row["party"]: row["name"] for row in csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig")))}
    assert found["GWP"] == '\'=HYPERLINK("x")'


async def test_the_log_says_who_read_which_report_of_what_and_when(cast: Cast, database: Database) -> None:
    await read(await cast.play("TARIAN"), "agencies", **{"from": "2026-01", "to": "2026-03"})
    assert await actions(database, "consultation") == ["report.read"]
    [event] = await rows(database, "SELECT party, detail FROM audit_event WHERE action = 'report.read'")
    assert event == {
        "party": "TARIAN",
        "detail": {"report": "agencies", "from": "2026-01", "to": "2026-03", "region": "TARIAN"},
    }
