"""No plain personal data on disk: a whole system is played through, stopped, and searched to its last byte."""

import asyncio
import contextlib
import json
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil
import pytest
import redis

from app.runtime.demonstration import issue_by_command
from app.runtime.embedded import EmbeddedPostgres
from app.runtime.system import running_system
from tests import canary
from tests.conftest import referral

WORD = "Zzyxquill7"
BODIES = ("HMRC", "DVLA", "EA")


def marked(value: Any) -> Any:
    """The same document with the canary in every text that people write."""
    if isinstance(value, dict):
        return {name: item if name in _CODES else marked(item) for name, item in value.items()}
    if isinstance(value, list):
        return [marked(item) for item in value]
    if isinstance(value, str) and "@" in value:
        return f"{WORD}@example.invalid"
    return f"{WORD} {value}" if isinstance(value, str) else value


PROVOKING = (
    f"INSERT INTO heartbeat (part, at) VALUES ('{WORD}', now()), ('{WORD}', now())",  # noqa: S608
    "UPDATE referral SET state = $1",
    f"SELECT '{WORD}'::int",
    f"SELECT {WORD}()",
)
"""A row that is there already, a row that a constraint refuses, a value that cannot be read, a name that is unknown."""

_CODES = frozenset(
    "kind type criterion crime_types priority warnings legal_basis marking grading handling addressees date_of_birth "
    "postcode band outcome onward_disclosure decline_reason".split()
)


class Played:
    """A system with clients, and every answer it gave that is no document."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self.told: dict[str, str | bytes] = {}
        self._clients: list[httpx.Client] = []

    def client(self, party: str) -> httpx.Client:
        key = issue_by_command(self._folder, party)
        headers = {"Authorization": f"Bearer {key}"}
        self._clients.append(httpx.Client(base_url=self._url, headers=headers, timeout=20))
        return self._clients[-1]

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def refused(self, answer: httpx.Response) -> None:
        assert answer.status_code >= 400
        self.told[f"refusal {len(self.told)}"] = f"{answer.headers} {answer.text}"

    def get(self, path: str) -> str:
        return httpx.get(self._url + path).text


def until(found: Callable[[], Any]) -> Any:
    """What it gives as soon as that is something."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.1)
    raise AssertionError("it did not come")


def play(played: Played) -> None:
    """A referral and all that people may write about one; and what is refused, with the canary in it."""
    force, agency, coordinator = (played.client(party) for party in ("SWP", "HMRC", "TARIAN"))
    body = marked(referral(addressees=list(BODIES)))
    made = force.post("/v1/referrals", json=body, headers={"Idempotency-Key": WORD})
    assert made.status_code == 201, made.text
    key = made.json()["id"]
    long = force.post("/v1/referrals", json=body | {"purpose": f"{WORD} " * 150, "information_sought": WORD})
    assert long.status_code == 201
    items = until(lambda: agency.get("/v1/inbox").json()["items"])
    item = next(one["id"] for one in items if one["referral"]["id"] == key)
    question = {"outcome": "more_information", "summary": f"{WORD}?"}
    assert agency.post(f"/v1/inbox/{item}/response", json=question).status_code == 201
    message = {"dispatch_id": item, "text": WORD}
    assert force.post(f"/v1/referrals/{key}/messages", json=message).status_code == 200
    hit = {
        "outcome": "hit",
        "summary": WORD,
        "facts": [{"kind": "vehicle", "text": WORD}],
        "grading": {"source": 1, "assessment": "A"},
        "handling": {"code": "P"},
        "contact": WORD,
    }
    assert agency.post(f"/v1/inbox/{item}/response", json=hit).status_code == 201
    played.refused(agency.post(f"/v1/inbox/{item}/response", json=hit | {"summary": f"{WORD} another"}))
    dispatches = force.get(f"/v1/referrals/{key}").json()["dispatches"]
    other = next(one["id"] for one in dispatches if one["agency"] == "EA")
    reason = {"reason": WORD}
    assert coordinator.post(f"/v1/dispatches/{other}/cancel", json=reason).status_code == 200
    assert coordinator.post(f"/v1/referrals/{key}/hold", json=reason).status_code == 200
    assert coordinator.post(f"/v1/referrals/{key}/release").status_code == 200
    assert WORD in force.get(f"/v1/referrals/{key}/product").text
    assert force.post(f"/v1/referrals/{key}/cancel", json=reason).status_code == 200
    played.refused(force.post("/v1/referrals", json=body | {"criterion": WORD, WORD: WORD}))
    played.refused(force.post("/v1/referrals", json=body | {"marking": "SECRET"}))
    played.refused(force.post("/v1/referrals", content=json.dumps(body)[:-1], headers={"Content-Type": "text/json"}))
    played.refused(force.post("/v1/referrals", json=body | {"purpose": "x"}, headers={"Idempotency-Key": WORD}))
    played.refused(force.get(f"/v1/referrals?state={WORD}"))
    # Wherever else a client can put a word of its own: addresses, cursors, headers, forms, keys, times, media types.
    played.refused(force.get(f"/v1/referrals/{WORD}"))
    played.refused(force.get(f"/{WORD}"))
    played.refused(force.get(f"/v1/referrals?cursor={WORD}"))
    played.refused(force.get(f"/v1/referrals?updated_since={WORD}&agency={WORD}&limit={WORD}"))
    played.refused(force.get(f"/v1/referrals/{key}/product", headers={"Accept": f"text/{WORD}"}))
    played.refused(force.post("/v1/referrals", json=body, headers={"Idempotency-Key": f"{WORD} {WORD}"}))
    played.refused(force.post("/v1/referrals", content=WORD, headers={"Content-Type": f"text/{WORD}"}))
    played.refused(force.post("/v1/referrals", json={WORD: {WORD: [WORD]}}))
    played.refused(force.request(WORD.upper(), "/v1/referrals", json=body))
    played.refused(coordinator.post(f"/v1/dispatches/{other}/extend", json={"due_at": WORD}))
    played.refused(agency.post("/v1/inbox/responses", json={"items": [{"id": item, "outcome": WORD, WORD: WORD}]}))
    played.refused(agency.get(f"/v1/inbox?state={WORD}", headers={"X-Request-Id": f"{WORD}!"}))
    played.refused(agency.post("/v1/token", data={"grant_type": WORD, "client_secret": WORD, "scope": WORD}))
    played.refused(agency.get("/v1/inbox", headers={"Authorization": f"Bearer gain_{WORD}"}))
    played.refused(agency.post("/sign-in", data={"key": WORD}, headers={"Origin": f"https://{WORD}.invalid"}))


