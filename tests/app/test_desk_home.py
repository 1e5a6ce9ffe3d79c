"""The first page: what needs a co-ordinator, case by case; the file of it; chasing a body; the note; cover."""

import csv
import io
import re
from datetime import timedelta

import httpx
import pytest

from app import clock
from app.access.policy import Role
from app.db import Database
from app.status.export import plain_cell
from app.web.words import LONDON
from tests.acts import NO_HIT, change, dispatched, eventually, inbox, rows
from tests.app.test_desk import sent
from tests.app.test_pages import submitted
from tests.browser import signed_in
from tests.conftest import HIT, Cast, Workers

pytestmark = pytest.mark.timeout(120)

LATE = """
    UPDATE dispatch SET due_at = now() - interval '50 hours', overdue_at = now(), expires_at = now() + {left}
     WHERE agency = :agency
"""


def counts(page: httpx.Response) -> dict[str, str]:
    """The four counts."""
    return dict(re.findall(r'href="#needs-(\w+)"><span class="count__number">([\d,+]+)<', page.text))


def section(page: httpx.Response, group: str) -> str:
    """One group of the list."""
    found = re.search(rf'<section id="needs-{group}".*?</section>', page.text, flags=re.S)
    assert found
    return found[0]


async def late(database: Database, agency: str, left: str = "interval '4 days'") -> None:
    """What is at this agency is overdue, and ends in so long."""
    await change(database, LATE.format(left=left), agency=agency)


async def test_each_case_stands_in_the_group_that_says_how_it_presses(
    cast: Cast, workers: Workers, database: Database
) -> None:
    reference = await submitted(cast, "SWP", addressees=["EA", "HMRC", "DVLA", "SMARTWATER"])
    await workers.run()
    browser = await signed_in(cast, "TARIAN")
    assert counts(await browser.get("/")) == {"critical": "0", "overdue": "0", "soon": "0", "decision": "1"}
    await late(database, "EA", left="interval '3 hours'")
    await late(database, "HMRC")
    await change(database, "UPDATE dispatch SET due_at = now() + interval '5 hours' WHERE agency = 'DVLA'")
    page = await browser.get("/")
    assert counts(page) == {"critical": "1", "overdue": "1", "soon": "1", "decision": "1"}
    for group, agency, told in (
        ("critical", "EA", "Ends without an answer soon"),
        ("overdue", "HMRC", "2 days overdue"),
        ("soon", "DVLA", "in 5 hours"),
        ("decision", "SMARTWATER", "Held back until released"),
    ):
        found = section(page, group)
        assert reference in found
        assert agency in found
        assert told in found
    # What is due and not marked yet counts as overdue too: that does not wait for a scheduler.
    await change(database, "UPDATE dispatch SET due_at = now() - interval '1 hour' WHERE agency = 'DVLA'")
    assert counts(await browser.get("/")) == {"critical": "1", "overdue": "2", "soon": "0", "decision": "1"}


async def test_a_held_referral_and_every_alert_asks_for_a_decision(cast: Cast, workers: Workers) -> None:
    _, [one] = await dispatched(cast, workers, "HMRC")
    agency = await cast.play("HMRC")
    [item] = await inbox(agency)
    for answer in (NO_HIT, HIT):
        await agency.post(f"/v1/inbox/{item['id']}/response", json=answer)
    held = await submitted(cast, "SWP")
    browser = await signed_in(cast, "TARIAN")
    [found] = (await (await cast.play("TARIAN")).get("/v1/referrals?limit=1")).json()["items"]
    await sent(browser, f"/referrals/{found['id']}/hold", reason="Wait.")
    decisions = section(await browser.get("/"), "decision")
    assert "Held until you decide" in decisions
    assert held in decisions
    assert "Answered twice, differently" in decisions
    assert one["reference"] in decisions


async def test_another_regions_cases_are_neither_shown_nor_counted(
    cast: Cast, workers: Workers, database: Database
) -> None:
    reference = await submitted(cast, "GMP", addressees=["EA", "SMARTWATER"])
    await workers.run()
    await late(database, "EA")
    page = await (await signed_in(cast, "TARIAN")).get("/")
    assert set(counts(page).values()) == {"0"}
    assert reference not in page.text
    national = await signed_in(cast, "GAIN", Role.NATIONAL)
    assert counts(await national.get("/")) == {"critical": "0", "overdue": "1", "soon": "0", "decision": "1"}
    assert reference in (await national.get("/?region=TITAN")).text
    assert reference not in (await national.get("/?region=TARIAN")).text


