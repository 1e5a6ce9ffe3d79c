"""The consolidated product, through HTTP: whom it is for, in which form, and that its reading is logged."""

import asyncio
import io
from typing import Any

import httpx
import psutil
import pytest
from pypdf import PdfReader
from sqlalchemy import text

from app.db import Database
from app.errors import Problem
from app.intake.product_views import ProductView
from app.reporting.sheet import Section, Sheet
from app.reporting.sheets import Press, for_press
from tests.conftest import HIT, Cast, Workers, referral


async def answered(cast: Cast, workers: Workers, force: httpx.AsyncClient) -> str:
    """The id of a referral that HMRC has answered and EA has not."""
    made = (await force.post("/v1/referrals", json=referral())).json()
    await workers.run()
    agency = await cast.play("HMRC")
    [item] = (await agency.get("/v1/inbox")).json()["items"]
    response = {**HIT, "onward_disclosure": "consent_required"}
    assert (await agency.post(f"/v1/inbox/{item['id']}/response", json=response)).status_code == 201
    return str(made["id"])


async def disclosures(database: Database) -> list[tuple[Any, ...]]:
    """How reading products was logged."""
    statement = text("SELECT operation, recipients, detail FROM audit_event WHERE action = 'product.read' ORDER BY id")
    async with database.transaction() as connection:
        return [tuple(row) for row in await connection.execute(statement)]


async def test_the_originator_reads_what_was_found_and_who_is_outstanding(cast: Cast, workers: Workers) -> None:
    force = await cast.play("SWP")
    answer = await force.get(f"/v1/referrals/{await answered(cast, workers, force)}/product")
    assert answer.status_code == 200
    product = answer.json()
    shown = ProductView.model_validate(product, extra="forbid").model_dump(mode="json", exclude_unset=True)
    assert shown == product
    assert product["totals"]["asked"] == 2
    [group] = product["findings"]
    assert group["facts"][0]["text"] == "CX14 ABC, a grey van."
    assert product["consent_required_from"] == ["HMRC"]
    assert [one["agency"] for one in product["outstanding"]] == ["EA"]


async def test_each_reading_is_one_disclosure_in_the_log(cast: Cast, workers: Workers, database: Database) -> None:
    force = await cast.play("SWP")
    id_ = await answered(cast, workers, force)
    product = (await force.get(f"/v1/referrals/{id_}/product")).json()
    told = {"ids": [product["answers"][0]["response_id"]]}
    assert await disclosures(database) == [("disclosure", ["SWP"], {**told, "form": "application/json"})]
    await (await cast.play("TARIAN")).get(f"/v1/referrals/{id_}/product")
    assert [entry[1] for entry in await disclosures(database)] == [["SWP"], ["TARIAN"]]


