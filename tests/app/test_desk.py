"""A co-ordinator's page of one referral, and what is done from it, through HTTP and without scripts."""

import re
from typing import Any
from uuid import UUID

import httpx

from app.access.policy import Role
from app.db import Database
from tests.acts import NO_HIT, change, dispatched, inbox, rows
from tests.browser import ORIGIN, signed_in
from tests.conftest import HIT, Cast, Workers


async def sent(browser: httpx.AsyncClient, address: str, **fields: Any) -> httpx.Response:
    """Open the page at this address, fill in its form as a browser without scripts does, and send it."""
    page = await browser.get(address)
    assert page.status_code == 200, (address, page.status_code, page.text[:300])
    form = re.search(r'<form method="post"(?: action="[^"]*")? novalidate>.*?</form>', page.text, flags=re.S)
    assert form
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form[0]))
    return await browser.post(address, data={**hidden, **fields})


async def referred(cast: Cast, workers: Workers, *agencies: str, **changes: Any) -> tuple[str, dict[str, str]]:
    """The id of a referral of South Wales, and of its dispatches by agency."""
    force, [made] = await dispatched(cast, workers, *agencies, **changes)
    tracked = (await force.get(f"/v1/referrals/{made['id']}")).json()
    return made["id"], {one["agency"]: one["id"] for one in tracked["dispatches"]}


async def state(cast: Cast, referral_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await (await cast.play("TARIAN")).get(f"/v1/referrals/{referral_id}")).json()
    return found


async def test_one_page_tells_everything_of_a_referral_and_the_log_keeps_that_it_was_read(
    cast: Cast, workers: Workers, database: Database
) -> None:
    id, _ = await referred(cast, workers, "HMRC", "EA")
    agency = await cast.play("HMRC")
    [item] = await inbox(agency)
    graded = {**HIT, "handling": {"code": "C", "conditions": ["A1", "S2"]}, "onward_disclosure": "consent_required"}
    assert (await agency.post(f"/v1/inbox/{item['id']}/response", json=graded)).status_code == 201
    browser = await signed_in(cast, "TARIAN")
    page = await browser.get(f"/referrals/{id}")
    assert page.status_code == 200
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.text))
    for told in (
        "2 asked: 1 answered (1 hit), 1 open",
        "Rhys Alun Quill",
        "7 March 1984",
        "Vehicle registration: CX14 ABC",
        "Named by the originator",
        "Keeper of a van since March 2024.",
        "1A, handling code C (A1, S2)",
        "Consent required",
        "Answered (hit): HMRC",
        "OFFICIAL-SENSITIVE",
    ):
        assert told in text, told
    read = await rows(
        database, "SELECT operation, action FROM audit_event WHERE referral_id = :id AND party = 'TARIAN'", id=UUID(id)
    )
    assert [(one["operation"], one["action"]) for one in read] == [
        ("consultation", "referral.read"),
        ("disclosure", "responses.read"),
    ]


async def test_a_late_or_conflicting_answer_is_shown_as_such(cast: Cast, workers: Workers) -> None:
    id, _ = await referred(cast, workers, "HMRC")
    agency = await cast.play("HMRC")
    [item] = await inbox(agency)
    await agency.post(f"/v1/inbox/{item['id']}/response", json=NO_HIT)
    await agency.post(f"/v1/inbox/{item['id']}/response", json=HIT)
    page = (await (await signed_in(cast, "TARIAN")).get(f"/referrals/{id}")).text
    assert "Conflicting</strong>" in page
    assert "It differs from the first answer, which stands." in page


async def test_another_regions_referral_is_not_there_and_nothing_is_done_to_it(cast: Cast, workers: Workers) -> None:
    id, dispatches = await referred(cast, workers, "HMRC")
    stranger = await signed_in(cast, "TITAN")
    for path in (f"/referrals/{id}", f"/referrals/{id}/hold", f"/dispatches/{dispatches['HMRC']}/chase"):
        assert (await stranger.get(path)).status_code == 404, path
    for path in (f"/referrals/{id}/hold", f"/dispatches/{dispatches['HMRC']}/cancel"):
        assert (await stranger.post(path, data={"reason": "Not mine."})).status_code == 404, path
    assert (await state(cast, id))["state"] == "in_progress"
    for party, role in (("TARIAN", None), ("GAIN", Role.NATIONAL)):
        assert (await (await signed_in(cast, party, role)).get(f"/referrals/{id}")).status_code == 200


async def test_a_referral_is_held_released_and_rejected_from_its_page(
    cast: Cast, workers: Workers, database: Database
) -> None:
    id, _ = await referred(cast, workers, "HMRC", "EA")
    browser = await signed_in(cast, "TARIAN")
    assert (await browser.get(f"/referrals/{id}/release")).status_code == 409
    refused = await sent(browser, f"/referrals/{id}/hold", reason="  ")
    assert refused.status_code == 422
    assert '<a href="#reason">Say why.</a>' in refused.text
    held = await sent(browser, f"/referrals/{id}/hold", reason="Wait for the day of action.")
    assert (held.status_code, held.headers["location"]) == (303, f"/referrals/{id}?done=referrals-hold")
    page = (await browser.get(held.headers["location"])).text
    assert "The referral is held." in page
    assert "Wait for the day of action." in page
    assert (await sent(browser, f"/referrals/{id}/release")).status_code == 303
    assert (await state(cast, id))["state"] == "in_progress"
    assert (await sent(browser, f"/referrals/{id}/reject", reason="Not within the criteria.")).status_code == 303
    assert (await state(cast, id))["state"] == "rejected"
    assert (await browser.get(f"/referrals/{id}/hold")).status_code == 409
    logged = await rows(
        database,
        "SELECT action FROM audit_event WHERE party = 'TARIAN' AND operation = 'alteration'"
        " AND action LIKE 'referral.%' ORDER BY id",
    )
    assert [one["action"] for one in logged] == ["referral.held", "referral.released", "referral.rejected"]


