"""Originator consent on pages: the force asks, the agency decides, the co-ordinator sees who waits and chases."""

import re

import httpx

from app.access.policy import Role
from app.db import Database
from tests.acts import actions
from tests.app.test_consents import GIVEN, OUTSIDE, TO_GMP, answered, asked, decision, listed
from tests.app.test_desk_home import counts, section
from tests.app.web_inbox import faults
from tests.browser import signed_in, submit
from tests.conftest import Cast, Workers


async def test_a_force_asks_beside_the_answer_and_sees_what_is_decided(cast: Cast, workers: Workers) -> None:
    force, made, _ = await answered(cast, workers)
    browser, address = await signed_in(cast, "SWP"), f"/my-referrals/{made['id']}"
    page = await browser.get(address)
    link = f'href="{address}/consent?agency=HMRC">Ask HMRC for its consent to pass its answer on</a>'
    assert link in page.text
    form = await browser.get(f"{address}/consent?agency=HMRC")
    assert '<option value="SWP"' not in form.text  # it has the answer
    sent = await submit(
        browser, f"{address}/consent?agency=HMRC", {"outside": "Cardiff Council, licensing", "reason": "He applied."}
    )
    assert (sent.status_code, sent.headers["location"]) == (303, f"{address}#consents")
    [one] = await listed(force, made)
    assert (one["agency"], one["recipient_outside"], one["reason"]) == (
        "HMRC",
        "Cardiff Council, licensing",
        "He applied.",
    )
    assert "Cardiff Council, licensing" in (await browser.get(address)).text
    await (await cast.play("HMRC")).post(decision(one), json=GIVEN)
    page = await browser.get(address)
    assert GIVEN["conditions"].replace("'", "&#39;") in page.text
    assert "HMRC consented" in page.text


async def test_the_form_says_beside_each_field_what_it_takes(cast: Cast, workers: Workers) -> None:
    force, made, _ = await answered(cast, workers)
    for party, address in (("SWP", f"/my-referrals/{made['id']}"), ("TARIAN", f"/referrals/{made['id']}")):
        browser = await signed_in(cast, party)
        nothing = await browser.post(f"{address}/consent", data={})
        assert set(faults(nothing)) == {"agency", "recipient", "reason"}
        both = {"agency": "HMRC", "recipient": "GMP", "outside": "An office", "reason": "Why."}
        assert set(faults(await browser.post(f"{address}/consent", data=both))) == {"recipient"}
        for recipient in ("HMRC", "SWP", "NOBODY"):
            wrong = {"agency": "HMRC", "recipient": recipient, "reason": "Why."}
            assert set(faults(await browser.post(f"{address}/consent", data=wrong))) == {"recipient"}
        long = {"agency": "HMRC", "outside": "x" * 201, "reason": "y" * 2_001}
        assert set(faults(await browser.post(f"{address}/consent", data=long))) == {"outside", "reason"}
    assert await listed(force, made) == []


async def test_a_force_withdraws_what_it_has_asked_and_not_what_the_co_ordinator_has(
    cast: Cast, workers: Workers
) -> None:
    force, made, path = await answered(cast, workers)
    own, other = await asked(force, path), await asked(await cast.play("TARIAN"), path, OUTSIDE)
    browser = await signed_in(cast, "SWP")
    page = (await browser.get(f"/my-referrals/{made['id']}")).text
    assert f"/my-referrals/consents/{own['id']}/withdraw" in page
    assert f"/my-referrals/consents/{other['id']}/withdraw" not in page
    for _ in range(2):
        answer = await submit(browser, f"/my-referrals/consents/{own['id']}/withdraw")
        assert answer.status_code == 303, answer.text
    assert (await browser.post(f"/my-referrals/consents/{other['id']}/withdraw")).status_code == 409
    assert [one["state"] for one in await listed(force, made)] == ["withdrawn", "asked"]
    stranger = await signed_in(cast, "GMP")
    assert (await stranger.get(f"/my-referrals/consents/{other['id']}/withdraw")).status_code == 404


