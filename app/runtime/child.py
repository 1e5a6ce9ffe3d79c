"""One child process: started so that it never outlives us, watched, and stopped by a ladder of signals."""

import ctypes
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL, SIGQUIT, SIGTERM, Signals
from typing import IO

from app.runtime.refusal import refusing
from app.runtime.system_user import SystemUser

Ladder = tuple[tuple[float, Signals], ...]
"""Seconds after the stop began, and the signal sent then."""

POLITE: Ladder = ((0, SIGTERM), (5.5, SIGKILL))
WORKER: Ladder = ((0, SIGTERM), (4.0, SIGQUIT), (5.5, SIGKILL))
"""Celery finishes its tasks on SIGTERM and drops them on SIGQUIT; rows whose lease ends are claimed again."""

_LOG_BYTES = 16 * 1024 * 1024
_PR_SET_PDEATHSIG = 1
_LONGEST_STOP = 12.0
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _nothing() -> None:
    """Nothing to prepare."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the system, as it is to be started.

    `storey` 0 holds the data services, 1 what uses them: the upper storey stops first. `prepare` runs before each
    start. `death_signal` is what the kernel sends should we vanish (Linux).
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    log: Path
    stop: Ladder = POLITE
    storey: int = 1
    death_signal: Signals = SIGTERM
    user: SystemUser | None = None
    pass_fds: tuple[int, ...] = ()
    prepare: Callable[[], None] = field(default=_nothing)


class Child:
    """A running part. Start it from a thread that lasts: the kernel's death signal follows the starting thread."""

    def __init__(self, part: Part) -> None:
        self.part = part
        part.prepare()
        with refusing(f"start {part.name}"), _appending(part.log) as log, warnings.catch_warnings():
            # Python warns of preexec_fn beside threads; ours makes two system calls and takes no lock.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process = subprocess.Popen(
                part.argv,
                env=dict(part.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C at the terminal reaches us alone; we stop the parts in order
                pass_fds=part.pass_fds,
                preexec_fn=die_with_parent(part.death_signal),
                user=part.user.uid if part.user else None,
                group=part.user.gid if part.user else None,
                extra_groups=[] if part.user else None,
            )
        self.started = time.monotonic()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, minus the signal's number where a signal ended it; None while it runs."""
        return self._process.poll()

    def ended(self) -> bool:
        """Whether the process is gone. What it left behind in its process group is then ended too."""
        if self._process.poll() is None:
            return False
        self._kill_group()
        return True

    def send(self, signal: Signals) -> None:
        """Send a signal; SIGKILL goes to everything the part has started, the others to the part, which knows how."""
        if self._process.poll() is None and signal is not SIGKILL:
            self._process.send_signal(signal)
            return
        self._kill_group()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError):  # nothing is left of it
            os.killpg(self._process.pid, SIGKILL)


def stop_all(children: Iterable[Child], hurried: Callable[[], bool] = lambda: False) -> None:
    """Stop the children side by side, each by its ladder, and return when all are gone.

    Once `hurried` says so, nobody is waited for: each ladder goes on from its second step. Raises `RuntimeError`
    where a process outlives SIGKILL (it hangs in the kernel).
    """
    ladders = {child: list(child.part.stop) for child in children}
    began, hurrying = time.monotonic(), False
    while alive := [child for child in ladders if not child.ended()]:
        if not hurrying and hurried():
            ladders = {child: _from_second_step(child.part.stop) for child in alive}
            began, hurrying = time.monotonic(), True
        if time.monotonic() - began > _LONGEST_STOP:
            raise RuntimeError(f"does not end: {', '.join(child.part.name for child in alive)}")
        for child in alive:
            while ladders[child] and ladders[child][0][0] <= time.monotonic() - began:
                child.send(ladders[child].pop(0)[1])
        time.sleep(0.01)


def _from_second_step(ladder: Ladder) -> list[tuple[float, Signals]]:
    begin = ladder[1][0]
    return [(seconds - begin, signal) for seconds, signal in ladder[1:]]


def _appending(log: Path) -> IO[bytes]:
    """The log opened for appending; a large one is set aside first, so that two files bound it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


def die_with_parent(signal: Signals) -> Callable[[], None] | None:
    """What a child does between fork and exec (`preexec_fn`): ask the kernel for `signal` at our death."""
    if _LIBC is None:
        return None
    parent, prctl = os.getpid(), _LIBC.prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal), 0, 0, 0)
        if os.getppid() != parent:  # we died before the kernel was asked
            os._exit(1)

    return ask
