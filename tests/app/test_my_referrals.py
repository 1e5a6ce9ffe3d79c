"""A force's own referrals as pages: its list, one of them, the reply, the way back, the outcome; nobody else's."""

import re
from typing import Any

import httpx
import pytest

from app.db import Database
from tests.acts import change, rows
from tests.app import people
from tests.browser import forms, send, signed_in, submit
from tests.conftest import HIT, Cast, Workers, referral


async def submitted(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    """A referral just accepted."""
    answer = await client.post("/v1/referrals", json=referral(**changes))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def item_of(agency: httpx.AsyncClient, reference: str) -> str:
    """The id of an agency's item, which it has read by that."""
    items = (await agency.get("/v1/inbox")).json()["items"]
    return str(next(item["id"] for item in items if item["reference"] == reference))


async def responded(agency: httpx.AsyncClient, reference: str, **body: Any) -> None:
    """An agency's answer or question."""
    answer = await agency.post(f"/v1/inbox/{await item_of(agency, reference)}/response", json=body)
    assert answer.status_code == 201, answer.text


@pytest.fixture
async def asked(cast: Cast, workers: Workers) -> dict[str, Any]:
    """A referral of South Wales that HMRC has found something for and the Environment Agency asks about."""
    found = await submitted(await cast.play("SWP"))
    await workers.run()
    await responded(await cast.play("HMRC"), found["reference"], **HIT, onward_disclosure="consent_required")
    await responded(
        await cast.play("EA"), found["reference"], outcome="more_information", summary="Which plot on Heol y Mynydd?"
    )
    return found


async def test_the_list_says_how_far_the_answers_are_and_what_needs_the_force(
    cast: Cast, asked: dict[str, Any]
) -> None:
    newer = await submitted(
        await cast.play("SWP"),
        subject={"kind": "organisation", "name": "Corbel Haulage Limited"},
        **dict.fromkeys(("operation_name", "ocg", "contact", "information_sought", "warnings", "client_reference")),
    )
    browser = await signed_in(cast, "SWP")
    page = (await browser.get("/my-referrals")).text
    assert page.index(newer["reference"]) < page.rindex(asked["reference"])  # newest first
    assert "1 of 2 answered, 1 hit" in page
    assert "Corbel Haulage Limited" in page
    assert "Corbel Haulage Limited" in (await browser.get(f"/my-referrals/{newer['id']}")).text
    assert f'href="/my-referrals/{asked["id"]}/reply?agency=EA">Reply to EA about {asked["reference"]}' in page
    assert page.count("OFFICIAL-SENSITIVE") >= 1


async def test_filters_stand_in_the_address_and_narrow_the_list(
    cast: Cast, asked: dict[str, Any], workers: Workers
) -> None:
    dwp = await submitted(await cast.play("SWP"), addressees=["DWP"])
    browser = await signed_in(cast, "SWP")

    async def shown(query: str) -> set[str]:
        page = await browser.get(f"/my-referrals?{query}")
        assert page.status_code == 200, page.text
        return set(re.findall(r'<th scope="row"[^>]*><a[^>]*>(GAIN-[0-9-]+)</a>', page.text))

    assert await shown("state=&agency=") == {asked["reference"], dwp["reference"]}
    assert await shown("state=accepted") == {dwp["reference"]}
    assert await shown("agency=EA") == {asked["reference"]}
    assert await shown("asked=true") == {asked["reference"]}
    assert await shown("mine=true") == set()
    assert (await browser.get("/my-referrals?state=lost")).status_code == 422


async def test_mine_are_those_that_i_submitted_and_not_my_colleagues(cast: Cast, database: Database) -> None:
    browser, someone = await people.signed_in(cast, database, "SWP", username="ceri@swp.example")
    others, own = await submitted(await cast.play("SWP")), await submitted(await cast.play("SWP"))
    await change(
        database, "UPDATE referral SET created_by = :me WHERE reference = :it", me=someone.id, it=own["reference"]
    )
    assert others["reference"] in (await browser.get("/my-referrals")).text
    page = (await browser.get("/my-referrals?mine=true")).text
    assert own["reference"] in page
    assert others["reference"] not in page


async def test_a_long_list_is_read_page_by_page(cast: Cast) -> None:
    client = await cast.play("SWP")
    made = [(await submitted(client))["reference"] for _ in range(23)]
    browser = await signed_in(cast, "SWP")
    first = (await browser.get("/my-referrals?state=accepted")).text
    older = re.search(r'href="(/my-referrals\?state=accepted&amp;cursor=[^"]+)"', first)
    assert older is not None
    second = (await browser.get(older[1].replace("&amp;", "&"))).text
    seen = [re.findall(r'<th scope="row"[^>]*><a[^>]*>(GAIN-[0-9-]+)</a>', page) for page in (first, second)]
    assert seen[0] + seen[1] == made[::-1]
    assert (await browser.get(older[1].replace("&amp;", "&").replace("accepted", "held"))).status_code == 400


async def test_a_referral_shows_its_answers_with_grading_and_handling_and_every_look_is_logged(
    cast: Cast, database: Database, asked: dict[str, Any]
) -> None:
    browser = await signed_in(cast, "SWP")
    page = (await browser.get(f"/my-referrals/{asked['id']}")).text
    for words in (
        "Quill, Rhys Alun",
        "CX14 ABC, a grey van.",
        "Grading 1A: reliable, known directly to the source",
        "Handling P, lawful sharing permitted",
        "Not to go further without the consent of",
        "Which plot on Heol y Mynydd?",
        "HMRC answered: hit",
        "EA asked a question",
        "Common law policing purpose".lower(),
    ):
        assert words in page, words
    logged = await rows(
        database,
        "SELECT operation, action FROM audit_event WHERE action ~ 'read$' AND party = 'SWP' ORDER BY id",
    )
    assert [(one["operation"], one["action"]) for one in logged] == [
        ("consultation", "referral.read"),
        ("consultation", "referral.timeline_read"),
        ("disclosure", "responses.read"),
    ]


async def test_a_colleague_sees_it_and_neither_a_strange_force_nor_the_agency_asked_does(
    cast: Cast, asked: dict[str, Any]
) -> None:
    parts = ("", "/reply", "/cancel", "/outcome", "/product", "/product.pdf")
    colleague, stranger, agency = [await signed_in(cast, party) for party in ("SWP", "GWP", "HMRC")]
    for part in parts[:5]:
        assert (await colleague.get(f"/my-referrals/{asked['id']}{part}")).status_code == 200, part
    for part in parts:
        assert (await stranger.get(f"/my-referrals/{asked['id']}{part}")).status_code == 404, part
        assert (await agency.get(f"/my-referrals/{asked['id']}{part}")).status_code == 403, part
    assert asked["reference"] not in (await stranger.get("/my-referrals")).text
    for path, fields in (("reply", {"agency": "EA", "text": "No."}), ("cancel", {"reason": "No."}), ("outcome", {})):
        answer = await stranger.post(f"/my-referrals/{asked['id']}/{path}", data=fields)
        assert answer.status_code == 404, path


async def test_a_question_is_replied_to_once_however_often_the_form_is_sent(
    cast: Cast, database: Database, asked: dict[str, Any]
) -> None:
    browser = await signed_in(cast, "SWP")
    path = f"/my-referrals/{asked['id']}/reply"
    page = await browser.get(f"{path}?agency=EA")
    assert "Which plot on Heol y Mynydd?" in page.text
    refused = await send(browser, page, path, {"text": "  "})
    assert refused.status_code == 422
    assert "Enter what you want to say." in refused.text
    for _ in range(2):
        answer = await send(browser, page, path, {"text": "Plot 9, beside the old quarry."})
        assert (answer.status_code, answer.headers["location"]) == (303, f"/my-referrals/{asked['id']}")
    assert len(await rows(database, "SELECT id FROM message")) == 1
    page = await browser.get(f"/my-referrals/{asked['id']}")
    assert "Plot 9, beside the old quarry." in page.text
    assert "Reply to EA" not in page.text
    assert "No body waits for your reply." in (await browser.get(path)).text
    items = (await (await cast.play("EA")).get("/v1/inbox")).json()["items"]
    assert items[0]["messages"][-1]["text"] == "Plot 9, beside the old quarry."


async def test_only_a_body_that_asks_can_be_replied_to(
    cast: Cast, workers: Workers, database: Database, asked: dict[str, Any]
) -> None:
    desk, browser = await cast.play("TARIAN"), await signed_in(cast, "SWP")
    added = await desk.post(f"/v1/referrals/{asked['id']}/addressees", json={"addressees": ["DWP"]})
    assert added.status_code == 200, added.text
    path = f"/my-referrals/{asked['id']}/reply"
    page = await browser.get(path)
    assert [code for code in ("EA", "HMRC", "DWP") if f'value="{code}"' in page.text] == ["EA"]
    for agency in ("HMRC", "DWP"):
        refused = await send(browser, page, path, {"agency": agency, "text": "Is there news?"})
        assert refused.status_code == 409, refused.text
        assert "No question is open here" in refused.text
    assert await rows(database, "SELECT id FROM message") == []
    await responded(await cast.play("DWP"), asked["reference"], outcome="more_information", summary="Which plot?")
    sent = await send(browser, page, path, {"agency": "DWP", "text": "Is there news?"})
    assert sent.status_code == 303
    assert len(await rows(database, "SELECT id FROM message")) == 1


async def test_a_referral_is_cancelled_with_a_reason_and_not_without(cast: Cast, asked: dict[str, Any]) -> None:
    browser = await signed_in(cast, "SWP")
    path = f"/my-referrals/{asked['id']}/cancel"
    assert "Say why you cancel it." in (await submit(browser, path, {"reason": " "})).text
    answer = await submit(browser, path, {"reason": "The operation has ended."})
    assert answer.status_code == 303
    page = (await browser.get(answer.headers["location"])).text
    assert "The operation has ended." in page
    assert "Taken back from EA" in page
    assert "Cancel this referral" not in page
    assert (await browser.get(path)).headers["location"] == f"/my-referrals/{asked['id']}"


async def test_an_outcome_is_recorded_corrected_and_refused_beside_its_field(cast: Cast, asked: dict[str, Any]) -> None:
    browser = await signed_in(cast, "SWP")
    path = f"/my-referrals/{asked['id']}/outcome"
    wrong = await submit(browser, path, {"acted_on": "tomorrow", "arrests": "many", "assets_frozen": "a lot"})
    assert wrong.status_code == 422
    for name in ("acted_on", "arrests", "assets_frozen"):
        assert f'id="{name}-error"' in wrong.text, name
    empty = await submit(browser, path, {"acted_on": "20 11 2026"})
    assert "eeds a figure, a disruption, a useful answer or a summary" in empty.text

    fields = {"acted_on": "20 11 2026", "arrests": "3", "drugs_quantity": "1,200", "drugs_value": "£45,000"}
    assert (await submit(browser, path, fields)).status_code == 303
    page = (await browser.get(f"/my-referrals/{asked['id']}")).text
    assert "Action of 20 November 2026" in page
    assert "Seized: drugs, 1200, £45000.00" in page
    again = re.search(rf'href="({path}\?replaces=[0-9a-f-]+)"', page)
    assert again is not None
    page_again = await browser.get(again[1])
    assert forms(page_again)[0].fields["arrests"] == "3"
    assert (await send(browser, page_again, path, {"arrests": "4"})).status_code == 303
    page = (await browser.get(f"/my-referrals/{asked['id']}")).text
    assert "was corrected" in page
    recorded = (await (await cast.play("SWP")).get(f"/v1/referrals/{asked['id']}/outcomes")).json()["items"]
    assert [one["arrests"] for one in recorded] == [3, 4]
    assert recorded[0]["replaced_by"] == recorded[1]["id"]
    assert (await browser.get(again[1])).status_code == 404  # it does not stand any more


async def test_the_product_is_read_and_downloaded_from_the_page(
    cast: Cast, database: Database, asked: dict[str, Any]
) -> None:
    browser = await signed_in(cast, "SWP")
    page = await browser.get(f"/my-referrals/{asked['id']}/product")
    assert page.headers["content-type"].startswith("text/html")
    assert "CX14 ABC, a grey van." in page.text
    file = await browser.get(f"/my-referrals/{asked['id']}/product.pdf")
    assert file.content.startswith(b"%PDF")
    assert file.headers["content-disposition"] == f'attachment; filename="{asked["reference"]}.pdf"'
    logged = await rows(database, "SELECT detail FROM audit_event WHERE action = 'product.read' ORDER BY id")
    assert [one["detail"]["form"] for one in logged] == ["text/html", "application/pdf"]


async def test_own_referrals_about_the_same_subject_are_named_and_no_other_forces(
    cast: Cast, asked: dict[str, Any]
) -> None:
    twin, foreign = await submitted(await cast.play("SWP")), await submitted(await cast.play("GWP"))
    browser = await signed_in(cast, "SWP")
    page = (await browser.get(f"/my-referrals/{asked['id']}")).text
    assert f'<a class="govuk-link" href="/my-referrals/{twin["id"]}">{twin["reference"]}</a>' in page
    assert foreign["reference"] not in page