def broker_url(folder: Path) -> str:
    """Where the system's Valkey is, from the environment of its gateway."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cmdline()[-2:] == ["app.cli", "serve"]:
                environment = process.environ()
                if environment.get("GAIN_DATA_DIR") == str(folder):
                    return environment["GAIN_BROKER_URL"]
    raise AssertionError("no gateway runs there")


_END = "the-end"


class Overheard:
    """Every command that the broker is given within the block, and what it holds at the end."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("valkey://", "redis://", 1)
        self.said: list[str] = []
        self._listens = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def _listen(self) -> None:
        with redis.Redis.from_url(self._url) as connection, connection.monitor() as monitor:
            self._listens.set()
            while not self.said or _END not in self.said[-1]:
                self.said.append(str(monitor.next_command()))

    def __enter__(self) -> "Overheard":
        self._thread.start()
        assert self._listens.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        with redis.Redis.from_url(self._url) as connection:
            connection.publish(_END, "")
            self._thread.join(5)
            for key in connection.scan_iter():
                self.said.append(f"{key!r} {connection.dump(key)!r}")


@pytest.fixture(scope="module")
def played() -> Iterator[tuple[Path, Played]]:
    """A system that was played through and stopped."""
    with tempfile.TemporaryDirectory(prefix="gain-canary-") as scratch:
        Path(scratch).chmod(0o711)  # PostgreSQL may run as a user of its own
        folder = Path(scratch) / "data"
        with running_system(folder) as url:
            system = Played(url, folder)
            with contextlib.closing(system), Overheard(broker_url(folder)) as overheard:
                play(system)
            system.told["broker"] = "\n".join(overheard.said)
            system.told["metrics"] = system.get("/metrics")
        yield folder, system


@pytest.mark.timeout(240)
def test_no_byte_of_what_people_wrote_is_left_on_disk(played: tuple[Path, Played]) -> None:
    folder, _ = played
    searched = [path for path in folder.rglob("*") if path.is_file()]
    assert any("pg_wal" in str(path) for path in searched)
    assert {"gateway.log", "worker.log", "scheduler.log", "postgres.log"} <= {path.name for path in searched}
    assert canary.search_folders([WORD], folder) == []
    assert re.search(r"Quill|CX14|Heol", (folder / "logs" / "gateway.log").read_text()) is None


def test_no_refusal_no_metric_and_no_message_repeats_it(played: tuple[Path, Played]) -> None:
    _, system = played
    assert len(system.told) == 23
    assert "gain.work" in system.told["broker"]
    assert canary.search_texts([WORD], system.told) == []


@pytest.mark.timeout(120)
def test_an_error_with_the_word_in_it_stays_out_of_the_database_log_and_what_lies_open_is_found(
    played: tuple[Path, Played],
) -> None:
    """The control: the same search on the same files, with errors provoked and then one value stored open."""
    folder, _ = played

    async def provoke(url: str) -> None:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        for statement in PROVOKING:
            with pytest.raises(asyncpg.PostgresError) as refusal:
                await connection.execute(statement, *([WORD] if "$1" in statement else []))
            assert WORD.lower() in f"{refusal.value} {refusal.value.detail}".lower(), "it provokes nothing"
        assert canary.search_folders([WORD], folder / "logs") == []
        await connection.execute("UPDATE referral SET created_by = $1", WORD)
        await connection.execute("CHECKPOINT")
        await connection.close()

    with EmbeddedPostgres(folder) as postgres:
        asyncio.run(provoke(postgres.url))
    found = {hit.where.removeprefix(str(folder)).split("/")[2] for hit in canary.search_folders([WORD], folder)}
    assert found >= {"base", "pg_wal"}
    assert canary.search_folders([WORD], folder / "logs") == []
