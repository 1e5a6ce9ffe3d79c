"""A system of its own for a demonstration: a fresh folder, keys by the command line, and an end that leaves nothing."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from app.runtime.plan import child_environment, gain_command
from app.runtime.refusal import StartRefused, refusing

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_KEY_SECONDS = 60.0
_PASSING = 0o711  # the data services may run as a user of their own, who must get to their folders below


class Interrupted(BaseException):
    """A stop was asked for; `exit_code` is what the shell expects of a command that a signal ended."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


@contextmanager
def unwinding() -> Iterator[None]:
    """Within the block the first Ctrl-C, SIGTERM or closing terminal raises `Interrupted`, and no second one does.

    What the blocks inside have started is thus stopped in order, however impatient somebody is.
    """

    def unwind(number: int, _frame: FrameType | None) -> None:
        for other in _SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        raise Interrupted(number)

    before = {number: signal.signal(number, unwind) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def data_folder(given: Path | None, *, keep: bool) -> Iterator[Path]:
    """The folder named, or a fresh one that is removed afterwards unless `keep`. A folder named is always kept."""
    if given is not None:
        yield given.expanduser().absolute()
        return
    with refusing("make a folder for the demonstration"):
        made = Path(tempfile.mkdtemp(prefix="gain-demo-"))
        made.chmod(_PASSING)
        (made / "tmp").mkdir()
        (made / "tmp").chmod(_PASSING)
    try:
        # A killed worker cannot clear away its own temporary files: they go with ours.
        with _environment(TMPDIR=str(made / "tmp")):
            yield made / "data"
    finally:
        if not keep:
            shutil.rmtree(made)


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def forget_settings() -> None:
    """Drop every `GAIN_*` variable: a demonstration must never write to the servers that somebody has set up."""
    for name in [name for name in os.environ if name.startswith("GAIN_")]:
        del os.environ[name]


def issue_by_command(data_dir: Path, party: str) -> str:
    """What `gain keys issue PARTY` prints. Raises `StartRefused` with the last line it says where it fails."""
    return _command(data_dir, "keys", "issue", party)


def _command(data_dir: Path, *words: str) -> str:
    argv = gain_command(*words, "--data-dir", str(data_dir))
    done = subprocess.run(
        argv, env=child_environment(), capture_output=True, text=True, timeout=_KEY_SECONDS, check=False
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [
            f"gain {words[0]} {words[1]} ended with exit code {done.returncode}"
        ]
        raise StartRefused(lines[-1].removeprefix("gain: "))
    return done.stdout.strip()


def people_by_command(data_dir: Path) -> list[list[str]]:
    """The accounts that `gain users demonstrate` makes and prints: user name, party, role, password, TOTP secret.

    Raises as `issue_by_command`.
    """
    return [line.split("\t") for line in _command(data_dir, "users", "demonstrate").splitlines()]


def said(data_dir: Path) -> list[str]:
    """What the `gain up` of this folder told its terminal, but for its plain stop and how to go on with it."""
    log = data_dir / "logs" / "up.log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    told = [line.removeprefix("gain: ") for line in lines if line != "gain: stopping"]
    return [line for line in told if not line.startswith("people sign in at ")]
