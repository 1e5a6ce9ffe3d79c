"""Whoever writes about a referral while it is disposed of writes nothing: no words, no key, on two real connections."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app.access.policy import Role
from app.access.principal import behalf_of
from app.audit.record import Actor
from app.crypto.vault import data_key
from app.db import AS_OWNER, Database
from app.errors import Problem
from app.referrals import answer_drafts, lifecycle, noted
from app.retention import disposal, review
from app.retention.reference import rules
from app.retention.review import Decision
from tests.acts import dispatched, eventually, inbox, rows
from tests.conftest import HIT, Cast, Workers

REVIEWER = Actor("GAIN", "operator tests")
REGION = (Actor("TARIAN", "tests"), behalf_of(Role.COORDINATOR, ("TARIAN",)))
AGENCY = (Actor("HMRC", "tests"), behalf_of(Role.AGENCY, ("HMRC",)))
WORDS = "Zzyxquill7 keeps a boat"

Deed = Callable[["Scene"], Awaitable[Any]]


class Scene:
    """A completed referral with an answer, one that contradicts it, and a consent that is asked for."""

    def __init__(self, database: Database, cast: Cast) -> None:
        self.database, self.cast = database, cast
        self.id = self.item = self.consent = ""

    async def play(self, workers: Workers) -> "Scene":
        self.force, [made] = await dispatched(self.cast, workers, "HMRC")
        self.agency = await self.cast.play("HMRC")
        [item] = await inbox(self.agency)
        self.id, self.item = made["id"], item["id"]
        address = f"/v1/inbox/{self.item}/response"
        answer = {**HIT, "onward_disclosure": "consent_required"}
        assert (await self.agency.post(address, json=answer)).status_code == 201
        assert (await self.agency.post(address, json={"outcome": "no_hit"})).status_code == 409  # kept, with an alert
        asked = await self.force.post(self.consents, json={"recipient": "GMP", "reason": "they search there"})
        self.consent = asked.json()["id"]
        return self

    @property
    def consents(self) -> str:
        return f"/v1/referrals/{self.id}/dispatches/{self.item}/consents"


async def _outcome(scene: Scene) -> Any:
    sent = {"acted_on": "2026-01-02", "arrests": 1, "summary": WORDS}
    return await scene.force.post(f"/v1/referrals/{scene.id}/outcome", json=sent)


async def _ask(scene: Scene) -> Any:
    return await scene.force.post(scene.consents, json={"recipient": "TITAN", "reason": WORDS})


async def _decide(scene: Scene) -> Any:
    sent = {"decision": "given", "conditions": WORDS}
    return await scene.agency.post(f"/v1/consents/{scene.consent}/decision", json=sent)


async def _answer(scene: Scene) -> Any:
    return await scene.agency.post(f"/v1/inbox/{scene.item}/response", json={**HIT, "summary": WORDS})


async def _legal_hold(scene: Scene) -> Any:
    region = await scene.cast.play("TARIAN")
    return await region.post(f"/v1/referrals/{scene.id}/legal-hold", json={"reason": WORDS})


async def _cancel(scene: Scene) -> Any:
    async with scene.database.transaction(REGION[1]) as connection:
        return await lifecycle.reject(connection, REGION[0], UUID(scene.id), WORDS)


async def _cancel_dispatch(scene: Scene) -> Any:
    async with scene.database.transaction(REGION[1]) as connection:
        return await lifecycle.cancel_dispatch(connection, REGION[0], UUID(scene.item), WORDS)


async def _hold(scene: Scene) -> Any:
    async with scene.database.transaction(REGION[1]) as connection:
        return await lifecycle.hold(connection, REGION[0], UUID(scene.id), WORDS)


async def _note(scene: Scene) -> Any:
    async with scene.database.transaction(REGION[1]) as connection:
        return await noted.note(connection, REGION[0], UUID(scene.id), UUID(scene.item), WORDS)


async def _draft(scene: Scene) -> Any:
    async with scene.database.transaction(AGENCY[1]) as connection:
        await answer_drafts.save(connection, AGENCY[0], UUID(scene.item), UUID(scene.id), {"summary": WORDS})


@pytest.mark.parametrize(
    "deed", [_outcome, _ask, _decide, _answer, _legal_hold, _cancel, _cancel_dispatch, _hold, _note, _draft]
)
async def test_what_is_written_while_a_referral_is_disposed_of_is_refused_and_leaves_nothing(
    deed: Deed, cast: Cast, workers: Workers, database: Database
) -> None:
    scene = await Scene(database, cast).play(workers)
    id = UUID(scene.id)
    async with database.transaction() as connection:
        await review.decide(connection, REVIEWER, rules(), id, Decision(None, early=True))
    async with database.transaction(AS_OWNER) as connection:
        await connection.execute(text("SELECT FROM referral WHERE id = :id FOR NO KEY UPDATE"), {"id": id})
        assert await disposal._dispose(connection, REVIEWER, [id]) == 1
        [mine] = await connection.scalars(text("SELECT pg_backend_pid()"))
        writing = asyncio.ensure_future(_done(deed, scene))
        await eventually(lambda: _waits_or_is_done(database, mine, writing))
        before = await _sealed(connection, id)
    assert await asyncio.wait_for(writing, 30) == 410
    async with database.transaction() as connection:
        assert await _sealed(connection, id) == before
    assert await rows(database, "SELECT wrapped FROM data_key WHERE referral_id = :id", id=id) == []


async def test_the_database_keeps_no_new_key_for_what_was_disposed_of(
    cast: Cast, workers: Workers, database: Database
) -> None:
    scene = await Scene(database, cast).play(workers)
    async with database.transaction() as connection:
        await review.decide(connection, REVIEWER, rules(), UUID(scene.id), Decision(None, early=True))
    assert await disposal.dispose_all(database, REVIEWER) == 1
    for _, behalf in (REGION, AGENCY):
        with pytest.raises(IntegrityError, match="gets no data key"):
            async with database.transaction(behalf) as connection:
                await data_key(connection, UUID(scene.id))


async def _done(deed: Deed, scene: Scene) -> int:
    """The status that a deed ends with."""
    try:
        answer = await deed(scene)
    except Problem as problem:
        return problem.kind.status
    return getattr(answer, "status_code", 200)


async def _waits_or_is_done(database: Database, mine: int, writing: "asyncio.Future[int]") -> bool:
    """Whether the writer has come to where this session stops it, or is through."""
    waiting = "SELECT pid FROM pg_stat_activity WHERE :mine = ANY(pg_blocking_pids(pid))"
    return writing.done() or bool(await rows(database, waiting, mine=mine))


async def _sealed(connection: Any, id: UUID) -> list[Any]:
    """All that is kept of what was written about a referral."""
    statement = """
        SELECT 'referral', id, sealed_reason FROM referral WHERE id = :id
        UNION ALL SELECT 'dispatch', id, sealed_reason FROM dispatch WHERE referral_id = :id
        UNION ALL SELECT 'alert', dispatch_id, sealed_reason FROM alert WHERE referral_id = :id
        UNION ALL SELECT 'outcome', id, sealed_summary FROM referral_outcome WHERE referral_id = :id
        UNION ALL SELECT 'response', id, content FROM response WHERE referral_id = :id
        UNION ALL SELECT 'message', id, content FROM message WHERE referral_id = :id
        UNION ALL SELECT 'asked', id, content FROM consent WHERE referral_id = :id
        UNION ALL SELECT 'decided', id, sealed_decision FROM consent WHERE referral_id = :id
        UNION ALL SELECT 'hold', referral_id, sealed_reason FROM legal_hold WHERE referral_id = :id
        UNION ALL SELECT 'draft', dispatch_id, content FROM answer_draft WHERE referral_id = :id
        ORDER BY 1, 2
    """
    return [tuple(row) for row in await connection.execute(text(statement), {"id": id})]
