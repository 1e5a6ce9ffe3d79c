"""No plain personal data on disk: a whole system is played through, stopped, and searched to its last byte."""

import asyncio
import contextlib
import json
import re
import subprocess
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
from app.runtime.plan import child_environment, gain_command
from app.runtime.system import running_system
from tests import canary
from tests.browser import forms
from tests.conftest import referral

WORD = "Zzyxquill7"
NAME = "Qwyxbarth9"
"""In the name of an account: stored as it is, for colleagues must see who somebody is, and found nowhere else."""

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

    def browser(self, party: str) -> httpx.Client:
        """A browser that has signed in with a key of this party."""
        self._clients.append(httpx.Client(base_url=self._url, headers={"Origin": self._url}, timeout=20))
        key = issue_by_command(self._folder, party)
        assert submit(self._clients[-1], "/sign-in/key", key=key).status_code == 303
        return self._clients[-1]

    def person(self, party: str, name: str) -> None:
        """An account of somebody with this name."""
        words = gain_command("users", "add", party, "ceri@swp.example", "--name", name, "--data-dir", str(self._folder))
        subprocess.run(words, env=child_environment(), check=True, capture_output=True, timeout=60)

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def refused(self, answer: httpx.Response) -> None:
        assert answer.status_code >= 400
        self.told[f"refusal {len(self.told)}"] = f"{answer.headers} {answer.text}"

    def get(self, path: str) -> str:
        return httpx.get(self._url + path).text


def submit(browser: httpx.Client, path: str, **fields: str) -> httpx.Response:
    """Open a page, fill its form in, send it."""
    form = next(form for form in forms(browser.get(path)) if "csrf" in form.fields)
    return browser.post(form.action or path, data={**form.fields, **fields})


def until(found: Callable[[], Any]) -> Any:
    """What it gives as soon as that is something."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.1)
    raise AssertionError("it did not come")


def send_files(played: Played, force: httpx.Client) -> None:
    """A file of each form, with a row that is taken and rows that are refused."""
    good = json.dumps(marked(referral(addressees=["EA"])) | {"client_reference": f"{WORD}/1"})
    bad = json.dumps(marked(referral()) | {"client_reference": f"{WORD}/2", "criterion": WORD, WORD: WORD})
    columns = force.get("/v1/referral-batches/template.csv").text.splitlines()[0]
    row = ",".join(WORD for _ in columns.split(","))
    files = {"application/x-ndjson": f"{good}\n{bad}\n{WORD}\n", "text/csv": f"{columns}\n{row}\n"}
    for kind, content in files.items():
        sent = force.post("/v1/referral-batches", content=content, headers={"Content-Type": kind})
        assert sent.status_code == 202, sent.text
        faults = _errors_of(force, f"/v1/referral-batches/{sent.json()['id']}")
        assert faults.json()["items"], kind
        played.told[f"errors {kind}"] = f"{faults.headers} {faults.text}"


def _errors_of(force: httpx.Client, batch: str) -> httpx.Response:
    until(lambda: force.get(batch).json()["state"] == "completed")
    return force.get(f"{batch}/errors")


def write_on_pages(played: Played) -> None:
    """A draft that nobody hands in, a note for whoever comes next, a search, a cover, and somebody's account."""
    force, desk = played.browser("SWP"), played.browser("TARIAN")
    draft = str(submit(force, "/my-referrals/new").headers["location"])
    subject = {"kind": "person", "family_name": WORD, "given_names": WORD, "addresses": WORD}
    for section, fields in {"subject": subject, "ask": {"priority": "routine", "purpose": WORD}}.items():
        assert submit(force, f"{draft}/{section}", **fields).status_code == 303, section
    assert WORD in force.get(f"{draft}/subject").text
    assert submit(desk, "/handover", words=WORD).headers["location"] == "/?done=note"
    assert WORD in desk.get("/handover").text
    submit(desk, "/search", family_name=WORD, given_names=WORD, purpose=WORD)
    # What was typed stands in its own form again, for whoever typed it: no error repeats it.
    assert submit(desk, "/cover", by_region=WORD, **{"from": WORD, "to": WORD}).status_code == 422
    played.person("SWP", NAME)


def _item_of(agency: httpx.Client, referral_id: str) -> str | None:
    """The item that asks about this referral; there are others in the inbox, and either may be there first."""
    items = agency.get("/v1/inbox").json()["items"]
    return next((one["id"] for one in items if one["referral"]["id"] == referral_id), None)


def play(played: Played) -> None:
    """A referral and all that people may write about one; and what is refused, with the canary in it."""
    force, agency, coordinator = (played.client(party) for party in ("SWP", "HMRC", "TARIAN"))
    body = marked(referral(addressees=list(BODIES)))
    made = force.post("/v1/referrals", json=body, headers={"Idempotency-Key": WORD})
    assert made.status_code == 201, made.text
    key = made.json()["id"]
    long = force.post("/v1/referrals", json=body | {"purpose": f"{WORD} " * 150, "information_sought": WORD})
    assert long.status_code == 201
    item = until(lambda: _item_of(agency, key))
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
    brought = {"acted_on": "2026-01-05", "arrests": 1, "summary": WORD, "seizures": [{"kind": "plants", "quantity": 3}]}
    assert force.post(f"/v1/referrals/{key}/outcome", json=brought).status_code in (200, 201)
    assert WORD in force.get(f"/v1/referrals/{key}/product").text
    send_files(played, force)
    write_on_pages(played)
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
    played.refused(agency.post("/v1/inbox/responses", json={"items": [{"id": WORD, "outcome": WORD, WORD: WORD}]}))
    bad = agency.post("/v1/inbox/responses", json={"items": [{"id": item, "outcome": WORD, WORD: WORD}]})
    assert bad.json()["items"][0]["status"] == 422
    played.told["a bad answer among several"] = bad.text
    played.refused(agency.get(f"/v1/inbox?state={WORD}", headers={"X-Request-Id": f"{WORD}!"}))
    played.refused(agency.get(f"/v1/inbox?state={WORD}", headers={"X-Request-Id": f"Rhys-{WORD}-19840307"}))
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
    assert canary.search_folders([NAME], folder / "logs") == []
    assert re.search(r"Quill|CX14|Heol", (folder / "logs" / "gateway.log").read_text()) is None


def test_no_refusal_no_metric_and_no_message_repeats_it(played: tuple[Path, Played]) -> None:
    _, system = played
    assert len(system.told) == 27
    assert "gain.work" in system.told["broker"]
    assert canary.search_texts([WORD, NAME], system.told) == []


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