async def test_a_product_of_several_bodies_answers_is_a_combination_too(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """DPA 2018 section 62(1)(e): what two bodies said of a subject is put together."""
    force = await cast.play("SWP")
    id_ = await answered(cast, workers, force)
    path = f"/v1/referrals/{id_}/product"
    combined = text("SELECT operation, recipients, detail FROM audit_event WHERE action = 'product.combined'")
    await force.get(path)
    async with database.transaction() as connection:
        assert (await connection.execute(combined)).all() == []
    agency = await cast.play("EA")
    [item] = (await agency.get("/v1/inbox")).json()["items"]
    assert (await agency.post(f"/v1/inbox/{item['id']}/response", json={"outcome": "no_hit"})).status_code == 201
    product = (await force.get(path, headers={"GAIN-Purpose": "investigation"})).json()
    async with database.transaction() as connection:
        [event] = (await connection.execute(combined)).all()
    told = [answer["response_id"] for answer in product["answers"]]
    assert len(told) == 2
    assert tuple(event) == ("combination", None, {"ids": told, "of": ["EA", "HMRC"], "purpose": "investigation"})
    assert [entry[0] for entry in await disclosures(database)] == ["disclosure", "disclosure"]
    timeline = (await force.get(f"/v1/referrals/{id_}/events")).json()["items"]
    assert "product.combined" not in {event["event"] for event in timeline}


async def test_before_anything_is_answered_reading_it_discloses_nothing(cast: Cast, database: Database) -> None:
    force = await cast.play("SWP")
    made = (await force.post("/v1/referrals", json=referral())).json()
    assert (await force.get(f"/v1/referrals/{made['id']}/product")).status_code == 200
    assert [entry[0] for entry in await disclosures(database)] == ["consultation"]


@pytest.mark.parametrize(("party", "status"), [("GWP", 404), ("TITAN", 404), ("HMRC", 403), ("TARIAN", 200)])
async def test_it_is_for_the_originator_and_its_co_ordinators(cast: Cast, party: str, status: int) -> None:
    made = (await (await cast.play("SWP")).post("/v1/referrals", json=referral())).json()
    answer = await (await cast.play(party)).get(f"/v1/referrals/{made['id']}/product")
    assert answer.status_code == status


@pytest.mark.parametrize("accept", ["image/png", "application/json;q=0", "application/xml, text/plain"])
async def test_a_form_that_is_not_made_is_refused_and_nothing_is_disclosed(
    cast: Cast, database: Database, accept: str
) -> None:
    force = await cast.play("SWP")
    made = (await force.post("/v1/referrals", json=referral())).json()
    answer = await force.get(f"/v1/referrals/{made['id']}/product", headers={"Accept": accept})
    assert (answer.status_code, answer.json()["type"]) == (406, "/problems/not-acceptable")
    assert "application/pdf" in answer.json()["detail"]
    assert await disclosures(database) == []


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
        ("application/pdf", "application/pdf"),
        ("application/json;q=0.5, application/pdf;q=0.9, text/html;q=0.1", "application/pdf"),
        ("text/*, application/pdf;q=0.2", "text/html; charset=utf-8"),
    ],
)
async def test_accept_chooses_the_form(cast: Cast, accept: str, form: str) -> None:
    force = await cast.play("SWP")
    made = (await force.post("/v1/referrals", json=referral())).json()
    answer = await force.get(f"/v1/referrals/{made['id']}/product", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, form)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["vary"] == "Accept"


async def test_the_pdf_is_a_file_named_by_the_reference_with_all_that_was_found(cast: Cast, workers: Workers) -> None:
    force = await cast.play("SWP")
    id_ = await answered(cast, workers, force)
    answer = await force.get(f"/v1/referrals/{id_}/product", headers={"Accept": "application/pdf"})
    assert answer.headers["content-disposition"] == 'attachment; filename="GAIN-2026-000001.pdf"'
    reader = PdfReader(io.BytesIO(answer.content))
    text = " ".join(" ".join(page.extract_text() for page in reader.pages).split())
    for said in (
        "OFFICIAL-SENSITIVE",
        "CX14 ABC, a grey van.",
        "Grading 1A",
        "without the consent of",
        "Copy for South Wales",
    ):
        assert said in text
    assert all("OFFICIAL-SENSITIVE" in page.extract_text() for page in reader.pages)


HOSTILE = (
    '<script>alert(1)</script><img src=x onerror=alert(1)> {{ 7*7 }} #panic() #read("/etc/passwd") $x$ *b* '
    "\u202etxt.exe \u4e2d\U0001f600 </article></main> &lt; javascript:alert(1) " + "A" * 300
)


