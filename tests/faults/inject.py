"""Faults put into a part from outside, before it starts: the product has no hook for them.

They are driven by files in a control folder, so that a test switches them on and off while the system runs:

- `<point>.<n>`: the process that next reaches the point takes the file away and ends there as the file says: `exit`,
  the number of a signal to itself, or `group` and the number of a signal to its process group;
- `agency`: how the simulated bodies behave (`BEHAVIOURS`); each call is written to `calls`;
- `clock`: seconds by which the process's clock is wrong.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from random import choice, random
from typing import Any

VARIABLE = "FAULTS_FOLDER"
LEASE, RETRY = "FAULTS_LEASE_SECONDS", "FAULTS_RETRY_SECONDS"

PUSH_SECONDS = 2.0
"""How long a push may take where retries are hurried."""

WORKER_POINTS = (
    "heard",  # the wake-up taken, nothing done
    "fanning-out",  # dispatches inserted, not committed
    "fanned-out",  # committed
    "claiming",  # leased and disclosed, not committed
    "claimed",  # committed, nothing called
    "calling",  # the agency has been called and is at work
    "called",  # the agency has answered, nothing is recorded
    "recording",  # the answer stored, not committed
    "recorded",  # committed
    "finished",  # everything done, the wake-up not acknowledged
)
GATEWAY_POINTS = (
    "storing",  # the submissions taken, their statement not sent
    "stored",  # committed, not answered
    "answering",  # an agency's answer stored, not committed
    "answered",  # committed, not answered
    "cancelling",  # the cancellation stored, not committed
    "cancelled",  # committed, not answered
)

_GARBAGE: tuple[Any, ...] = (
    None,
    [],
    "hit",
    {},
    {"outcome": "perhaps"},
    {"outcome": "hit", "summary": "x" * 5_000_000},
    {"outcome": "no_hit", "summary": "a NUL \x00 and a lone surrogate \ud800"},
    {"outcome": "no_hit", "summary": float("nan")},
    {"outcome": "no_hit", "nobody": "asked for this"},
)


def _raising(*errors: BaseException) -> Any:
    raise choice(errors)


def _babbling() -> Any:
    from workers.adapters.contract import Answered

    return Answered(choice(_GARBAGE))


def _refusing() -> Any:
    from workers.adapters.contract import TransportError

    raise TransportError("500 from the agency's system")


def _putting_off() -> Any:
    from workers.adapters.contract import Later

    return Later(choice([float("-inf"), -1.0, 0.0, 0.01]))


BEHAVIOURS: Mapping[str, Callable[[], Any]] = {
    "babbling": _babbling,
    "refusing": _refusing,
    "raising": lambda: _raising(RuntimeError("Quill"), KeyError("Quill"), ConnectionResetError(), TimeoutError()),
    "cancelling": lambda: _raising(asyncio.CancelledError()),
    "putting-off": _putting_off,
    "senseless": lambda: choice([None, 7, "Answered", {"outcome": "hit"}]),
}
"""What a body does instead of answering. Beside these there are `well` and `slow SECONDS`."""

_SHARE = 0.7  # a body that misbehaves has its good moments
_AFTER = "faults.after"


def apply(command: str) -> None:
    """Put the faults into this process, which is about to run `gain <command>`."""
    folder = Path(os.environ[VARIABLE])
    _shift_clock(folder)
    _hurry()
    if command == "serve":
        _gateway(folder)
    if command == "worker":
        _worker(folder)
    if command in ("worker", "scheduler"):  # which does the work itself where no worker does
        _misbehaving(folder)


def _meet(folder: Path, point: str) -> None:
    for token in sorted(folder.glob(f"{point}.*")):
        with suppress(FileNotFoundError):  # another process was faster: that one dies
            how = token.read_text()
            token.unlink()
            _end(how)
            return


def _end(how: str) -> None:
    if how == "exit":
        os._exit(0)
    whom, _, number = how.rpartition(" ")
    if whom == "group":
        os.killpg(os.getpgrp(), int(number))
    os.kill(os.getpid(), int(number))


def _meeting(folder: Path, owner: Any, name: str, *, inside: str, after: str, takes: bool = False) -> None:
    """Have a verb meet the point `inside` when its statements are done, and `after` when they are committed.

    Not where it did nothing: one that `takes` came back without anything, any other was given an empty list to do.
    """
    verb: Callable[..., Awaitable[Any]] = getattr(owner, name)

    @wraps(verb)
    async def meeting(connection: Any, *arguments: Any) -> Any:
        result = await verb(connection, *arguments)
        if result if takes else all(arguments):
            _meet(folder, inside)
            connection.info[_AFTER] = after
        return result

    setattr(owner, name, meeting)


def _meeting_after_commit(folder: Path, database: Any) -> None:
    transaction: Callable[..., AbstractAsyncContextManager[Any]] = database.transaction

    @asynccontextmanager
    async def meeting(self: Any, *behalf: Any) -> AsyncIterator[Any]:
        async with transaction(self, *behalf) as connection:
            yield connection
            point = connection.info.pop(_AFTER, None)
        if point is not None:
            _meet(folder, point)

    database.transaction = meeting


def _meeting_around(folder: Path, owner: Any, name: str, *, before: str, after: str) -> None:
    """Have a plain call meet one point before it begins and one when it has ended."""
    call: Callable[..., None] = getattr(owner, name)

    @wraps(call)
    def meeting(*arguments: Any) -> None:
        _meet(folder, before)
        call(*arguments)
        _meet(folder, after)

    setattr(owner, name, meeting)


def _meeting_at_once(folder: Path, owner: Any, name: str, *, before: str, after: str) -> None:
    """Have a verb that is one statement and its commit meet a point before it is sent, and one when it is committed."""
    verb: Callable[..., Awaitable[Any]] = getattr(owner, name)

    @wraps(verb)
    async def meeting(*arguments: Any) -> Any:
        _meet(folder, before)
        result = await verb(*arguments)
        _meet(folder, after)
        return result

    setattr(owner, name, meeting)


def _worker(folder: Path) -> None:
    from app.db import Database
    from app.referrals import lifecycle
    from workers.process import Process

    _meeting(folder, lifecycle, "open_dispatches", inside="fanning-out", after="fanned-out")
    _meeting(folder, lifecycle, "hand_over", inside="claiming", after="claimed", takes=True)
    _meeting(folder, lifecycle, "record_answers", inside="recording", after="recorded")
    _meeting_around(folder, Process, "pump", before="heard", after="finished")
    _meeting_after_commit(folder, Database)
    _meeting_call(folder)


def _gateway(folder: Path) -> None:
    from app.db import Database
    from app.intake import coalescer
    from app.referrals import lifecycle

    _meeting_at_once(folder, coalescer, "accept_at_once", before="storing", after="stored")
    _meeting(folder, lifecycle, "record_answers", inside="answering", after="answered")
    _meeting(folder, lifecycle, "cancel", inside="cancelling", after="cancelled")
    _meeting_after_commit(folder, Database)


def _shift_clock(folder: Path) -> None:
    from app import clock

    def wrong() -> datetime:
        with suppress(FileNotFoundError):
            return datetime.now(UTC) + timedelta(seconds=float((folder / "clock").read_text()))
        return datetime.now(UTC)

    clock.now = wrong


def _hurry() -> None:
    """Shorten what a fault test would otherwise have to wait for."""
    from app.referrals import delivery
    from app.referrals.lifecycle import leases
    from workers import circuits
    from workers.adapters import push

    lease, retry = os.environ.get(LEASE), os.environ.get(RETRY)
    if lease is not None:
        leased: Any = leases
        leased.LEASE_SECONDS = float(lease)
    if retry is not None:
        shortened: Any = delivery
        shortened.RETRY_SECONDS = (float(retry),) * len(delivery.RETRY_SECONDS)
        circuits.OPEN_SECONDS = circuits.LONGEST_SECONDS = float(retry)
        push.DEADLINE_SECONDS = PUSH_SECONDS


def _meeting_call(folder: Path) -> None:
    """Have a call to a simulated body meet a point when it has begun and one when it has its answer."""
    from workers.adapters.simulated import SimulatedAdapter

    adapter: Any = SimulatedAdapter
    deliver: Callable[..., Awaitable[Any]] = adapter.deliver

    async def meeting(self: Any, envelope: Any) -> Any:
        _meet(folder, "calling")
        result = await deliver(self, envelope)
        _meet(folder, "called")
        return result

    adapter.deliver = meeting


def _misbehaving(folder: Path) -> None:
    from workers.adapters.simulated import SimulatedAdapter

    adapter: Any = SimulatedAdapter
    deliver: Callable[..., Awaitable[Any]] = adapter.deliver

    async def misbehaving(self: Any, envelope: Any) -> Any:
        behaviour = _behaviour(folder)
        with (folder / "calls").open("a") as calls:
            calls.write(f"{json.dumps([str(envelope.dispatch_id), envelope.attempt, behaviour])}\n")
        kind, _, seconds = behaviour.partition(" ")
        if kind == "slow":
            await asyncio.sleep(float(seconds))
        elif kind != "well" and random() < _SHARE:
            return BEHAVIOURS[kind]()
        return await deliver(self, envelope)

    adapter.deliver = misbehaving
    # At full speed a body answers at once, and is called as one that never waits. A slow one is not that.
    adapter.waits = property(lambda _: _behaviour(folder).startswith("slow"), lambda *_: None)


def _behaviour(folder: Path) -> str:
    with suppress(FileNotFoundError):
        return (folder / "agency").read_text().strip() or "well"
    return "well"
