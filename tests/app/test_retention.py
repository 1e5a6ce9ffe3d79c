"""Retention through the doors: review dates, reviews and legal holds."""

from datetime import timedelta
from uuid import UUID

import pytest

from app import clock
from app.access.policy import Role
from app.db import Database
from app.retention import disposal, review
from app.retention.reference import rules
from app.retention.review import Decision, Refused
from app.retention.schedule import date_all
from tests import canary
from tests.acts import actions, change, dispatched, eventually, rows, slug, submitted
from tests.app.retention import KEY, WORD, Closed, age, body, closed, decided, disposed, due
from tests.conftest import Cast, Workers
from workers.dating import Dating

__all__ = ["closed"]


async def test_a_closed_referral_is_due_in_its_groups_year_and_not_before(closed: Closed, database: Database) -> None:
    assert await due(database) == []
    [row] = await due(database, days=366 * 11)
    assert (row["mopi_group"], row["state"], row["originator"], row["on_legal_hold"]) == (1, "completed", "SWP", False)
    assert row["review_on"].year == row["closed_at"].year + 10
    assert set(row) & {"subject", "content", "purpose"} == set()
    await age(database)
    [row] = await due(database)
    assert row["review_on"] <= clock.now().date()
    assert "retention.due" in await actions(database, "consultation")


async def test_the_scheduler_dates_what_has_ended_by_itself(closed: Closed, database: Database) -> None:
    dating = Dating(database)
    for _ in range(3):
        dating.tick()  # the first begins, and an hour passes until the next
    await eventually(lambda: rows(database, "SELECT * FROM retention"))
    await dating.close()
    shown = (await closed.region.get(f"/v1/referrals/{closed.id}/retention")).json()
    assert shown["group"] == 1
    assert int(shown["review_on"][:4]) == int(shown["closed_at"][:4]) + 10


async def test_what_cannot_be_opened_gets_no_guessed_group_and_stops_nobody_else(
    closed: Closed, cast: Cast, database: Database
) -> None:
    other = await submitted(closed.force)
    await closed.force.post(f"/v1/referrals/{other['id']}/cancel", json={"reason": "not needed"})
    await change(database, "UPDATE referral SET content = content || 'x' WHERE id = :id", id=UUID(closed.id))
    done = await date_all(database, rules())
    assert (done.dated, done.unopenable) == (1, 1)
    with pytest.raises(Refused, match="no review date"):
        await decided(database, closed.id, Decision(None, early=True))


async def test_what_is_open_has_no_review_date(cast: Cast, workers: Workers, database: Database) -> None:
    _, [made] = await dispatched(cast, workers, "HMRC")
    await age(database, 50)
    assert await due(database) == []
    with pytest.raises(Refused, match="still open"):
        await decided(database, made["id"], Decision(None, early=True))


async def test_a_cancelled_referral_is_reviewed_too(cast: Cast, database: Database) -> None:
    force = await cast.play("SWP")
    made = await submitted(force, crime_types=["fraud"], criterion="tasked_operation")
    await force.post(f"/v1/referrals/{made['id']}/cancel", json={"reason": "not needed"})
    await age(database, 7)
    [row] = await due(database)
    assert (row["state"], row["mopi_group"]) == ("cancelled", 3)


async def test_nothing_goes_without_a_review_however_old(closed: Closed, database: Database) -> None:
    await age(database, 60)
    assert len(await due(database)) == 1
    assert await disposed(database) == 0
    assert (await closed.force.get(f"/v1/referrals/{closed.id}")).json()["purpose"] == body()["purpose"]


async def test_before_its_date_a_reviewer_must_say_so(closed: Closed, database: Database) -> None:
    with pytest.raises(Refused, match="review date has not come"):
        await decided(database, closed.id)
    await decided(database, closed.id, Decision(None, early=True))
    [row] = await rows(database, "SELECT detail FROM audit_event WHERE action = 'retention.reviewed'")
    assert row["detail"] == {"dispose": True, "early": True}
    assert await disposed(database) == 1


async def test_a_review_keeps_it_until_another_day(closed: Closed, database: Database) -> None:
    await age(database)
    until = clock.now().date() + timedelta(400)
    with pytest.raises(Refused, match="has passed"):
        await decided(database, closed.id, Decision(clock.now().date()))
    await decided(database, closed.id, Decision(until))
    assert await due(database) == []
    [row] = await due(database, days=400)
    assert (row["review_on"], row["reviewed_at"] is None) == (until, False)
    await decided(database, closed.id, Decision(None, early=True))
    await decided(database, closed.id, Decision(until))  # thought better of it
    assert await disposed(database) == 0