async def test_an_answer_that_is_meant_to_harm_is_shown_as_it_was_written(cast: Cast, workers: Workers) -> None:
    force = await cast.play("SWP")
    made = (await force.post("/v1/referrals", json=referral(purpose=HOSTILE[:1_900], addressees=["HMRC"]))).json()
    await workers.run()
    agency = await cast.play("HMRC")
    [item] = (await agency.get("/v1/inbox")).json()["items"]
    said = {**HIT, "summary": HOSTILE, "contact": HOSTILE[:190], "facts": [{"kind": "other", "text": HOSTILE}]}
    assert (await agency.post(f"/v1/inbox/{item['id']}/response", json=said)).status_code == 201
    path = f"/v1/referrals/{made['id']}/product"
    page = await force.get(path, headers={"Accept": "text/html"})
    assert page.headers["content-disposition"] == 'inline; filename="GAIN-2026-000001.html"'
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
    assert "<img" not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "{{ 7*7 }}" in page.text
    assert page.text.count("</main>") == 1
    pdf = await force.get(path, headers={"Accept": "application/pdf"})
    assert pdf.status_code == 200
    text = " ".join(" ".join(one.extract_text() for one in PdfReader(io.BytesIO(pdf.content)).pages).split())
    for written in ("<script>alert(1)</script>", "#panic()", '#read("/etc/passwd")', "[U+202E]txt.exe", "[U+4E2D]"):
        assert text.count(written) >= 3, written


async def test_each_form_is_logged_as_its_own_reading(cast: Cast, workers: Workers, database: Database) -> None:
    force = await cast.play("SWP")
    id_ = await answered(cast, workers, force)
    for form in ("text/html", "application/pdf"):
        await force.get(f"/v1/referrals/{id_}/product", headers={"Accept": form})
    logged = await disclosures(database)
    assert [(entry[0], entry[1], entry[2]["form"]) for entry in logged] == [
        ("disclosure", ["SWP"], "text/html"),
        ("disclosure", ["SWP"], "application/pdf"),
    ]


@pytest.mark.parametrize("accept", ["text/html", "application/pdf"])
@pytest.mark.parametrize(("party", "status"), [("GWP", 404), ("TITAN", 404), ("HMRC", 403), ("TARIAN", 200)])
async def test_no_form_of_it_is_for_anybody_else(cast: Cast, party: str, status: int, accept: str) -> None:
    made = (await (await cast.play("SWP")).post("/v1/referrals", json=referral())).json()
    answer = await (await cast.play(party)).get(f"/v1/referrals/{made['id']}/product", headers={"Accept": accept})
    assert answer.status_code == status
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_product_too_large_for_paper_is_refused_before_anything_is_disclosed(
    cast: Cast, workers: Workers, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    force = await cast.play("SWP")
    id_ = await answered(cast, workers, force)
    monkeypatch.setattr("app.reporting.sheets.MOST_BYTES", 2_000)
    answer = await force.get(f"/v1/referrals/{id_}/product", headers={"Accept": "application/pdf"})
    assert (answer.status_code, answer.json()["type"]) == (406, "/problems/not-acceptable")
    assert await disclosures(database) == []
    assert (await force.get(f"/v1/referrals/{id_}/product")).status_code == 200


async def test_a_pdf_that_takes_too_long_is_given_up_and_its_process_ended() -> None:
    """As large as is taken: no PDF of that is made in a twentieth of a second."""
    whole = Sheet("A", "GAIN-2026-000001", "OFFICIAL", [], [Section("B", "words " * 160_000)], "C")
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(Problem) as refusal:
        await Press(seconds=0.05).pdf(for_press(whole))
    assert refusal.value.kind.status == 503
    assert {child.pid for child in psutil.Process().children()} <= before


async def test_while_a_pdf_is_made_the_gateway_answers_others(cast: Cast, workers: Workers) -> None:
    force = await cast.play("SWP")
    id_ = await answered(cast, workers, force)
    drawing = asyncio.create_task(
        force.get(f"/v1/referrals/{id_}/product", headers={"Accept": "application/pdf"}, timeout=20)
    )
    other, asked = await cast.play("SWP"), 0
    while not drawing.done():
        assert (await other.get("/health/live")).status_code == 200
        asked += 1
        await asyncio.sleep(0.002)  # what is asked of an application in this process never lets go of it
    assert (await drawing).status_code == 200
    assert asked > 3
