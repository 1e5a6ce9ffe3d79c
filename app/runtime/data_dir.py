"""The data directory: whose it is, the secret, the logs, and what is running in it."""

import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from app.crypto.keyring import Bare, new_ring
from app.runtime.refusal import StartRefused, refusing

_PROBE_SECONDS = 0.3  # another command may hold the lock for an instant, to see whether it is free

RUN_MARK = "GAIN_RUN"
"""Variable by which a later start recognises processes that an earlier run left behind."""


class DataDir:
    """One data directory. Everything secret in it is readable to its owner alone."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self._lock: int | None = None

    @property
    def logs(self) -> Path:
        """The folder of the parts' logs."""
        return self.path / "logs"

    @property
    def _state(self) -> Path:
        return self.path / "runtime.json"

    def make(self) -> None:
        """Make the directory where it is missing. Raises `StartRefused` where that or writing to it fails."""
        with refusing(f"use {self.path} as data directory"):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.logs.mkdir(mode=0o700, exist_ok=True)
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(0, "no permission to write there")

    def lock(self) -> bool:
        """Take the directory for this process; False where another one has it. The kernel frees it at our death."""
        with refusing(f"write to {self.path}"):
            handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._lock = handle
        return True

    def is_held(self) -> bool:
        """Whether another process has taken the directory."""
        if not (self.path / "lock").exists():
            return False
        if not self.lock():
            return True
        self._release()
        return False

    def unlock(self) -> None:
        """Give the directory back, and forget what ran."""
        if self._lock is None:
            return
        self._state.unlink(missing_ok=True)
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None

    def state(self) -> dict[str, Any]:
        """What is running here as its owner wrote it down: {} where nothing is known."""
        try:
            found = json.loads(self._state.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return found if isinstance(found, dict) else {}

    def write_state(self, **state: str | int) -> None:
        """Write down what is running, for the other commands. Only the holder of the lock does."""
        self.write_secret("runtime.json", json.dumps({"pid": os.getpid(), **state}))

    def secret(self, name: str, make: Callable[[], str] = lambda: secrets.token_urlsafe(48)) -> str:
        """The secret kept in the file `name`, made the first time."""
        path = self.path / name
        if not path.exists():
            self.write_secret(name, make())
        with refusing(f"read {path}"):
            return path.read_text(encoding="utf-8").strip()

    def key_ring(self) -> Path:
        """The file of the key ring, made with one key the first time."""
        self.secret("key.ring", lambda: new_ring(Bare()).text())
        return self.path / "key.ring"

    def write_secret(self, name: str, text: str) -> Path:
        """Write a file that only its owner may read, whole or not at all."""
        path = self.path / name
        draft = path.with_name(f"{name}.{os.getpid()}.new")
        with refusing(f"write {path}"):
            draft.unlink(missing_ok=True)
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            keep_names(self.path)
        return path

    def end_leftovers(self) -> int:
        """End what a killed run left behind, and say how many processes that was. Needs the lock.

        Only processes that carry that run's random mark are touched; PostgreSQL cares for its own.
        """
        run = self.state().get("run")
        if not run:
            return 0
        found = [process for process in psutil.process_iter() if _carries(process, str(run))]
        for process in found:
            process.terminate()
        _, alive = psutil.wait_procs(found, timeout=3)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=2)
        return len(found)


@contextmanager
def held(path: Path, kind: str, seconds: float = 10.0) -> Iterator[DataDir]:
    """The data directory, ours alone for the length of the block, freed of what a killed run left behind.

    `kind` is `up`, or `moment` for a command that needs the database briefly: such a one is waited for, at most
    `seconds`. Raises `StartRefused` where another `gain up` has it, or it cannot be made or written.
    """
    folder = DataDir(path)
    folder.make()
    began = time.monotonic()
    while not folder.lock():
        state = folder.state()
        if time.monotonic() - began > (_PROBE_SECONDS if state.get("kind") == "up" else seconds):
            raise StartRefused(_in_use(folder, state.get("pid")))
        time.sleep(0.05)
    try:
        folder.write_state(kind=kind, run=str(folder.state().get("run", "")))
        folder.end_leftovers()
        yield folder
    finally:
        folder.unlock()


def _in_use(folder: DataDir, pid: object) -> str:
    who = f" (process {pid})" if pid else ""
    return f"the data directory {folder.path} is in use by another gain{who}: stop that, or give another --data-dir"


def keep_names(folder: Path) -> None:
    """Make a rename in `folder` outlast a power cut: a lost master secret would make every issued key void."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _carries(process: psutil.Process, run: str) -> bool:
    try:
        return process.pid != os.getpid() and process.name() != "postgres" and process.environ().get(RUN_MARK) == run
    except (psutil.Error, OSError):  # gone meanwhile, or another user's
        return False