async def test_newer_rules_move_what_was_not_reviewed_and_leave_what_was(
    closed: Closed, cast: Cast, database: Database
) -> None:
    other = await submitted(closed.force)
    await closed.force.post(f"/v1/referrals/{other['id']}/cancel", json={"reason": "not needed"})
    until = clock.now().date() + timedelta(400)
    await decided(database, closed.id, Decision(until))
    await date_all(database, rules())
    await change(database, "UPDATE retention SET release = 0, review_on = '2020-01-01', mopi_group = 4")
    done = await date_all(database, rules())
    assert (done.dated, done.unopenable) == (1, 0)
    found = await rows(database, "SELECT referral_id, mopi_group, release FROM retention ORDER BY referral_id")
    assert [(row["mopi_group"], row["release"]) for row in found] == [(4, 0), (1, 1)]


async def test_what_was_taken_up_again_is_not_disposed_of_by_an_earlier_decision(
    closed: Closed, workers: Workers, database: Database
) -> None:
    await decided(database, closed.id, Decision(None, early=True))
    again = await closed.region.post(f"/v1/referrals/{closed.id}/addressees", json={"addressees": ["DWP"]})
    assert again.json()["state"] == "in_progress"
    assert await disposed(database) == 0
    [fresh] = [one["id"] for one in again.json()["dispatches"] if one["agency"] == "DWP"]
    await closed.region.post(f"/v1/dispatches/{fresh}/cancel", json={"reason": "not needed"})
    assert await disposed(database) == 0
    async with database.transaction() as connection:
        kept = await review.standing(connection, UUID(closed.id))
    assert not kept.standing.decided
    await date_all(database, rules())
    assert await disposed(database) == 0
    [row] = await rows(database, "SELECT dispose, reviewed_at FROM retention")
    assert row == {"dispose": False, "reviewed_at": None}


async def test_a_legal_hold_stops_disposal_until_it_is_lifted(closed: Closed, database: Database) -> None:
    await decided(database, closed.id, Decision(None, early=True))
    why = {"reason": f"{WORD} has complained to the Commissioner"}
    held = await closed.region.post(f"/v1/referrals/{closed.id}/legal-hold", json=why, headers=KEY)
    assert held.status_code == 200, held.text
    again = await closed.region.post(f"/v1/referrals/{closed.id}/legal-hold", json=why, headers=KEY)
    assert again.headers["Idempotent-Replayed"] == "true"
    second = await closed.region.post(f"/v1/referrals/{closed.id}/legal-hold", json=why)
    assert (second.status_code, slug(second)) == (409, "state-conflict")
    shown = (await closed.region.get(f"/v1/referrals/{closed.id}/retention")).json()
    assert (shown["legal_hold"]["party"], shown["legal_hold"]["reason"]) == ("TARIAN", why["reason"])
    assert (shown["group"], shown["dispose"], shown["disposed_at"]) == (1, True, None)
    async with database.transaction() as connection:
        assert await disposal.disposable(connection) == 0
    assert await disposed(database) == 0
    with pytest.raises(Refused, match="legal hold"):
        await decided(database, closed.id, Decision(None, early=True))
    assert canary.search_texts([WORD], {"rows": str(await rows(database, "SELECT * FROM legal_hold"))}) == []
    lifted = await closed.region.post(f"/v1/referrals/{closed.id}/legal-hold/lift", json={"reason": "closed"})
    assert lifted.status_code == 200
    assert (await closed.region.post(f"/v1/referrals/{closed.id}/legal-hold/lift", json=why)).status_code == 409
    assert await disposed(database) == 1
    assert {"referral.legal_hold_set", "referral.legal_hold_lifted"} <= set(await actions(database, "alteration"))


@pytest.mark.parametrize(
    ("party", "role", "status"),
    [
        ("SWP", None, 403),  # the owner, and a colleague of its: an originator's key
        ("HMRC", None, 403),  # addressed
        ("GMP", None, 403),  # a stranger
        ("TITAN", Role.COORDINATOR, 404),  # another region
        ("GAIN", Role.AUDITOR, 403),
        ("GAIN", Role.ADMINISTRATOR, 403),
        ("TARIAN", Role.COORDINATOR, 200),
        ("GAIN", Role.NATIONAL, 200),
    ],
)
async def test_only_who_oversees_a_referral_holds_it_or_reads_how_long_it_is_kept(
    closed: Closed, cast: Cast, party: str, role: Role | None, status: int
) -> None:
    client = await cast.play(party, role)
    path = f"/v1/referrals/{closed.id}"
    assert (await client.get(f"{path}/retention")).status_code == status
    for deed in ("legal-hold", "legal-hold/lift"):
        assert (await client.post(f"{path}/{deed}", json={"reason": "a court asks"})).status_code == status