async def test_an_agency_finds_it_above_its_inbox_and_decides(cast: Cast, workers: Workers, database: Database) -> None:
    force, made, path = await answered(cast, workers)
    one, two = await asked(force, path), await asked(force, path, OUTSIDE)
    browser = await signed_in(cast, "HMRC")
    page = await browser.get("/my-inbox")
    assert f'href="/my-inbox/consents/{one["id"]}">Decide on {made["reference"]}</a>' in page.text
    assert "Salford" not in page.text  # the list tells nothing of what is said
    address = f"/my-inbox/consents/{one['id']}"
    assert TO_GMP["reason"] in (await browser.get(address)).text
    item = await browser.get(f"/my-inbox/{one['dispatch_id']}")
    assert address in item.text
    assert set(faults(await browser.post(address, data={}))) == {"decision"}
    assert set(faults(await browser.post(address, data={"decision": "refused"}))) == {"words"}
    assert set(faults(await browser.post(address, data={"decision": "given", "words": "x" * 2_001}))) == {"words"}
    answer = await browser.post(address, data={"decision": "given", "words": GIVEN["conditions"]})
    assert (answer.status_code, answer.headers["location"]) == (303, address)
    refused = await browser.post(f"/my-inbox/consents/{two['id']}", data={"decision": "refused", "words": "Covert."})
    assert refused.status_code == 303
    assert [(found["state"], found["conditions"], found["refusal"]) for found in await listed(force, made)] == [
        ("given", GIVEN["conditions"], None),
        ("refused", None, "Covert."),
    ]
    assert "Consent asked" not in (await browser.get("/my-inbox")).text
    assert "Do you consent?" not in (await browser.get(address)).text
    assert (await browser.post(address, data={"decision": "refused", "words": "After all."})).status_code == 409
    assert (await (await signed_in(cast, "EA")).get(address)).status_code == 404
    assert "consents.listed" in await actions(database, "consultation")


async def home(cast: Cast, party: str, role: Role | None = None) -> httpx.Response:
    """The first page of a co-ordinator."""
    return await (await signed_in(cast, party, role)).get("/")


async def test_it_stands_among_the_decisions_of_the_region_until_it_is_settled(cast: Cast, workers: Workers) -> None:
    force, made, path = await answered(cast, workers)
    one = await asked(force, path)
    page = await home(cast, "TARIAN")
    assert counts(page)["decision"] == "1"
    found = section(page, "decision")
    assert "Originator consent asked" in found
    assert "just now" in found
    assert re.search(r"<td>HMRC</td>", found)
    assert f'href="/referrals/{made["id"]}#consents"' in found
    assert counts(await home(cast, "GAIN", Role.NATIONAL))["decision"] == "1"
    assert counts(await home(cast, "TITAN"))["decision"] == "0"
    browser = await signed_in(cast, "TARIAN")
    for query, number in (
        ("agency=HMRC", "1"),
        ("agency=EA", "0"),
        ("priority=routine", "1"),
        ("priority=urgent", "0"),
    ):
        assert counts(await browser.get(f"/?{query}"))["decision"] == number, query
    assert "Originator consent asked" in (await browser.get("/needs.csv?group=decision")).text
    await (await cast.play("HMRC")).post(decision(one), json=GIVEN)
    assert counts(await browser.get("/"))["decision"] == "0"


async def test_a_co_ordinator_asks_chases_and_withdraws_on_the_page_of_the_referral(
    cast: Cast, workers: Workers
) -> None:
    force, made, _ = await answered(cast, workers)
    address = f"/referrals/{made['id']}"
    browser = await signed_in(cast, "TARIAN")
    assert (
        f'href="{address}/consent?agency=HMRC">Ask HMRC for its consent to pass this on</a>'
        in (await browser.get(address)).text
    )
    given = {"agency": "HMRC", "recipient": "GMP", "reason": TO_GMP["reason"]}
    sent = await browser.post(f"{address}/consent", data=given)
    assert (sent.status_code, sent.headers["location"]) == (303, f"{address}?done=consent-asked#consents")
    assert (await browser.post(f"{address}/consent", data=given)).status_code == 409  # not twice
    [one] = await listed(force, made)
    assert (one["asked_by"], one["recipient"]) == ("TARIAN", "GMP")
    page = await browser.get(f"{address}?done=consent-asked")
    assert "The body is asked for its consent." in page.text
    assert f'href="/consents/{one["id"]}/chase"' in page.text
    for deed in ("chase", "withdraw"):
        answer = await submit(browser, f"/consents/{one['id']}/{deed}")
        assert answer.status_code == 303, answer.text
    [one] = await listed(force, made)
    assert (one["state"], one["chases"]) == ("withdrawn", 1)
    page = await browser.get(address)
    assert f"/consents/{one['id']}/chase" not in page.text
    assert "Reminded of the consent asked for" in page.text
    assert (await browser.get(f"/consents/{one['id']}/chase")).status_code == 409
    stranger = await signed_in(cast, "TITAN")
    for deed in ("chase", "withdraw"):
        assert (await stranger.get(f"/consents/{one['id']}/{deed}")).status_code == 404
        assert (await stranger.post(f"/consents/{one['id']}/{deed}")).status_code == 404
