"""What the log costs: referrals accepted with their audit events, and by the same statement without them."""

import asyncio
import time

import asyncpg

from app.crypto.vault import blind_index_for, sealing_vault_at
from app.db import AS_GATEWAY, Database, Numbered
from app.referrals import accept as module
from app.referrals.accept import accept_at_once
from benchmarks.fan_out import submission
from benchmarks.measure import Figure, Measurement, compare, interleaved
from benchmarks.referrals import AS_ORIGINATOR, ORIGINATOR
from benchmarks.stage import Stage

_LANES = 4
"""Transactions at once: as many as two gateway processes run."""


async def run(stage: Stage) -> list[Figure]:
    """Transactions of one referral, and of sixteen, which is what concurrent POSTs share."""
    database = Database(stage.settings(await stage.database("audit")))
    bare = Database(stage.settings(await stage.database("audit_without")))
    figures = []
    for size in (1, 16):
        with_log, without = _accepting(stage, database, size), _accepting(stage, bare, size, _unaudited())
        await with_log()
        await without()
        values = await interleaved(stage.effort.rounds, [with_log, without])
        figure = Figure(f"audited transaction of {size}", "referrals/s", "the same without audit", 0.6, 0.9)
        figures.append(compare(figure, *values))
    await database.close()
    await bare.close()
    return figures


def _accepting(stage: Stage, database: Database, size: int, statement: Numbered | None = None) -> Measurement:
    async def measure() -> float:
        await stage.checkpoint()
        total = 0
        end = time.perf_counter() + stage.effort.seconds / 2

        async def lane() -> None:
            nonlocal total
            async with database.driver(AS_ORIGINATOR) as driver:
                while time.perf_counter() < end:
                    await _accept(database, driver, size, statement)
                    total += size

        began = time.perf_counter()
        await asyncio.gather(*(lane() for _ in range(_LANES)))
        return total / (time.perf_counter() - began)

    return measure


async def _accept(database: Database, driver: asyncpg.Connection, size: int, statement: Numbered | None) -> None:
    """As the gateway does: one statement, one round trip, which is the transaction."""
    vault, index = await sealing_vault_at(database, AS_GATEWAY), blind_index_for(database.settings)
    items = [submission(number) for number in range(size)]
    if statement is None:
        await accept_at_once(driver, vault, index, items)
    else:
        given = module.columns(items, vault, index) | {"parties": [ORIGINATOR], "patience": module.PATIENCE}
        await statement.fetch(driver, given)


def _unaudited() -> Numbered:
    """The accepting statement without the part that writes the log. Raises `ValueError` where it has none."""
    whole = module._ACCEPT_AT_ONCE
    start = whole.statement.index(", logged AS (")
    end = whole.statement.index("SELECT id, reference, created_at FROM accepted", start)
    return Numbered(whole.statement[:start] + whole.statement[end:], whole.order)