async def test_a_body_is_added_taken_back_and_asked_again(cast: Cast, workers: Workers) -> None:
    id, dispatches = await referred(cast, workers, "HMRC")
    browser = await signed_in(cast, "TARIAN")
    nobody = await sent(browser, f"/referrals/{id}/addressees")
    assert nobody.status_code == 422
    assert 'href="#agencies"' in nobody.text
    assert (await sent(browser, f"/referrals/{id}/addressees", agencies=["EA", "DVLA"])).status_code == 303
    assert (await sent(browser, f"/dispatches/{dispatches['HMRC']}/cancel", reason="Known already.")).status_code == 303
    assert (await sent(browser, f"/dispatches/{dispatches['HMRC']}/redeliver")).status_code == 303
    found = {(one["agency"], one["round"]): one["state"] for one in (await state(cast, id))["dispatches"]}
    assert found == {
        ("HMRC", 1): "cancelled",
        ("HMRC", 2): "queued",
        ("EA", 1): "queued",
        ("DVLA", 1): "queued",
    }


async def test_a_completed_referral_is_reopened_to_those_asked_before(cast: Cast, workers: Workers) -> None:
    id, _ = await referred(cast, workers, "HMRC")
    agency = await cast.play("HMRC")
    [item] = await inbox(agency)
    await agency.post(f"/v1/inbox/{item['id']}/response", json=NO_HIT)
    browser = await signed_in(cast, "TARIAN")
    page = (await browser.get(f"/referrals/{id}/reopen")).text
    assert page.index("Asked before") < page.index("Not asked yet")
    assert (await sent(browser, f"/referrals/{id}/reopen", agencies=["HMRC"])).status_code == 303
    found = await state(cast, id)
    assert found["state"] == "in_progress"
    assert [one["round"] for one in found["dispatches"]] == [1, 2]


async def test_an_agency_is_chased_and_given_more_time(cast: Cast, workers: Workers) -> None:
    id, dispatches = await referred(cast, workers, "HMRC")
    browser = await signed_in(cast, "TARIAN")
    place = f"/dispatches/{dispatches['HMRC']}"
    assert (await sent(browser, f"{place}/chase")).status_code == 303
    for typed in ("31 2 2090", "1 1 2020", "31 12 9999", "  "):
        day = dict(zip(("day", "month", "year"), typed.split(" "), strict=False))
        wrong = await sent(browser, f"{place}/extend", **{f"until-{part}": value for part, value in day.items()})
        assert wrong.status_code == 422
        assert 'href="#until-day"' in wrong.text
    given = {"until-day": "2", "until-month": "7", "until-year": "2090"}
    assert (await sent(browser, f"{place}/extend", **given)).status_code == 303
    [dispatch] = (await state(cast, id))["dispatches"]
    assert dispatch["due_at"] == "2090-07-02T16:00:00Z"  # 17:00 in London's summer
    page = (await browser.get(f"/referrals/{id}")).text
    assert "Chased: HMRC" in page
    assert "Given more time: HMRC" in page


async def test_a_dispatch_that_needs_a_release_is_released_alone(cast: Cast, workers: Workers) -> None:
    id, dispatches = await referred(cast, workers, "SMARTWATER")
    browser = await signed_in(cast, "TARIAN")
    assert (await sent(browser, f"/dispatches/{dispatches['SMARTWATER']}/release")).status_code == 303
    assert [one["state"] for one in (await state(cast, id))["dispatches"]] == ["queued"]


async def test_of_a_disposed_referral_the_page_shows_what_is_left(
    cast: Cast, workers: Workers, database: Database
) -> None:
    id, _ = await referred(cast, workers, "HMRC")
    await (await cast.play("TARIAN")).post(f"/v1/referrals/{id}/reject", json={"reason": "No."})
    await change(
        database,
        "UPDATE referral SET content = '', disposed_at = now(), retention_group = 4, sealed_reason = NULL"
        " WHERE id = :id",
        id=UUID(id),
    )
    page = await (await signed_in(cast, "TARIAN")).get(f"/referrals/{id}")
    assert page.status_code == 200
    assert "This referral was disposed of." in page.text


async def test_a_form_of_another_site_does_nothing(cast: Cast, workers: Workers) -> None:
    id, _ = await referred(cast, workers, "HMRC")
    browser = await signed_in(cast, "TARIAN")
    answer = await browser.post(
        f"/referrals/{id}/reject", data={"reason": "x"}, headers={**ORIGIN, "Origin": "http://elsewhere.test"}
    )
    assert answer.status_code == 403
    assert (await state(cast, id))["state"] == "in_progress"