async def test_the_filters_stand_in_the_address_and_in_the_form(
    cast: Cast, workers: Workers, database: Database
) -> None:
    urgent = await submitted(cast, "SWP", addressees=["EA"], priority="urgent")
    routine = await submitted(cast, "SWP", addressees=["HMRC"])
    await workers.run()
    for agency in ("EA", "HMRC"):
        await late(database, agency)
    browser = await signed_in(cast, "TARIAN")
    for query, shown in (
        ("agency=EA", {urgent}),
        ("priority=routine", {routine}),
        ("group=overdue", {urgent, routine}),
        ("agency=EA&priority=routine", set()),
        ("agency=&priority=&group=", {urgent, routine}),
    ):
        page = await browser.get(f"/?{query}")
        listed = set(re.findall(r'<th scope="row"><a href="/referrals/[^"]+">(GAIN-[\d-]+)<', page.text))
        assert listed == shown, query
    page = await browser.get("/?group=overdue&agency=EA")
    assert '<option value="EA" selected' in page.text
    assert 'data-stream="/live?agency=EA&amp;group=overdue"' in page.text
    assert 'href="/needs.csv?agency=EA&amp;group=overdue"' in page.text
    assert list(counts(page)) == ["overdue"]
    for wrong in ("group=all", "priority=high", "agency=NOBODY", "region=TITAN"):
        assert (await browser.get(f"/?{wrong}")).status_code == 404, wrong


async def test_the_list_is_a_file_too_and_no_cell_is_a_formula(
    cast: Cast, workers: Workers, database: Database
) -> None:
    reference = await submitted(cast, "SWP", addressees=["EA", "HMRC"])
    await workers.run()
    await late(database, "EA")
    answer = await (await signed_in(cast, "TARIAN")).get("/needs.csv?group=overdue")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"].startswith('attachment; filename="needs-')
    lines = list(csv.reader(io.StringIO(answer.text)))
    assert lines[0][:4] == ["group", "what", "reference", "originator"]
    assert [line[:7] for line in lines[1:]] == [["Overdue", "Overdue", reference, "SWP", "TARIAN", "EA", "routine"]]
    [logged] = await rows(database, "SELECT detail FROM audit_event WHERE action = 'needs.exported'")
    assert logged["detail"] == {"cases": 1}
    assert [plain_cell(text) for text in ("=1+1", "+44", "-x", "@x", "GAIN-2026-000001", "")] == [
        "'=1+1", "'+44", "'-x", "'@x", "GAIN-2026-000001", "",
    ]  # fmt: skip


async def test_all_that_is_overdue_at_a_body_is_chased_by_two_clicks(
    cast: Cast, workers: Workers, database: Database
) -> None:
    for _ in range(3):
        await submitted(cast, "SWP", addressees=["EA"])
    foreign = await submitted(cast, "GMP", addressees=["EA"])
    await workers.run()
    browser = await signed_in(cast, "TARIAN")
    assert "Nothing is overdue at Environment Agency" in (await browser.get("/queues/EA/chase")).text
    await late(database, "EA")
    page = await browser.get("/")
    link = re.search(r'href="(/queues/EA/chase)">EA \((\d+)\)', section(page, "overdue"))
    assert link
    first = await browser.get(link[1])  # the first click
    assert "3 dispatches are overdue" in first.text
    assert (await sent(browser, link[1])).status_code == 303  # the second
    chased = await rows(
        database,
        "SELECT reference, chases FROM dispatch JOIN referral ON referral.id = referral_id ORDER BY dispatch.number",
    )
    assert [one["chases"] for one in chased] == [1, 1, 1, 0]
    assert chased[-1]["reference"] == foreign
    assert (await browser.get("/queues/SWP/chase")).status_code == 404
    assert (await browser.get("/queues/EA/chase?region=TITAN")).status_code == 404


