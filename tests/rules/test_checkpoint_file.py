"""The file of checkpoints: each line whole, whatever the disk did to the one before it."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.audit.checkpoints import UNFINISHED, Line, Signed, append, notes

SIGNED = Signed(7, datetime(2026, 1, 1, tzinfo=UTC), "a note\n")

# Writes a checkpoint where a file may grow to so many bytes: the system refuses what lies beyond, as on a full disk.
_ON_A_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from tests.rules.test_checkpoint_file import SIGNED, append
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    append(Path(sys.argv[1]), SIGNED)
except OSError:
    raise SystemExit(3)
"""


def on_a_full_disk(file: Path, room: int) -> int:
    """Append where the file may grow to `room` bytes; returns the exit code."""
    return subprocess.run([sys.executable, "-c", _ON_A_FULL_DISK, str(file), str(room)], check=False).returncode


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "checkpoints.jsonl"
    append(file, SIGNED)
    append(file, SIGNED)
    assert list(notes(file)) == [Line(1, SIGNED.note), Line(2, SIGNED.note)]
    assert file.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("part", [1, 20, len(SIGNED.line()) - 2])
def test_a_full_disk_is_told_and_what_it_left_spoils_no_later_line(tmp_path: Path, part: int) -> None:
    file = tmp_path / "checkpoints.jsonl"
    append(file, SIGNED)
    assert on_a_full_disk(file, len(SIGNED.line()) + part) == 3
    assert file.read_bytes() == SIGNED.line() + SIGNED.line()[:part]
    assert list(notes(file))[1] == Line(2, None, whole=False)
    append(file, SIGNED)
    assert list(notes(file)) == [Line(1, SIGNED.note), Line(2, None, whole=False), Line(3, SIGNED.note)]
    assert file.read_bytes() == SIGNED.line() + SIGNED.line()[:part] + UNFINISHED + SIGNED.line()


def test_a_line_without_its_end_alone_is_ended(tmp_path: Path) -> None:
    file = tmp_path / "checkpoints.jsonl"
    file.write_bytes(SIGNED.line().rstrip())
    assert list(notes(file)) == [Line(1, SIGNED.note)]
    append(file, SIGNED)
    assert file.read_bytes() == SIGNED.line() * 2


def test_what_a_power_cut_left_as_zeroes_is_unfinished_however_long(tmp_path: Path) -> None:
    file = tmp_path / "checkpoints.jsonl"
    file.write_bytes(SIGNED.line() + bytes(200_000))
    append(file, SIGNED)
    assert [line.whole for line in notes(file)] == [True, False, True]


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b"no JSON\n", b'{"checkpoint": 7}\n'])
def test_a_whole_line_that_holds_no_checkpoint_is_not_taken_for_unfinished(tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "checkpoints.jsonl"
    file.write_bytes(line)
    append(file, SIGNED)
    assert list(notes(file)) == [Line(1, None), Line(2, SIGNED.note)]
