"""The gateway keeps its own OpenAPI document: schemathesis asks everything of it as every role, with all its checks.

The short form is part of the suite; `make fuzz` is the long one, at least `LONG` cases.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.access.keys import parse
from app.access.policy import POLICY, Role
from app.settings import Settings
from tests.app.conftest import ROOT, Served, serving
from tests.app.test_every_route import PARTIES
from tests.app.test_isolation import _app, _operations
from tests.conftest import RING, SECRET, Workers, referral
from workers.tasks.seal import Sealing

LONG = 20_000
SHORT = 300
_EXAMPLES = {"long": 340, "short": 8}
_PHASES = {"long": "examples,coverage,fuzzing,stateful", "short": "fuzzing"}

# tests/app/contract_hooks.py looks at why, where a request in the form of the document is refused.
_TAKEN = ["2xx", "3xx", 400, 401, 403, 404, 406, 409, 410, 422, 429]
# A value outside its range can be so long that the body is over the cap: 413, before anything is read of it.
_REFUSED = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429]


class Material:
    """A served gateway with referrals on it, keys of every role, and the ids that make requests meet something."""

    def __init__(self, gateway: Served) -> None:
        self.gateway = gateway
        self.keys = {role: gateway.key(party, role) for role, party in PARTIES.items()}
        self.spare = [_id(gateway.key("EA")) for _ in range(20)]
        body = referral(addressees=["HMRC", "EA", "SMARTWATER"])
        with self._client(Role.ORIGINATOR) as force:
            self.referrals = [force.post("/v1/referrals", json=body).json()["id"] for _ in range(60)]
            lines = (json.dumps(referral(addressees=["HMRC"])) + "\n{}\n").encode()
            kind = {"Content-Type": "application/x-ndjson"}
            made = [force.post("/v1/referral-batches", content=lines, headers=kind) for _ in range(5)]
            self.batches = [batch.json()["id"] for batch in made]
            asyncio.run(work(gateway))
            found = [force.get(f"/v1/referrals/{id}").json()["dispatches"] for id in self.referrals]
        self.dispatches = [one["id"] for dispatches in found for one in dispatches]
        self.items = [one["id"] for dispatches in found for one in dispatches if one["agency"] == "HMRC"]

    def _client(self, role: Role) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.keys[role]}"}
        return httpx.Client(base_url=self.gateway.url, headers=headers, timeout=20)

    def still_let_in(self, role: Role) -> bool:
        """Whether the key of this role is in force: a run that lost it has shown nothing."""
        with self._client(role) as client:
            return client.get("/v1/inbox").status_code in (200, 403)

    def ids(self, path: str) -> list[str]:
        """What the `{id}` of a path may be."""
        if "/keys/" in path:
            return self.spare
        if "/referral-batches/" in path:
            return self.batches
        if "/inbox/" in path:
            return self.items
        return self.dispatches if "/dispatches/" in path else self.referrals


def _id(key: str) -> str:
    parsed = parse(key)
    assert parsed is not None
    return parsed[0]


async def work(gateway: Served) -> None:
    """What the workers and the sealer do when they are woken."""
    database = gateway.database()
    try:
        await Workers(database).run()
        await Sealing(_settings(gateway), database).round(every=0)
    finally:
        await database.close()


def _settings(gateway: Served) -> Settings:
    return Settings(
        database_url=gateway.database_url,
        secret=SecretStr(SECRET),
        key_ring=SecretStr(RING),
        data_dir=gateway.log.parent,
    )


@contextmanager
def working(gateway: Served) -> Iterator[None]:
    """Workers and sealer at work beside the block."""
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(0.5):
            asyncio.run(work(gateway))

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def material(postgres: str, valkey: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Material]:
    """A gateway that believes this machine's `X-Forwarded-For`; no limit of requests, which is tested elsewhere."""
    settings = {"GAIN_FORWARDING_PROXY": "127.0.0.1/32", "GAIN_RATE_PER_KEY": "", "GAIN_RATE_PER_PARTY": ""}
    with serving(postgres, valkey, tmp_path_factory.mktemp("contract"), **settings) as gateway:
        yield Material(gateway)