async def test_a_handover_note_is_left_for_the_region_sealed_and_logged_without_its_words(
    cast: Cast, database: Database
) -> None:
    browser = await signed_in(cast, "TARIAN")
    assert "Handover note: none" in (await browser.get("/")).text
    words = "Ring Quill’s officer <before> noon.\nThen chase EA."
    assert (await sent(browser, "/handover", words=words)).headers["location"] == "/?done=note"
    page = (await (await signed_in(cast, "TARIAN")).get("/?done=note")).text
    assert "Ring Quill’s officer &lt;before&gt; noon." in page
    assert "just now by TARIAN" in page
    assert "Quill" not in (await (await signed_in(cast, "TITAN")).get("/")).text
    assert (await (await signed_in(cast, "TITAN")).get("/handover?region=TARIAN")).status_code == 404
    [kept] = await rows(database, "SELECT content FROM handover_note")
    assert b"Quill" not in kept["content"]
    [written] = await rows(database, "SELECT detail FROM audit_event WHERE action = 'handover_note.written'")
    assert written["detail"] == {"of": "TARIAN"}
    assert (await sent(browser, "/handover", words="x" * 5001)).status_code == 422
    await sent(browser, "/handover", words="")
    assert "Handover note: none" in (await browser.get("/")).text


async def test_an_answer_that_was_read_leaves_the_list_by_a_note_with_its_reason(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """A conflicting answer needs no new round: the co-ordinator says why, which stands on the page and in the log."""
    force, [made] = await dispatched(cast, workers, "HMRC")
    agency = await cast.play("HMRC")
    [item] = await inbox(agency)
    for said in (HIT, NO_HIT):
        await agency.post(f"/v1/inbox/{item['id']}/response", json=said)
    browser, other = await signed_in(cast, "TARIAN"), await signed_in(cast, "TITAN")
    assert "Answered twice, differently" in section(await browser.get("/"), "decision")
    page = (await browser.get(f"/referrals/{made['id']}")).text
    assert "Answered twice, differently" in page
    assert f"/dispatches/{item['id']}/noted" in page
    address = f"/dispatches/{item['id']}/noted"
    assert (await other.get(address)).status_code == 404
    assert (await sent(browser, address, reason=" ")).status_code == 422
    answer = await sent(browser, address, reason="They rang: the hit stands.")
    assert answer.headers["location"] == f"/referrals/{made['id']}?done=dispatches-noted"
    page = (await browser.get(answer.headers["location"])).text
    assert "It is noted that nothing needs doing." in page
    assert "They rang: the hit stands." in page
    assert "Read, and nothing needs doing" in page  # in the timeline
    assert address not in page
    assert counts(await browser.get("/"))["decision"] == "0"
    assert (await browser.get(address)).status_code == 409
    again = await (await cast.play("TARIAN")).post(f"/v1{address}", json={"reason": "Again."})
    assert again.status_code == 409
    [event] = await rows(database, "SELECT party, detail FROM audit_event WHERE action = 'dispatch.noted'")
    assert (event["party"], event["detail"]) == ("TARIAN", {"alerts": ["conflicting_answer"]})
    [kept] = await rows(database, "SELECT sealed_reason FROM alert WHERE sealed_reason IS NOT NULL")
    assert b"They rang" not in kept["sealed_reason"]
    assert "They rang" not in (await force.get(f"/v1/referrals/{made['id']}/events")).text


def _days(count: int) -> dict[str, str]:
    today = clock.now().astimezone(LONDON).date()
    days = {"from": today, "to": today + timedelta(days=count)}
    return {
        f"{name}-{part}": str(getattr(day, part)) for name, day in days.items() for part in ("day", "month", "year")
    }


async def test_an_absent_colleague_is_covered_by_another_region_until_it_ends(
    cast: Cast, workers: Workers, database: Database
) -> None:
    reference = await submitted(cast, "SWP", addressees=["EA", "SMARTWATER"])
    await workers.run()
    await late(database, "EA")
    own, other = await signed_in(cast, "TARIAN"), await signed_in(cast, "TITAN")
    api = await cast.play("TITAN")
    assert reference not in (await other.get("/")).text
    granted = await sent(own, "/cover", by_region="TITAN", **_days(3))
    assert granted.headers["location"] == "/?done=cover"

    page = await other.get("/")
    assert "TITAN covers TARIAN until" in page.text
    assert counts(page) == {"critical": "0", "overdue": "1", "soon": "0", "decision": "1"}
    assert reference in section(page, "overdue")
    assert "SWP, TARIAN" in section(page, "overdue")
    assert "Referrals in progress" in (await other.get("/?region=TARIAN")).text
    [listed] = (await api.get("/v1/referrals")).json()["items"]
    assert listed["reference"] == reference
    await sent(other, "/queues/EA/chase?region=TARIAN")
    await sent(other, f"/referrals/{listed['id']}/hold", reason="For my colleague.")
    assert (await api.get(f"/v1/referrals/{listed['id']}")).json()["state"] == "held"
    [held] = await rows(database, "SELECT party FROM audit_event WHERE action = 'referral.held'")
    assert held["party"] == "TITAN"  # under its own name

    cover = re.search(r"/cover/[0-9a-f-]+/end", (await own.get("/cover")).text)
    assert cover
    assert (await other.get(cover[0])).status_code == 404  # whoever covers does not end it
    assert (await other.post(cover[0])).status_code == 404
    assert (await sent(own, cover[0])).status_code == 303
    assert reference not in (await other.get("/")).text
    assert (await api.get("/v1/referrals")).json()["items"] == []
    logged = await rows(database, "SELECT action FROM audit_event WHERE action LIKE 'cover.%' ORDER BY id")
    assert [one["action"] for one in logged] == ["cover.granted", "cover.ended"]


async def test_cover_is_granted_for_days_that_make_sense_by_those_who_may(cast: Cast, database: Database) -> None:
    own, other = await signed_in(cast, "TARIAN"), await signed_in(cast, "TITAN")
    for fields in (
        {"by_region": "TITAN", **_days(40)},
        {"by_region": "TARIAN", **_days(1)},
        {"by_region": "SWP", **_days(1)},
        {"by_region": "TITAN", **_days(1), "from-year": "2020"},
        {"by_region": "TITAN", **_days(1), "from-day": "soon"},
        {"by_region": "TITAN", **_days(1), "to-month": "13"},
    ):
        assert (await sent(own, "/cover", **fields)).status_code == 422, fields
    page = (await sent(own, "/cover", by_region="TITAN", **_days(1) | {"to-month": "13"})).text
    assert 'id="to-day-error"' in page or 'id="to-error"' in page  # beside its field, and what was typed still there
    assert 'value="13"' in page
    # A form that names another's region grants one's own all the same.
    await other.post("/cover", data={"region": "TARIAN", "by_region": "TARIAN", **_days(1)})
    [made] = await rows(database, "SELECT region, by_region FROM cover")
    assert (made["region"], made["by_region"]) == ("TITAN", "TARIAN")
    national = await signed_in(cast, "GAIN", Role.NATIONAL)
    assert (await sent(national, "/cover", region="TARIAN", by_region="TITAN", **_days(1))).status_code == 303


async def test_another_gateway_hears_of_a_cover_within_two_seconds(cast: Cast, database: Database) -> None:
    reference = await submitted(cast, "SWP")
    api = await cast.play("TITAN")
    await change(
        database,
        "INSERT INTO cover (region, by_region, starts_on, ends_on, granted_party, granted_by)"
        " VALUES ('TARIAN', 'TITAN', current_date, current_date + 1, 'TARIAN', 'test')",
    )

    async def is_seen() -> bool:
        return reference in (await api.get("/v1/referrals")).text

    await eventually(is_seen, 3)


async def test_a_possible_duplicate_between_forces_is_decided_from_the_list(
    cast: Cast, workers: Workers, database: Database
) -> None:
    own, other = await submitted(cast, "SWP"), await submitted(cast, "GMP")
    await workers.run()
    browser = await signed_in(cast, "TARIAN")
    decisions = section(await browser.get("/"), "decision")
    assert "Possible duplicate of another party’s" in decisions
    assert own in decisions
    link = re.search(r"/duplicates/[0-9a-f-]+", decisions)
    assert link
    page = (await browser.get(link[0])).text
    assert f"{other} of GMP (TITAN)" in re.sub(r"\s+", " ", page)
    assert (await sent(browser, link[0], reason="Known.")).status_code == 422
    assert (await (await signed_in(cast, "WMROCU")).get(link[0])).status_code == 404
    assert (await sent(browser, link[0], decision="same", reason="Known to both.")).status_code == 303
    assert "duplicate" not in section(await browser.get("/"), "decision")
    seen = (await (await signed_in(cast, "TITAN")).get(link[0])).text
    assert "The same subject" in seen
    assert "Known to both." not in seen
