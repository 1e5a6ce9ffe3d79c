"""Uploads to a gateway process over a real connection: cut off in the middle, and in constant memory."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from app.db import AS_WORKER
from app.referrals.batches import sweep
from tests.acts import rows
from tests.app.batch_files import CSV, FLAT, NDJSON, PATH, line, lines
from tests.app.conftest import Served, serving
from tests.canary import search_texts
from tests.conftest import Workers
from workers.tasks.scheduler import SCHEDULER

MEGABYTE = 1024 * 1024
MOST_GROWTH = 24 * MEGABYTE
"""What a gateway may grow by while it receives: far less than either file, and a part of what 100,000 rows take."""


@pytest.fixture
def gateway(postgres: str, valkey: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(postgres, valkey, tmp_path_factory.mktemp("uploads")) as served:
        yield served


def _process(gateway: Served) -> psutil.Process:
    """The gateway's process, which its log names with each request."""
    httpx.get(f"{gateway.url}/v1/referral-batches", timeout=60)
    return psutil.Process(gateway.lines()[-1]["pid"])


def _until(gateway: Served, key: str, state: str) -> list[dict[str, object]]:
    """The force's batches, once the newest is in this state."""
    deadline = time.monotonic() + 90
    while True:
        items: list[dict[str, object]] = httpx.get(
            f"{gateway.url}{PATH}", headers={"Authorization": f"Bearer {key}"}, timeout=60
        ).json()["items"]
        if items and items[0]["state"] == state:
            return items
        assert time.monotonic() < deadline, items
        time.sleep(0.05)


def test_an_upload_that_is_cut_off_leaves_no_referral_and_may_be_sent_again(gateway: Served) -> None:
    key, place = gateway.key("SWP"), urlsplit(gateway.url)
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {key}\r\nIdempotency-Key: cut\r\n"
        f"Content-Type: {NDJSON}\r\nContent-Length: 90000000\r\n\r\n"
    )
    with socket.create_connection((str(place.hostname), int(place.port or 0))) as connection:
        connection.sendall(head.encode() + lines(600))
        _until(gateway, key, "receiving")
    [batch] = _until(gateway, key, "incomplete")
    headers = {"Authorization": f"Bearer {key}", "Content-Type": NDJSON, "Idempotency-Key": "cut"}
    again = httpx.post(f"{gateway.url}{PATH}", content=lines(3), headers=headers, timeout=60)
    assert (again.status_code, again.json()["total"]) == (202, 3)
    assert again.json()["id"] != batch["id"]

    async def settled() -> list[list[dict[str, object]]]:
        database = gateway.database()
        try:
            async with database.transaction(AS_WORKER) as connection:
                assert await sweep.clear_cut_off(connection, SCHEDULER) == 1
            await Workers(database).run()
            return [
                await rows(database, "SELECT content IS NOT NULL AS there FROM referral"),
                await rows(database, "SELECT 1 FROM batch_row UNION ALL SELECT 1 FROM batch_error"),
                await rows(database, "SELECT 1 FROM data_key WHERE referral_id IN (SELECT id FROM batch)"),
                await rows(database, "SELECT detail FROM audit_event WHERE action = 'batch.incomplete'"),
            ]
        finally:
            await database.close()

    referrals, left, keys, [event] = asyncio.run(settled())
    assert (len(referrals), left, keys) == (3, [], [])
    assert event["detail"] == {"batch": batch["id"], "rows": batch["total"]}


def test_what_rows_say_stands_in_no_log(gateway: Served) -> None:
    canary = "Quillfeather"
    headers = {"Authorization": f"Bearer {gateway.key('SWP')}"}
    sound = line(1, purpose=canary, client_reference=canary)
    bodies = {
        NDJSON: [sound + sound[:-3] + b"\n" + sound.replace(b'"priority"', f'"{canary}"'.encode())],
        CSV: [f"{canary},client reference\r\n".encode(), f'client_reference\r\n"{canary}"x'.encode()],
    }
    for kind, sent in bodies.items():
        for body in sent:
            answer = httpx.post(
                f"{gateway.url}{PATH}", content=body, headers={**headers, "Content-Type": kind}, timeout=60
            )
            assert answer.status_code == (202 if kind == NDJSON else 422)
            assert canary not in answer.text
    assert search_texts([canary], {"log": gateway.log.read_bytes()}) == []


async def _many(kind: str, count: int) -> AsyncIterator[bytes]:
    """A file of so many rows, made as it is sent: in this process, too, it is never there as a whole."""
    if kind == CSV:
        yield (",".join(FLAT) + "\r\n").encode()
    for number in range(count):
        if kind == NDJSON:
            yield line(number)
        else:
            cells = {**FLAT, "client_reference": f"SWP/{number}"}
            yield (",".join(json.dumps(cell) for cell in cells.values()) + "\r\n").encode()


@pytest.mark.parametrize("kind", [CSV, NDJSON])
@pytest.mark.timeout(300)
async def test_memory_does_not_grow_with_the_file(gateway: Served, kind: str, request: pytest.FixtureRequest) -> None:
    count = 100_000 if request.config.getoption("faults") == "long" else 4_000
    key = await asyncio.to_thread(gateway.key, "SWP")
    process = await asyncio.to_thread(_process, gateway)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": kind}
    highest = 0
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=300) as force:
        # What is bought once, code and pools and all, is bought before.
        assert (await force.post(PATH, content=_many(kind, 1_000))).status_code == 202
        before = process.memory_info().rss
        sending = asyncio.create_task(force.post(PATH, content=_many(kind, count)))
        while not sending.done():
            highest = max(highest, process.memory_info().rss)
            await asyncio.wait([sending], timeout=0.05)
        answer = await sending
    assert (answer.status_code, answer.json()["total"], answer.json()["rejected"]) == (202, count, 0), answer.text
    assert highest - before < MOST_GROWTH
    print(f"\n{kind}: {count:,} rows, {(highest - before) / MEGABYTE:.1f} MiB more at most")


async def test_single_referrals_are_stored_at_once_while_a_file_comes_in(gateway: Served) -> None:
    key = await asyncio.to_thread(gateway.key, "SWP")
    body = json.loads(line(1))
    async with httpx.AsyncClient(base_url=gateway.url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as force:
        assert (await force.post("/v1/referrals", json=body)).status_code == 201
        sending = asyncio.create_task(force.post(PATH, content=_many(NDJSON, 3_000), headers={"Content-Type": NDJSON}))
        took = []
        while not sending.done():
            began = time.monotonic()
            assert (await force.post("/v1/referrals", json=body)).status_code == 201
            took.append(time.monotonic() - began)
        assert (await sending).status_code == 202
    assert len(took) > 10
    assert sorted(took)[len(took) // 2] < 0.25
