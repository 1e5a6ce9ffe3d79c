"""Disposal through the doors: what is left of what was disposed of, and what is not."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from app import clock
from app.access.policy import Role
from app.db import Database
from app.errors import Problem
from app.intake.views import ReferralPage, TombstoneView
from app.retention import disposal, hold
from app.retention.review import Decision
from tests import canary
from tests.acts import change, eventually, inbox, rows, slug, submitted
from tests.app.retention import KEY, REVIEWER, WORD, Closed, body, closed, decided, disposed
from tests.conftest import HIT, Cast, Workers, referral
from tests.invariants import audit_tree_verifies, check

__all__ = ["closed"]


async def snapshot(database: Database) -> Mapping[str, list[str]]:
    """Every row of every table, as text; but for what the gateway writes down of itself now and then."""
    names = [
        row["tablename"] for row in await rows(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    ]
    return {
        name: [row["line"] for row in await rows(database, f"SELECT t::text AS line FROM {name} AS t ORDER BY 1")]  # noqa: S608
        for name in names
        if name not in ("agency_seen", "api_key", "heartbeat", "session")
    }


async def test_of_what_is_disposed_of_its_owner_reads_the_tombstone(
    closed: Closed, cast: Cast, workers: Workers, database: Database
) -> None:
    whole = await submitted(closed.force)
    await decided(database, closed.id, Decision(None, early=True))
    assert await disposed(database) == 1
    colleague, path = await cast.play("SWP"), f"/v1/referrals/{closed.id}"
    for client in (closed.force, colleague, closed.region, await cast.play("GAIN", Role.NATIONAL)):
        answer = await client.get(path)
        assert answer.status_code == 200
        left = TombstoneView.model_validate(answer.json())
        assert set(answer.json()) == set(TombstoneView.model_fields)
        assert (left.state, left.group, {one.agency for one in left.dispatches}) == ("completed", 1, {"HMRC", "EA"})
        page = (await client.get("/v1/referrals")).json()
        assert {one["id"] for one in page["items"]} == {closed.id, whole["id"]}
        assert [one["id"] for one in page["items"] if "disposed_at" in one] == [closed.id]
        ReferralPage.model_validate(page)
        for part in ("responses", "product"):
            gone = await client.get(f"{path}/{part}")
            assert (gone.status_code, slug(gone)) == (410, "disposed")
        told = [one["event"] for one in (await client.get(f"{path}/events")).json()["items"]]
        assert told[-1] == "referral.disposed"
    for party in ("GMP", "TITAN"):
        assert (await (await cast.play(party)).get(path)).status_code == 404
    shown = (await closed.region.get(f"{path}/retention")).json()
    assert (shown["group"], shown["disposed_at"] is None) == (1, False)
    assert (await closed.region.get("/v1/queues")).status_code == 200


async def test_nothing_is_done_to_what_was_disposed_of(closed: Closed, cast: Cast, database: Database) -> None:
    await decided(database, closed.id, Decision(None, early=True))
    await disposed(database)
    before = await snapshot(database)
    path, why = f"/v1/referrals/{closed.id}", {"reason": "once more"}
    asked = [
        (closed.force, f"{path}/cancel", why),
        (closed.force, f"{path}/messages", {"dispatch_id": closed.item, "text": "hello"}),
        *((closed.region, f"{path}/{deed}", why) for deed in ("hold", "reject", "legal-hold", "legal-hold/lift")),
        (closed.region, f"{path}/release", {}),
        (closed.region, f"{path}/addressees", {"addressees": ["DWP"]}),
        (closed.region, f"/v1/dispatches/{closed.item}/redeliver", {}),
        (closed.region, f"/v1/dispatches/{closed.item}/chase", {}),
        (closed.region, f"/v1/dispatches/{closed.other}/cancel", why),
        (closed.agency, f"/v1/inbox/{closed.item}/response", HIT),
        (closed.agency, f"/v1/inbox/{closed.item}/response", HIT | {"summary": "another"}),
    ]
    for client, address, sent in asked:
        answer = await client.post(address, json=sent)
        assert (answer.status_code, slug(answer)) == (410, "disposed"), address
    batch = {"items": [{"id": closed.item, **HIT}]}
    [result] = (await closed.agency.post("/v1/inbox/responses", json=batch)).json()["items"]
    assert (result["status"], result["problem"]) == (410, "disposed")
    assert await snapshot(database) == before


async def test_a_key_of_what_was_disposed_of_makes_no_second_referral(closed: Closed, database: Database) -> None:
    await decided(database, closed.id, Decision(None, early=True))
    await disposed(database)
    for sent in (body(), referral(purpose="something else")):
        answer = await closed.force.post("/v1/referrals", json=sent, headers=KEY)
        assert (answer.status_code, slug(answer)) == (410, "disposed")
    other = await submitted(closed.force)
    used = await closed.force.post(f"/v1/referrals/{other['id']}/cancel", json={"reason": "x"}, headers=KEY)
    assert (used.status_code, slug(used)) == (422, "idempotency-key-reused")
    assert (await rows(database, "SELECT count(*) AS number FROM referral"))[0]["number"] == 2


async def test_inboxes_go_on_with_disposed_items_in_them(
    closed: Closed, cast: Cast, workers: Workers, database: Database
) -> None:
    """One answered, one whose cancellation nobody has seen yet, and one that is open."""
    await submitted(closed.force, addressees=["HMRC", "EA"])
    await workers.run()
    await decided(database, closed.id, Decision(None, early=True))
    await disposed(database)
    answer = await closed.agency.get(f"/v1/inbox/{closed.item}")
    assert answer.status_code == 200
    assert set(answer.json()["referral"]) == {"id", "disposed_at"}
    assert answer.json()["messages"] == []
    answered = await inbox(closed.agency, state="answered")
    assert [set(one["referral"]) for one in answered] == [{"id", "disposed_at"}]
    assert [one["referral"]["purpose"] for one in await inbox(closed.agency)] == [referral()["purpose"]]
    addressed = await cast.play("EA")
    waiting = await inbox(addressed)
    assert [one["state"] for one in waiting] == ["cancelled", "delivered"]
    seen = await addressed.post(f"/v1/inbox/{closed.other}/acknowledgement")
    assert seen.status_code == 200
    assert len(await inbox(addressed)) == 1


async def test_disposal_leaves_no_trace_of_content_and_the_log_verifies(
    closed: Closed, cast: Cast, database: Database
) -> None:
    await closed.region.post(f"/v1/referrals/{closed.id}/legal-hold", json={"reason": f"{WORD} complained"})
    await closed.region.post(f"/v1/referrals/{closed.id}/legal-hold/lift", json={"reason": f"{WORD} agreed"})
    await submitted(closed.force)
    await audit_tree_verifies(database)
    mine = {"id": UUID(closed.id)}
    told = [
        *await rows(database, "SELECT wrapped FROM data_key WHERE referral_id = :id", **mine),
        *await rows(database, "SELECT digest FROM subject_index WHERE referral_id = :id", **mine),
        *await rows(database, "SELECT content, sameness FROM response WHERE referral_id = :id", **mine),
        *await rows(database, "SELECT content FROM message WHERE referral_id = :id", **mine),
        *await rows(database, "SELECT content FROM referral WHERE id = :id", **mine),
        *await rows(database, "SELECT sameness FROM submission WHERE referral_id = :id", **mine),
        *await rows(
            database,
            "SELECT sealed_reason FROM dispatch WHERE referral_id = :id AND sealed_reason IS NOT NULL",
            **mine,
        ),
        *await rows(
            database,
            "SELECT salt FROM audit_salt JOIN audit_event ON id = event_id WHERE audit_event.referral_id = :id",
            **mine,
        ),
    ]
    secrets = [value.hex() for row in told for value in row.values()]
    assert len(secrets) >= 12
    await decided(database, closed.id, Decision(None, early=True, reason=f"{WORD} has no further use"))
    found = str(await snapshot(database))
    assert [secret for secret in secrets if secret not in found] == []  # the search sees them while they are there
    assert await disposed(database) == 1
    found = str(await snapshot(database))
    shared = {row["digest"].hex() for row in await rows(database, "SELECT digest FROM subject_index")}
    assert [secret for secret in secrets if secret in found and secret not in shared] == []
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("VACUUM FULL"))
    assert canary.search_texts([WORD], {"every row": str(await snapshot(database))}) == []
    async with database.transaction() as connection:
        await check(connection)
    await audit_tree_verifies(database)
    erasures = await rows(
        database, "SELECT party, actor, referral_id, detail FROM audit_event WHERE operation = 'erasure'"
    )
    assert [(row["actor"], str(row["referral_id"]), row["detail"]["group"]) for row in erasures] == [
        (REVIEWER.name, closed.id, 1)
    ]


async def test_a_disposal_that_fails_half_way_leaves_everything(
    closed: Closed, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await decided(database, closed.id, Decision(None, early=True))
    for cut in range(1, len(disposal._ERASE) + 1):
        before = await snapshot(database)
        broken = (*disposal._ERASE[:cut], text("SELECT 1 / (0 * cardinality(CAST(:ids AS uuid[])))"))
        with monkeypatch.context() as patch:
            patch.setattr(disposal, "_ERASE", broken)
            with pytest.raises(Exception, match="division by zero"):
                await disposed(database)
        assert await snapshot(database) == before
    assert await disposed(database) == 1


async def test_a_run_goes_batch_by_batch_and_takes_only_what_was_decided(cast: Cast, database: Database) -> None:
    force = await cast.play("SWP")
    made = [await submitted(force) for _ in range(7)]
    for one in made[:6]:
        await force.post(f"/v1/referrals/{one['id']}/cancel", json={"reason": "not needed"})
    for one in made[:5]:
        await decided(database, one["id"], Decision(None, early=True))
    async with database.transaction() as connection:
        await hold.hold(connection, REVIEWER, UUID(made[2]["id"]), "a court asks")
        assert await disposal.disposable(connection) == 4
    told: list[int] = []

    def go_on(number: int) -> bool:
        told.append(number)
        return True

    assert await disposal.dispose_all(database, REVIEWER, None, lambda number: number < 2, batch=2) == 2
    assert await disposal.dispose_all(database, REVIEWER, None, go_on, batch=2) == 2
    assert told == [1, 2]
    found = await rows(database, "SELECT id FROM referral WHERE disposed_at IS NOT NULL ORDER BY id")
    assert [str(row["id"]) for row in found] == [made[index]["id"] for index in (0, 1, 3, 4)]
    assert await disposal.dispose_all(database, REVIEWER) == 0
    async with database.transaction() as connection:
        await check(connection)


_WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


async def _waits_for_a_lock(database: Database) -> bool:
    return bool(await rows(database, _WAITING))


@pytest.mark.parametrize("meanwhile", ["a legal hold", "an answer too late"])
async def test_what_comes_in_the_moment_of_disposal_is_before_it_or_after_it(
    closed: Closed, database: Database, meanwhile: str
) -> None:
    """The hold was first: it stays. The answer comes second: not even evidence is kept."""
    await decided(database, closed.id, Decision(None, early=True))
    if meanwhile == "a legal hold":
        async with database.transaction() as connection:
            await hold.hold(connection, REVIEWER, UUID(closed.id), "a court asks")
            run = asyncio.create_task(disposed(database))
            await eventually(lambda: _waits_for_a_lock(database))
        assert await run == 0
        assert (await closed.force.get(f"/v1/referrals/{closed.id}/product")).status_code == 200
        return
    async with database.transaction() as connection:
        gone = await disposal._dispose(connection, REVIEWER, [UUID(closed.id)])
        late = asyncio.create_task(
            closed.agency.post(f"/v1/inbox/{closed.item}/response", json=HIT | {"summary": f"{WORD} again"})
        )
        await eventually(lambda: _waits_for_a_lock(database))
    assert gone == 1
    assert slug(await late) == "disposed"
    async with database.transaction() as connection:
        await check(connection)


async def test_before_limits_a_run_to_earlier_review_dates(closed: Closed, database: Database) -> None:
    await decided(database, closed.id, Decision(None, early=True))
    today = clock.now().date()
    assert await disposal.dispose_all(database, REVIEWER, today) == 0
    assert await disposal.dispose_all(database, REVIEWER, today + timedelta(366 * 11)) == 1


async def test_the_database_itself_refuses_to_reopen_what_was_disposed_of(closed: Closed, database: Database) -> None:
    await decided(database, closed.id, Decision(None, early=True))
    await disposed(database)
    with pytest.raises(Exception, match="ck_referral_disposed"):
        await change(database, "UPDATE referral SET state = 'in_progress'")
    async with database.transaction() as connection:
        with pytest.raises(Problem) as refusal:
            await hold.hold(connection, REVIEWER, UUID(closed.id), "too late")
    assert refusal.value.kind.slug == "disposed"
