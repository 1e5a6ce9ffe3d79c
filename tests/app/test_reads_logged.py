"""Whoever is shown what is held about a person is named in the log, whatever route showed it and however often."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from app.access import keys as api_keys
from app.access.policy import Role
from app.access.purposes import ASKED
from app.access.routes import declared_action
from app.db import Database
from app.settings import Settings
from tests.acts import Document, rows
from tests.app.isolation_requests import REQUESTS, Caller
from tests.app.isolation_scene import Scene
from tests.app.test_isolation import Matrix, Operation, _app, _operations, asked
from workers.tasks.seal import Sealing

_SOUTH, _NORTH = 260, 2

_WORDS = re.compile(
    r"Identify vehicles, employment|Vehicles kept and driven|desk@example\.invalid|SWP-0142|LA-MTYDFIL \d"
    r"|An office|It decides on his licence"
)
"""What the scene's referrals and consents say: an answer with any of it shows content."""

_SUBMITS = ("POST", "/v1/referrals")
_ASKED_ROLES = frozenset({Role.ORIGINATOR, Role.COORDINATOR, Role.NATIONAL})


@pytest.fixture
async def played(configuration: Settings, database: Database) -> AsyncIterator[tuple[FastAPI, Scene]]:
    """The scene of the isolation matrix, small."""
    app = _app(configuration)
    async with app.router.lifespan_context(app):
        scene = Scene(app, database)
        await scene.build(_SOUTH, _NORTH)
        await Sealing(configuration, database).round(every=0)
        yield app, scene
        await scene.close()


def readers(matrix: Matrix) -> list[tuple[Operation, Caller]]:
    """Every route with one caller of each role that reaches what it asks for."""
    found: dict[tuple[Operation, Role], Caller] = {}
    for operation, caller in matrix.cases(reached=True):
        rule = matrix.rule(operation, caller)
        if rule is None or caller.reaches(rule):
            found.setdefault((operation, caller.role), caller)
    return [(operation, caller) for (operation, _), caller in found.items()]


def names(event: Document, caller: Caller) -> bool:
    """Whether an event is a look of this caller's."""
    parsed = api_keys.parse(caller.key)
    assert parsed is not None
    reading = event["operation"] in ("consultation", "disclosure", "combination")
    return reading and (event["party"], event["actor"]) == (caller.party, parsed[0])


@pytest.mark.timeout(300)
async def test_every_answer_that_shows_content_has_an_event_that_names_its_reader(
    played: tuple[FastAPI, Scene], database: Database
) -> None:
    """Each route asked twice under one key: the first answer, and the replay."""
    app, scene = played
    matrix, shown = Matrix(app, scene), list[tuple[Operation, Caller, bool, httpx.Response]]()
    for number, (operation, caller) in enumerate(readers(matrix)):
        ask = REQUESTS[operation]
        of_its_own = bool(ask.id or ask.each)
        target = await scene.target(ask, north=False) if of_its_own else scene.everything(False)[0]
        for again in (False, True):
            answer = await asked(app, operation, caller, target, {"Idempotency-Key": f"asked-{number}"})
            if answer.is_success and _WORDS.search(answer.text):
                shown.append((operation, caller, again, answer))
    events: dict[str, list[Document]] = {}
    for event in await rows(database, "SELECT request_id, operation, party, actor FROM audit_event"):
        events.setdefault(event["request_id"], []).append(event)
    untold = [
        f"{operation} {caller}{' again' if again else ''}"
        for operation, caller, again, answer in shown
        # Whoever submits a referral has just sent what the answer says; its replay may be months later.
        if (operation != _SUBMITS or again)
        and not any(names(event, caller) for event in events.get(answer.headers["x-request-id"], ()))
    ]
    assert untold == []
    replayed = {operation for operation, _, again, answer in shown if again and "idempotent-replayed" in answer.headers}
    assert {_SUBMITS, *(one for one in REQUESTS if one[1].startswith("/v1/dispatches/"))} <= replayed
    purposeless = {
        operation
        for operation, caller, _, _ in shown
        if caller.role in _ASKED_ROLES
        and not REQUESTS[operation].page
        and operation != _SUBMITS
        and declared_action(_operations(app)[operation]) not in ASKED
    }
    assert purposeless == set(), "a role that must say why it reads would be shown content without saying so"
    print(f"\n{len(shown)} answers of {len({operation for operation, *_ in shown})} routes show content")