def _paths(role: Role) -> list[tuple[str, str]]:
    """Method and path of what this role may use, and of what is public, as far as the document tells of it."""
    app = _app()
    endpoints = _operations(app)
    found = []
    for path, item in app.openapi()["paths"].items():
        for method in item:
            action = getattr(endpoints[method.upper(), path], "gain_action", None)
            if action not in POLICY or role in POLICY[action]:
                found.append((method.upper(), path))
    return found


def _configuration(material: Material, role: Role, examples: int) -> dict[str, Any]:
    """What schemathesis is told: all checks, the role's credential, and ids that exist."""
    operations = _paths(role)
    dictionaries, told = {}, []
    for number, (method, path) in enumerate(operations):
        one: dict[str, Any] = {"include-name": f"{method} {path}", "parameters": {}}
        if "{id}" in path:
            dictionaries[f"ids{number}"] = {"values": material.ids(path)}
            one["parameters"]["path.id"] = {"dictionary": f"ids{number}", "probability": 0.8}
        if "{dispatch_id}" in path:
            dictionaries["answerable"] = {"values": material.items}
            one["parameters"]["path.dispatch_id"] = {"dictionary": "answerable", "probability": 0.8}
        if path.endswith("/messages"):
            dictionaries["dispatches"] = {"values": material.dispatches}
            one["parameters"]["body.dispatch_id"] = {"dictionary": "dispatches", "probability": 0.8}
        told.append(one)
    return {
        "hooks": "tests.app.contract_hooks",
        "color": False,
        "auth": {"openapi": {"credential": {"bearer": material.keys[role]}}},
        "generation": {"max-examples": examples, "database": "none", "allow-x00": False},
        "dictionaries": dictionaries,
        "operations": told,
        "continue-on-failure": True,
        "checks": {
            "positive_data_acceptance": {"expected-statuses": _TAKEN},
            "negative_data_rejection": {"expected-statuses": _REFUSED},
        },
    }


def _run(material: Material, role: Role, form: str, folder: Path) -> tuple[int, str]:
    """The number of cases, and schemathesis's report where it found anything."""
    configured = folder / f"{role}.toml"
    configured.write_text(_toml(_configuration(material, role, _EXAMPLES[form])), encoding="utf-8")
    names = [word for method, path in _paths(role) for word in ("--include-name", f"{method} {path}")]
    own = json.dumps([_id(key) for key in material.keys.values()])
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "GAIN_TEST_OWN_KEYS": own,
        "GAIN_TEST_SPARE_KEYS": json.dumps(material.spare),
    }
    words = ["--config-file", str(configured), "run", f"{material.gateway.url}/openapi.json", *names, "--checks", "all"]
    command = [sys.executable, "-m", "schemathesis.cli", *words, "--workers", "1", "--phases", _PHASES[form]]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    report = done.stdout + done.stderr
    counted = re.search(r"([\d,]+) generated", report)
    assert counted, report
    return int(counted[1].replace(",", "")), report if done.returncode else ""


def _toml(value: dict[str, Any]) -> str:
    """A TOML document: JSON strings, numbers, lists and inline tables are TOML but for their separators."""
    return "\n".join(f"{name} = {_inline(item)}" for name, item in value.items()) + "\n"


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_inline(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(item) for item in value) + "]"
    return json.dumps(value)


@pytest.mark.timeout(3600)
def test_the_gateway_keeps_to_its_own_document(
    material: Material, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    form = request.config.getoption("faults")
    cases, reports = {}, {}
    with working(material.gateway):
        for role in Role:
            cases[role], reports[role] = _run(material, role, form, tmp_path)
            assert material.still_let_in(role)
    assert not any(reports.values()), "\n".join(reports.values())
    lines = material.gateway.lines()
    assert [line for line in lines if line["level"] in ("error", "critical")] == []
    total = sum(cases.values())
    told = ", ".join(f"{role} {count:,}" for role, count in cases.items())
    print(f"\nschemathesis: {total:,} cases, 0 server errors, 0 contract breaks ({told})")
    assert total >= (LONG if form == "long" else SHORT)
