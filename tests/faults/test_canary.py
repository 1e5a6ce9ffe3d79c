"""After the faults: nothing of what was submitted or answered lies open in any file, in the broker, or in a metric."""

import asyncio

import httpx
import pytest
from sqlalchemy import text

from tests import canary
from tests.faults.plant import SECRET, Plant
from tests.faults.recording import CANARY, Recorder
from tests.invariants import audit_tree_verifies

pytestmark = [pytest.mark.afterwards, pytest.mark.timeout(300)]

WORDS = (CANARY, "Rhys Alun", "CX14 ABC")


async def test_no_byte_of_what_was_sent_lies_open_after_the_faults(plant: Plant, recorder: Recorder) -> None:
    """Database files with their log, logs, the broker's content and all that went to it, metrics."""
    receipt = await recorder.submit(["EA"])
    assert receipt is not None
    dispatch = (await recorder.opened(receipt.id))["EA"]["id"]
    answer = {"outcome": "no_hit", "summary": CANARY, "contact": CANARY}
    assert await recorder.answer("EA", dispatch, receipt.id, answer) is not None
    await recorder.cancel(receipt, fine=(409,))
    await recorder.settle()
    async with recorder.database.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("CHECKPOINT"))
    assert recorder.account.stored == 2
    files = [path for path in plant.folder.rglob("*") if path.is_file()]
    assert any("pg_wal" in str(path) for path in files)
    assert {"gateway.log", "worker.log"} <= {path.name for path in files}
    assert await asyncio.to_thread(canary.search_folders, WORDS, plant.folder) == []
    with plant.broker.client() as broker:
        held = {str(key): broker.dump(key) or b"" for key in broker.scan_iter()}
    metrics = await asyncio.to_thread(httpx.get, f"{plant.url}/metrics", timeout=20)
    assert canary.search_texts(WORDS, {**held, "metrics": metrics.text}) == []
    assert plant.broker.seen == []


async def test_the_log_of_all_the_faults_verifies(plant: Plant, recorder: Recorder) -> None:
    """Every event of every fault is sealed once, and is what was signed; nobody writes while we look."""
    assert await recorder.submit(["EA"]) is not None
    await recorder.settle()
    await asyncio.to_thread(plant.scale_schedulers, 0)
    await audit_tree_verifies(recorder.database, SECRET)
