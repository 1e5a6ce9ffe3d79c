"""Started systems, as the journeys see them: their processes, what they said, and waiting for something to be so."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGTERM

import psutil

from app.runtime.child import die_with_parent
from app.runtime.plan import child_environment

SMALL_SYSTEM = (sys.executable, str(Path(__file__).with_name("small_system.py")))
GAIN = (sys.executable, "-P", "-m", "app.cli")


def eventually(condition: Callable[[], object], seconds: float = 20) -> None:
    """Return when the condition holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


def runs(process: psutil.Process) -> bool:
    """Whether it is there and not a zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class System:
    """A started `up`; `said` is its stderr so far."""

    def __init__(self, argv: Sequence[str], errors: Path, environment: dict[str, str] | None = None) -> None:
        self._errors = errors
        with errors.open("wb") as stderr:
            self.process = subprocess.Popen(
                argv,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**child_environment(), **(environment or {})},
                preexec_fn=die_with_parent(SIGTERM),  # a pytest that is killed leaves nothing running
            )
        self._seen: set[psutil.Process] = set()

    def ready(self) -> str:
        """The URL of the line `ready URL`."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("ready http://"), self.said
        self.remember()
        return line.split()[1]

    @property
    def said(self) -> str:
        return self._errors.read_text(encoding="utf-8")

    def part(self, name: str, data_dir: Path) -> psutil.Process:
        """The running process of a part: the child whose output goes to that part's log."""
        log = str(data_dir / "logs" / f"{name}.log")
        return next(p for p in psutil.Process(self.process.pid).children() if os.readlink(f"/proc/{p.pid}/fd/1") == log)

    def end(self) -> None:
        """Stop what still runs, by force where it must be."""
        if self.process.poll() is None:
            self.remember()
            self.process.terminate()
            try:
                self.process.wait(12)
            except subprocess.TimeoutExpired:
                self.process.kill()
        for process in self.survivors():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def remember(self) -> set[psutil.Process]:
        """Every process of the system until now."""
        with suppress(psutil.NoSuchProcess):
            self._seen.update(psutil.Process(self.process.pid).children(recursive=True))
        return self._seen

    def survivors(self) -> list[psutil.Process]:
        """Those of them that still run."""
        return [p for p in self._seen if runs(p)]

    def stop(self, seconds: float = 10) -> float:
        """SIGTERM; how many seconds it took to be gone."""
        began = time.monotonic()
        self.process.terminate()
        self.process.wait(seconds)
        return time.monotonic() - began


@contextmanager
def started(argv: Sequence[str], errors: Path, environment: dict[str, str] | None = None) -> Iterator[System]:
    """A system for the length of the block; whatever of it is left is killed afterwards."""
    system = System(argv, errors, environment)
    try:
        yield system
    finally:
        with system.process:
            system.end()
