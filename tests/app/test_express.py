"""The short way to the busiest routes: nobody can tell it from the ordinary one, but by its speed."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from app.main import create_app
from app.settings import Settings
from app.wake import Nobody
from app.web.express import Express
from tests.conftest import Cast, referral


@pytest.fixture
def application(configuration: Settings) -> FastAPI:
    return create_app(configuration, Nobody())


def test_submitting_and_polling_have_a_short_way(application: FastAPI) -> None:
    [lanes] = [each.kwargs["lanes"] for each in application.user_middleware if vars(each)["cls"] is Express]
    assert isinstance(lanes, dict)
    assert set(lanes) == {("POST", "/v1/referrals"), ("GET", "/v1/inbox")}


async def test_a_body_that_is_not_in_order_is_refused_with_its_faults(cast: Cast) -> None:
    force = await cast.play("SWP")
    refused = await force.post("/v1/referrals", json=referral(purpose="", colour="red"))
    assert refused.status_code == 422
    assert {error["pointer"] for error in refused.json()["errors"]} == {"/purpose", "/colour"}


async def test_a_submission_in_pieces_is_taken_whole(cast: Cast) -> None:
    force = await cast.play("SWP")
    whole = httpx.Request("POST", "http://gain.test/v1/referrals", json=referral()).content

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(whole), 100):
            yield whole[start : start + 100]

    made = await force.post("/v1/referrals", content=pieces(), headers={"content-type": "application/json"})
    assert made.status_code == 201
    shown = (await force.get(made.headers["location"])).json()
    assert shown["purpose"] == referral()["purpose"]


async def test_an_idempotency_key_that_is_none_is_refused(cast: Cast) -> None:
    force = await cast.play("SWP")
    refused = await force.post("/v1/referrals", json=referral(), headers={"idempotency-key": "k" * 256})
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == ["header/idempotency-key"]


async def test_a_poll_with_a_query_that_makes_no_sense_is_refused(cast: Cast) -> None:
    agency = await cast.play("HMRC")
    assert (await agency.get("/v1/inbox?limit=0")).status_code == 422


async def test_the_wrong_method_is_told_so(cast: Cast) -> None:
    agency = await cast.play("HMRC")
    assert (await agency.put("/v1/inbox")).status_code == 405
