"""What an older version stored is sealed, and keys change, while everything goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.crypto.rotation import BATCH, forget, usage, wrap_all
from app.crypto.sealing import Place
from app.crypto.vault import data_keys
from app.db import Database
from app.referrals import seal_earlier as sealing
from app.referrals.reasons import reason_of
from app.referrals.seal_earlier import seal_earlier
from app.settings import Settings
from tests import invariants
from tests.acts import dispatched, inbox, rows, submitted
from tests.app.encryption import (
    BOTH_RINGS,
    CANARY,
    MARKED,
    OTHER_RING,
    _tell_everything,
    a_whole_exchange,
    everything,
    gateway,
)
from tests.conftest import HIT, RING, Cast, Workers

__all__ = ["_tell_everything"]


# What an older version stored


@asynccontextmanager
async def lying_open(database: Database) -> AsyncIterator[None]:
    """All that is there as an older version left it: open, with no data key and no index."""
    async with database.transaction() as connection:
        keys = await data_keys(
            connection, [row.id for row in await connection.execute(text("SELECT id FROM referral"))]
        )
        for table, referral_id in (("referral", "id"), ("response", "referral_id"), ("message", "referral_id")):
            found = await connection.execute(text(f"SELECT id, {referral_id} AS referral, content FROM {table}"))  # noqa: S608
            for row in found.all():
                plain = keys[row.referral].open(Place(table, "content", row.id), row.content)
                await connection.execute(
                    text(f"UPDATE {table} SET content = :plain, sealed = false WHERE id = :id"),  # noqa: S608
                    {"plain": plain, "id": row.id},
                )
        for table, column, referral_id in (("referral", "reason", "id"), ("dispatch", "ended_because", "referral_id")):
            found = await connection.execute(
                text(
                    f"SELECT id, {referral_id} AS referral, sealed_reason FROM {table} "  # noqa: S608
                    "WHERE sealed_reason IS NOT NULL"
                )
            )
            for row in found.all():
                reason = keys[row.referral].open(reason_of(table, row.id), row.sealed_reason).decode()
                await connection.execute(
                    text(f"UPDATE {table} SET {column} = :plain, sealed_reason = NULL WHERE id = :id"),  # noqa: S608
                    {"plain": reason, "id": row.id},
                )
        await connection.execute(text("DELETE FROM data_key"))
        await connection.execute(text("DELETE FROM subject_index"))
    yield


Shown = dict[str, Any]


async def shown(force: httpx.AsyncClient, key: str) -> Shown:
    return {path: (await force.get(f"/v1/referrals/{key}{path}")).json() for path in ("", "/responses")}


async def test_what_an_older_version_stored_is_read_and_then_sealed(
    cast: Cast, workers: Workers, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "BATCH", 2)
    force, key = await a_whole_exchange(cast, workers)
    for _ in range(4):
        await submitted(force, **MARKED)
    before, indexed = await shown(force, key), await rows(database, "SELECT * FROM subject_index ORDER BY 1, 2")
    async with lying_open(database):
        assert CANARY in await everything(database)
        assert await shown(force, key) == before

    ended = []

    def end(done: int) -> None:
        ended.append(done)
        if len(ended) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await seal_earlier(database, end)
    assert await shown(force, key) == before
    assert CANARY in await everything(database)
    rest = await seal_earlier(database, lambda done: None)
    assert rest == 5 + 2 + 1 + 1 - 4
    assert CANARY not in await everything(database)
    assert await shown(force, key) == before
    assert await rows(database, "SELECT * FROM subject_index ORDER BY 1, 2") == indexed
    assert await seal_earlier(database, lambda done: None) == 0
    async with database.transaction() as connection:
        await invariants.check(connection)


async def test_what_lies_open_can_still_be_answered(cast: Cast, workers: Workers, database: Database) -> None:
    """Before `gain migrate` is through: the answer is sealed, under the data key that the rest will get."""
    force, [made] = await dispatched(cast, workers, "HMRC")
    async with lying_open(database):
        agency = await cast.play("HMRC")
        [item] = await inbox(agency)
        await agency.post(f"/v1/inbox/{item['id']}/response", json=HIT | {"summary": CANARY})
    assert CANARY not in await everything(database)
    await seal_earlier(database, lambda done: None)
    [answer] = (await force.get(f"/v1/referrals/{made['id']}/responses")).json()["items"]
    assert answer["summary"] == CANARY


# Rotation


async def test_rotation_wraps_every_key_anew_while_referrals_come_in_and_goes_on_after_a_kill(
    cast: Cast,
    configuration: Settings,
    as_owner: Settings,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.crypto.rotation.BATCH", 3)
    force = await cast.play("SWP")
    made = [await submitted(force, purpose=f"Number {number}.") for number in range(8)]
    contents = await rows(database, "SELECT id, content FROM referral ORDER BY id")
    rotating = Database(as_owner.model_copy(update={"key_ring": SecretStr(BOTH_RINGS)}))

    def kill(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await wrap_all(rotating, "another", kill)
    async with database.transaction() as connection:
        used = await usage(connection)
    assert sorted(used.values()) == [3, 5]

    async with gateway(configuration, BOTH_RINGS) as other:
        newer = await other.play("SWP")

        async def submitting() -> None:
            for number in range(5):
                made.append(await submitted(newer, purpose=f"Number {8 + number}."))

        told: list[int] = []
        done, _ = await asyncio.gather(wrap_all(rotating, "another", told.append), submitting())
        assert (done, told) == (5, [3, 5])
        async with database.transaction() as connection:
            assert dict(await usage(connection)) == {"another": 13}
        for number, one in enumerate(made):
            assert (await newer.get(f"/v1/referrals/{one['id']}")).json()["purpose"] == f"Number {number}."
        assert await wrap_all(rotating, "another", told.append) == 0
        await rotating.close()
    # Content was not touched: only what wraps its keys.
    again = await rows(database, "SELECT id, content FROM referral ORDER BY id")
    assert again[:8] == contents
    assert BATCH > 3
    assert (await rows(database, "SELECT count(*) AS number FROM ring_key"))[0]["number"] == 2
    old = RING.partition(":")[0]
    async with database.transaction() as connection:
        assert await forget(connection, "another") == 13
        assert await forget(connection, old) == 0
    async with gateway(configuration, OTHER_RING) as without_the_old_key:
        read = await (await without_the_old_key.play("SWP")).get(f"/v1/referrals/{made[0]['id']}")
        assert read.status_code == 200
