"""The consolidated product, through HTTP: whom it is for, in which form, and that its reading is logged."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.db import Database
from app.intake.product_views import ProductView
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


@pytest.mark.parametrize("accept", ["application/pdf", "text/html", "application/json;q=0"])
async def test_a_form_that_is_not_made_yet_is_refused_and_nothing_is_disclosed(
    cast: Cast, database: Database, accept: str
) -> None:
    force = await cast.play("SWP")
    made = (await force.post("/v1/referrals", json=referral())).json()
    answer = await force.get(f"/v1/referrals/{made['id']}/product", headers={"Accept": accept})
    assert (answer.status_code, answer.json()["type"]) == (406, "/problems/not-acceptable")
    assert "HTML and PDF" in answer.json()["detail"]
    assert await disclosures(database) == []
