"""Why somebody reads: stated by whoever wants to, asked of the roles that the operator names, kept in the log."""

import pytest

from app.access.policy import Role
from app.access.purposes import StatedPurpose, roles_asked
from app.db import Database
from app.settings import Settings, SettingsError
from tests.acts import Document, dispatched, rows, slug, submitted
from tests.conftest import Cast, Workers, gateway

WHY = {"GAIN-Purpose": "safeguarding"}


async def logged(database: Database, action: str) -> list[Document]:
    """The events of this kind, oldest first."""
    return await rows(
        database,
        "SELECT operation, detail, recipients FROM audit_event WHERE action = :action ORDER BY id",
        action=action,
    )


async def test_a_stated_purpose_stands_in_the_log_with_each_kind_of_reading(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, [made] = await dispatched(cast, workers, "HMRC")
    for path in ("", "/responses", "/events", "/product"):
        answer = await force.get(f"/v1/referrals/{made['id']}{path}", headers=WHY)
        assert answer.status_code == 200, answer.text
    await force.get("/v1/referrals", headers=WHY)
    for action in ("referral.read", "responses.read", "referral.timeline_read", "product.read", "referrals.listed"):
        [event] = await logged(database, action)
        assert event["detail"]["purpose"] == "safeguarding", action


async def test_nobody_must_state_a_purpose_unless_the_operator_says_so(cast: Cast, database: Database) -> None:
    force = await cast.play("SWP")
    made = await submitted(force)
    assert (await force.get(f"/v1/referrals/{made['id']}")).status_code == 200
    [event] = await logged(database, "referral.read")
    assert event["detail"] is None


async def test_a_role_that_must_state_it_is_refused_without_and_others_are_not(
    configuration: Settings, database: Database
) -> None:
    async with gateway(configuration, database, purpose_roles="coordinator, national") as cast:
        force, coordinator, stranger = await cast.play("SWP"), await cast.play("TARIAN"), await cast.play("TITAN")
        path = f"/v1/referrals/{(await submitted(force))['id']}"
        assert (await force.get(path)).status_code == 200
        refused = await coordinator.get(path)
        assert (refused.status_code, slug(refused)) == (400, "purpose-required")
        assert (await coordinator.get(path, headers=WHY)).status_code == 200
        assert (await stranger.get(path, headers=WHY)).status_code == 404
        assert (await coordinator.get("/v1/queues")).status_code == 200  # shows nothing of anybody
    assert [event["detail"] for event in await logged(database, "referral.read")] == [None, {"purpose": "safeguarding"}]


async def test_a_deed_is_no_way_around_saying_why_one_reads(configuration: Settings, database: Database) -> None:
    """What is answered with the referral asks for the purpose as a read does, before anything is changed."""
    async with gateway(configuration, database, purpose_roles="coordinator, originator") as cast:
        force, coordinator = await cast.play("SWP"), await cast.play("TARIAN")
        path = f"/v1/referrals/{(await submitted(force))['id']}"
        for who, deed in ((coordinator, "hold"), (force, "cancel")):
            for key in ({}, {"Idempotency-Key": deed}):
                refused = await who.post(f"{path}/{deed}", json={"reason": "Wait."}, headers=key)
                assert (refused.status_code, slug(refused)) == (400, "purpose-required")
        assert [row["state"] for row in await rows(database, "SELECT state FROM referral")] == ["accepted"]
        assert await logged(database, "referral.read") == []
        for who, deed in ((coordinator, "hold"), (force, "cancel")):
            for replay in (False, True):
                answer = await who.post(
                    f"{path}/{deed}", json={"reason": "Wait."}, headers={**WHY, "Idempotency-Key": deed}
                )
                assert answer.status_code == 200, answer.text
                assert ("idempotent-replayed" in answer.headers) is replay
    looks = await logged(database, "referral.read")
    assert [event["detail"] for event in looks] == [{"purpose": "safeguarding"}] * 4


async def test_a_submission_asks_no_purpose_beside_its_own_and_its_replay_is_logged_as_a_look(
    configuration: Settings, database: Database
) -> None:
    async with gateway(configuration, database, purpose_roles="originator") as cast:
        force, key = await cast.play("SWP"), {"Idempotency-Key": "once"}
        first = await submitted(force, headers=key)
        assert await logged(database, "referral.read") == []
        assert (await submitted(force, headers=key))["id"] == first["id"]
    assert [event["operation"] for event in await logged(database, "referral.read")] == ["consultation"]


async def test_a_role_that_may_not_read_hears_that_before_it_is_asked_why(
    configuration: Settings, database: Database
) -> None:
    async with gateway(configuration, database, purpose_roles="agency") as cast:
        agency = await cast.play("HMRC")
        assert (await agency.get("/v1/referrals")).status_code == 403


async def test_a_purpose_that_is_no_code_is_refused_and_not_repeated(cast: Cast, database: Database) -> None:
    force = await cast.play("SWP")
    made = await submitted(force)
    answer = await force.get(f"/v1/referrals/{made['id']}", headers={"GAIN-Purpose": "looking for Quill"})
    assert (answer.status_code, slug(answer)) == (422, "invalid-parameter")
    assert "Quill" not in answer.text
    assert all(code in answer.text for code in StatedPurpose)
    assert await logged(database, "referral.read") == []


async def test_a_look_that_finds_nothing_is_logged(cast: Cast, database: Database) -> None:
    force = await cast.play("SWP")
    made = await submitted(force)
    await force.get("/v1/referrals", params={"state": "completed"})
    await force.get(f"/v1/referrals/{made['id']}/responses")
    assert [event["detail"] for event in await logged(database, "referrals.listed")] == [{"ids": []}]
    assert [event["operation"] for event in await logged(database, "responses.read")] == ["consultation"]


async def test_reading_an_item_again_names_who_was_shown_it(cast: Cast, workers: Workers, database: Database) -> None:
    await dispatched(cast, workers, "HMRC")
    agency = await cast.play("HMRC")
    await agency.get("/v1/inbox")
    await agency.get("/v1/inbox")
    [event] = await logged(database, "inbox.read")
    assert event["recipients"] == ["HMRC"]


def test_the_setting_names_roles_and_nothing_else() -> None:
    assert roles_asked("") == frozenset()
    assert roles_asked("coordinator,auditor") == {Role.COORDINATOR, Role.AUDITOR}
    with pytest.raises(SettingsError, match="GAIN_PURPOSE_ROLES"):
        roles_asked("policeman")
