"""A whole system for the length of a block: `gain up` as a child process."""

import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM
from typing import IO

from app.runtime.child import die_with_parent
from app.runtime.data_dir import DataDir
from app.runtime.plan import child_environment, gain_command
from app.runtime.refusal import StartRefused

_READY_SECONDS = 180.0
_STOP_SECONDS = 15.0


@contextmanager
def running_system(
    data_dir: Path, *, port: int = 0, simulate: bool = False, speed: float | None = None
) -> Iterator[str]:
    """Run `gain up` on `data_dir` and give the gateway's URL; leaving the block stops all of it.

    What it says goes to `logs/up.log` in the data directory. Raises `StartRefused` where it does not become ready.
    """
    folder = DataDir(data_dir)
    folder.make()
    log = folder.logs / "up.log"
    options = [*(["--simulate"] if simulate else []), *([] if speed is None else ["--speed", repr(speed)])]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            gain_command("up", "--port", str(port), "--data-dir", str(folder.path), *options),
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # Ctrl-C reaches us; we stop it
            preexec_fn=die_with_parent(SIGTERM),
        )
    with process:
        try:
            yield _url(process.stdout, log)
        finally:
            _stop(process)


def _url(output: IO[bytes] | None, log: Path) -> str:
    """The URL from the line `ready URL`."""
    if output is None:
        raise RuntimeError("stdout was not asked for")
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if not select.select([output], [], [], 0.2)[0]:
            continue
        word, _, url = output.readline().decode().strip().partition(" ")
        if word == "ready":
            return url
        break
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or [f"gain: see {log}"]
    raise StartRefused(lines[-1].removeprefix("gain: "))


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # its parts follow it: the kernel tells them
        process.wait()
