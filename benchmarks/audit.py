"""What the log costs: referrals accepted with their audit events, and by the same statement without them."""

import asyncio
import time

from sqlalchemy import TextClause, text

from app.crypto.vault import blind_index_of, sealing_vault
from app.db import Database
from app.referrals import accept as module
from app.referrals.accept import Submission, accept
from benchmarks.fan_out import submission
from benchmarks.measure import Figure, Measurement, compare, interleaved
from benchmarks.referrals import AS_ORIGINATOR
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


def _accepting(stage: Stage, database: Database, size: int, statement: TextClause | None = None) -> Measurement:
    async def measure() -> float:
        await stage.checkpoint()
        total = 0
        end = time.perf_counter() + stage.effort.seconds / 2

        async def lane() -> None:
            nonlocal total
            while time.perf_counter() < end:
                await _accept(database, [submission(number) for number in range(size)], statement)
                total += size

        began = time.perf_counter()
        await asyncio.gather(*(lane() for _ in range(_LANES)))
        return total / (time.perf_counter() - began)

    return measure


async def _accept(database: Database, items: list[Submission], statement: TextClause | None) -> None:
    async with database.transaction(AS_ORIGINATOR) as connection:
        if statement is None:
            await accept(connection, items)
        else:
            vault = await sealing_vault(connection)
            given = module.columns(items, vault, blind_index_of(connection)) | {"patience": module.PATIENCE}
            await connection.execute(statement, given)


def _unaudited() -> TextClause:
    """The accepting statement without the part that writes the log. Raises `ValueError` where it has none."""
    whole = module._ACCEPT.text
    start = whole.index(", logged AS (")
    end = whole.index("SELECT id, reference, created_at FROM accepted", start)
    return text(whole[:start] + whole[end:])
