"""The system under test: `gain up` in real processes, a broker behind a door, schedulers, and what harms them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import httpx
import psutil

from app.referrals.heartbeat import Beating
from app.runtime.child import die_with_parent
from app.runtime.data_dir import DataDir
from app.runtime.plan import child_environment
from app.runtime.pulse import silent_seconds
from app.settings import Settings
from tests.faults import inject
from tests.faults.broker import Broker
from tests.faults.footprint import Footprint
from tests.faults.start import command
from tests.journeys.processes import System, runs

SECRET = "a secret for fault tests that is long enough to be one"
RING = "ring-of-faults:" + "A" * 43

LEASE_SECONDS = 3.0
"""The lease of a hand-over here: what a killed worker held is taken up again after this, instead of after 90 s."""


_HEARS_SECONDS = 2.0


def until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Return when the condition holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


class Plant:
    """A running system. Every method that breaks something has one that mends it, or the system mends itself."""

    def __init__(self, folder: Path, system: System, broker: Broker, environment: Mapping[str, str]) -> None:
        self._system = system
        self._environment = environment
        self._starter = ThreadPoolExecutor(1)
        self._schedulers: list[subprocess.Popen[bytes]] = []
        self.folder = folder
        self.broker = broker
        self.usual: dict[str, Footprint] = {}
        """What its parts hold when it has worked and is quiet."""
        self.url = system.ready()
        self.database_url = str(DataDir(folder).state()["database_url"])
        self.scale_schedulers(1)
        until(self.worker_hears, 60, "the worker takes wake-ups")

    @property
    def said(self) -> str:
        """What `up` said on stderr."""
        return self._system.said

    def endings(self, name: str) -> int:
        """How often a part that `up` keeps has ended so far."""
        return self.said.count(f"gain: {name} ended (")

    # Processes

    def part(self, name: str) -> psutil.Process | None:
        """The running process of a part that `up` keeps (gateway, worker, postgres), if it runs just now."""
        with suppress(StopIteration, psutil.NoSuchProcess, FileNotFoundError):
            return self._system.part(name, self.folder)
        return None

    def worker_children(self) -> list[psutil.Process]:
        """The processes of the worker that do the work."""
        with suppress(psutil.NoSuchProcess):
            worker = self.part("worker")
            return [child for child in worker.children() if runs(child)] if worker else []
        return []

    def kill_worker_child(self, random: Random) -> None:
        """SIGKILL to one process that does the work."""
        until(self.worker_children, 20, "a worker's child to kill")
        with suppress(psutil.NoSuchProcess):
            random.choice(self.worker_children()).kill()

    def kill_worker_group(self) -> None:
        """SIGKILL to the worker with all its children at once."""
        os.killpg(self._there("worker").pid, signal.SIGKILL)

    def kill(self, name: str, with_signal: signal.Signals = signal.SIGKILL) -> None:
        """A signal that ends the main process of a part at once."""
        self._there(name).send_signal(with_signal)

    def _there(self, name: str) -> psutil.Process:
        deadline = time.monotonic() + 30
        while (found := self.part(name)) is None:
            assert time.monotonic() < deadline, f"{name} does not run"
            time.sleep(0.02)
        return found

    @contextmanager
    def silent(self, name: str) -> Iterator[None]:
        """A part that neither ends nor answers for the length of the block: all its processes stand still."""
        processes = [self._there(name), *self._there(name).children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        try:
            yield
        finally:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def scale_schedulers(self, number: int) -> None:
        """Have so many schedulers; those too many are killed, first those that run longest (one of them leads)."""
        self._schedulers = [process for process in self._schedulers if process.poll() is None]
        while len(self._schedulers) > number:
            process = self._schedulers.pop(0)
            process.kill()
            process.wait()
        while len(self._schedulers) < number:
            self._schedulers.append(self.run_beside("scheduler"))

    def schedulers_run(self) -> bool:
        """Whether every scheduler that was started still runs: none ends by itself."""
        return all(process.poll() is None for process in self._schedulers)

    def signal_schedulers(self, number: signal.Signals) -> None:
        """Send every scheduler a signal."""
        for process in self._schedulers:
            process.send_signal(number)

    def run_beside(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """A further part of this system, unsupervised."""
        # From a thread that lasts: a part dies with the thread that started it.
        return self._starter.submit(self._start, arguments, environment).result()

    def _start(self, arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        log = DataDir(self.folder).logs / f"{arguments[0]}-beside.log"
        with log.open("ab") as output:
            return subprocess.Popen(
                command(*arguments),
                env={
                    **self._environment,
                    "GAIN_DATABASE_URL": self.database_url,
                    "GAIN_BROKER_URL": self.broker.url,
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,  # a death of its whole group is not ours
                preexec_fn=die_with_parent(signal.SIGKILL),
            )

    @contextmanager
    def beside(self, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """A further part for the length of the block."""
        process = self.run_beside(*arguments, **environment)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)

    # Faults inside the processes (inject.py)

    def die_at(self, point: str, times: int, by: signal.Signals = signal.SIGKILL, *, group: bool = False) -> None:
        """Have the next `times` processes that reach the point get a signal there, alone or with their whole group."""
        self._ask_for(point, times, f"group {int(by)}" if group else str(int(by)))

    def exit_at(self, point: str, times: int) -> None:
        """Have the next `times` processes that reach the point exit there, without another word."""
        self._ask_for(point, times, "exit")

    def _ask_for(self, point: str, times: int, how: str) -> None:
        for number in range(times):
            draft = self._faults / f"{number}.new"
            draft.write_text(how)
            draft.replace(self._faults / f"{point}.{number}")

    def deaths_left(self) -> list[str]:
        """The deaths that were asked for and have not happened yet."""
        return [path.name for path in self._faults.glob("*.[0-9]*")]

    def agencies(self, behaviour: str) -> None:
        """Have the simulated bodies behave like this from now on; `well` as they should."""
        draft = self._faults / "agency.new"
        draft.write_text(behaviour)
        draft.replace(self._faults / "agency")

    def shift_clocks(self, seconds: float) -> None:
        """Have the clock of every process be wrong by so much."""
        draft = self._faults / "clock.new"
        draft.write_text(str(seconds))
        draft.replace(self._faults / "clock")

    def calls(self) -> Sequence[tuple[str, int, str]]:
        """Every call to a simulated body since the last `mend`: dispatch, attempt, how the body behaved."""
        with suppress(FileNotFoundError):
            return [tuple(json.loads(line)) for line in (self._faults / "calls").read_text().splitlines()]
        return []

    def calls_are_under_way(self) -> None:
        """Return when a simulated body has been called since the last `mend`."""
        until(self.calls, 20, "a call to an agency")

    def mend(self) -> None:
        """End every fault that a test may have left."""
        self.agencies("well")
        self.shift_clocks(0)
        self.broker.back()
        for process in self.worker_children():
            process.resume()
        self.scale_schedulers(1)
        for path in [*self._faults.glob("*.[0-9]*"), self._faults / "calls"]:
            path.unlink(missing_ok=True)

    @property
    def _faults(self) -> Path:
        return Path(self._environment[inject.VARIABLE])

    # What it says

    def is_ready(self) -> bool:
        """Whether the gateway says that it can serve everything."""
        with suppress(httpx.HTTPError):
            return bool(httpx.get(f"{self.url}/health/ready", timeout=2).json()["status"] == "ready")
        return False

    def footprint(self) -> dict[str, Footprint]:
        """What the processes of each part hold together; empty where one of them is not there just now."""
        schedulers = [psutil.Process(process.pid) for process in self._schedulers if process.poll() is None]
        parts = {
            "gateway": [part] if (part := self.part("gateway")) else [],
            "worker": [part, *self.worker_children()] if (part := self.part("worker")) else [],
            "scheduler": schedulers,
        }
        with suppress(psutil.NoSuchProcess):
            return {name: Footprint.of(processes) for name, processes in parts.items()}
        return {}

    def worker_hears(self) -> bool:
        """Whether a wake-up came through the broker to the worker within the last seconds."""
        configuration = Settings(database_url=self.database_url)
        silent = asyncio.run(silent_seconds(configuration))[Beating.WORKER]
        return silent is not None and silent < _HEARS_SECONDS

    def logs(self) -> str:
        """All logs of all parts."""
        return "".join(path.read_text(errors="replace") for path in DataDir(self.folder).logs.iterdir())

    def stop(self) -> None:
        """End what was started beside the system."""
        self.scale_schedulers(0)
        self._starter.shutdown()


@contextmanager
def running(folder: Path, *, lease_seconds: float = LEASE_SECONDS) -> Iterator[Plant]:
    """A system for the length of the block."""
    faults = folder / "faults"
    faults.mkdir(parents=True)
    broker = Broker(folder / "broker")
    environment = {
        **child_environment(),
        "GAIN_BROKER_URL": broker.url,
        "GAIN_SECRET": SECRET,
        "GAIN_KEY_RING": RING,
        "GAIN_SIMULATE": "true",
        "GAIN_SIMULATION_SPEED": "0",
        "GAIN_PUSH_HOSTS": "127.0.0.1=127.0.0.0/8",
        "GAIN_DATABASE_ANSWER_SECONDS": "3",
        inject.VARIABLE: str(faults),
        inject.LEASE: str(lease_seconds),
        inject.RETRY: "0.3",
    }
    argv = (sys.executable, "-P", "-m", "tests.faults.start", str(folder / "data"))
    system = System(argv, folder / "up.stderr", environment)
    try:
        plant = Plant(folder / "data", system, broker, environment)
        try:
            yield plant
        finally:
            plant.stop()
    finally:
        with system.process:
            system.end()
        broker.stop()
