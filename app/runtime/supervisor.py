"""Keeps parts running: sees a crash, says it in one line, starts the part again, and stops everything in order."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from app.runtime.child import Child, Part, stop_all
from app.runtime.refusal import StartRefused

_TICK_SECONDS = 0.05
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0
_STEADY_SECONDS = 60.0  # a part that ran this long has recovered: its next crash counts as the first
_SECOND_SIGNAL_SECONDS = 0.3  # a terminal and a wrapper may both pass on one Ctrl-C; that is one wish, not two


class Stopped(Exception):
    """A stop was asked for while the system was still starting."""


@dataclass(slots=True)
class _Watched:
    """A part, its process, and when it is to be started again."""

    part: Part
    child: Child | None = None
    crashes: int = 0
    due: float = 0.0


class Supervisor:
    """Owns the processes of the system. Single-threaded: everything happens inside its calls.

    `say` takes one line for the person at the terminal.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._watched: dict[str, _Watched] = {}
        self._asked: list[float] = []

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Within the block Ctrl-C, SIGTERM and a closing terminal ask for a stop instead of ending the process."""
        wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._ask) for number in wanted}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._asked.append(time.monotonic())

    def hurried(self) -> bool:
        """Whether a stop was asked for a second time: then nobody is waited for."""
        return len(self._asked) > 1 and self._asked[-1] - self._asked[0] > _SECOND_SIGNAL_SECONDS

    def start(self, part: Part) -> None:
        """Start a part and keep it running. Raises `StartRefused` where it cannot be started at all."""
        self._watched[part.name] = _Watched(part, Child(part))

    def wait(self, name: str, answers: Callable[[], bool], seconds: float) -> None:
        """Return when the part answers, keeping everything running meanwhile.

        Raises `StartRefused` after `seconds` or its third crash, `Stopped` where a stop is asked for.
        """
        watched = self._watched[name]
        deadline = time.monotonic() + seconds
        while not answers():
            self._tick()
            if watched.crashes >= 3 or time.monotonic() > deadline:
                raise StartRefused(f"{name} does not start: see {watched.part.log}")
            if self._asked:
                raise Stopped
            time.sleep(_TICK_SECONDS)

    def complete(self, part: Part) -> None:
        """Run a part that ends by itself, keeping everything else running.

        Raises `StartRefused` with the last line of its log where it fails, `Stopped` where a stop is asked for.
        """
        child = Child(part)
        try:
            while not child.ended():
                self._tick()
                if self._asked:
                    raise Stopped
                time.sleep(_TICK_SECONDS)
        finally:
            stop_all([child], self.hurried)
        if child.exit_code != 0:
            raise StartRefused(f"{part.name} failed: {_last_line(part)}")

    def run(self) -> None:
        """Keep everything running until a stop is asked for."""
        while not self._asked:
            self._tick()
            time.sleep(_TICK_SECONDS)

    def stop(self) -> None:
        """Stop every part, upper storey first; a second signal makes it immediate."""
        running = [watched.child for watched in self._watched.values() if watched.child is not None]
        self._watched = {}
        for storey in sorted({child.part.storey for child in running}, reverse=True):
            stop_all([child for child in running if child.part.storey == storey], self.hurried)

    def _tick(self) -> None:
        for watched in self._watched.values():
            if watched.child is not None and watched.child.ended():
                self._crashed(watched, watched.child)
            elif watched.child is None and time.monotonic() >= watched.due:
                self._start_again(watched)

    def _crashed(self, watched: _Watched, child: Child) -> None:
        if time.monotonic() - child.started > _STEADY_SECONDS:
            watched.crashes = 0
        self._again_later(watched, f"ended ({_how(child.exit_code)})")

    def _start_again(self, watched: _Watched) -> None:
        try:
            watched.child = Child(watched.part)
        except StartRefused as refusal:
            self._again_later(watched, f"did not start ({refusal})")

    def _again_later(self, watched: _Watched, what: str) -> None:
        delay = min(_FIRST_DELAY * 2**watched.crashes, _LONGEST_DELAY)
        watched.child, watched.due = None, time.monotonic() + delay
        watched.crashes += 1
        self._say(f"{watched.part.name} {what}: starting it again in {delay:g} s, see {watched.part.log}")


def _how(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    return f"signal {-code}, {signal.strsignal(-code)}"


def _last_line(part: Part) -> str:
    lines = part.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else f"see {part.log}"


def say(line: str) -> None:
    """Tell the person at the terminal one line, on stderr."""
    with suppress(OSError):  # the terminal is gone; that must not keep us from stopping our processes
        print(f"gain: {line}", file=sys.stderr, flush=True)
