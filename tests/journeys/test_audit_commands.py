"""`gain audit …` as processes: on a data directory at rest, and beside a running `gain up`."""

import json
import subprocess
from pathlib import Path

import pytest

from app.runtime.embedded import EmbeddedPostgres
from app.runtime.plan import child_environment, gain_command
from tests.journeys.test_embedded import query

FILL = """
    INSERT INTO audit_event (operation, action, party, actor, recipients, at)
    SELECT CASE n % 2 WHEN 0 THEN 'disclosure' ELSE 'consultation' END, 'filler.' || n,
           CASE n % 3 WHEN 0 THEN 'SWP' ELSE 'HMRC' END, 'x', CASE n % 2 WHEN 0 THEN ARRAY['EA'] END,
           now() - interval '400 days' + n * interval '1 day'
      FROM generate_series(1, 700) AS n
"""


# The key was issued before all else, or pruning would stop at the first event, which is new.
ISSUED_LONG_AGO = (
    "ALTER TABLE audit_event DISABLE TRIGGER ALL",
    "UPDATE audit_event SET at = now() - interval '401 days'",
    "ALTER TABLE audit_event ENABLE TRIGGER ALL",
)


def gain(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command on a data directory."""
    environment = {name: value for name, value in child_environment().items() if not name.startswith("GAIN_")}
    done = subprocess.run(
        gain_command(*arguments, "--data-dir", str(folder)),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def owner_does(folder: Path, *statements: str) -> list[tuple[object, ...]]:
    """Change the database as its owner."""
    with EmbeddedPostgres(folder) as postgres:
        return query(postgres.url, *statements)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a log of 701 events, of more than a year, and one export of it."""
    folder = tmp_path_factory.mktemp("audit") / "data"
    gain(folder, "keys", "issue", "SWP")
    owner_does(folder, *ISSUED_LONG_AGO, FILL)
    gain(folder, "audit", "export", "--output", str(folder.parent / "whole.jsonl"), "--reason", "Quillfeather asked")
    return folder


def test_an_untouched_log_verifies_with_its_checkpoint(filled: Path) -> None:
    done = gain(filled, "audit", "verify")
    origin, size, *_ = done.stdout.splitlines()
    assert origin == "gain.invalid/audit"
    assert int(size) >= 702
    assert "entries verified" in done.stderr
    assert done.stdout.splitlines()[-1].startswith("— gain.invalid/audit ")


def checked(file: Path, key: str, *, folder: Path) -> subprocess.CompletedProcess[str]:
    """Verify an export in an empty folder, with no setting."""
    environment = {name: value for name, value in child_environment().items() if not name.startswith("GAIN_")}
    command = gain_command("audit", "verify-export", str(file), "--key", key)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def blanked(line: str) -> str:
    """The line of an export whose content somebody took out: its hash is what it was."""
    return json.dumps({**json.loads(line), "entry": None}, separators=(",", ":")) + "\n"


def test_an_export_is_checked_without_database_secret_or_setting(filled: Path, tmp_path: Path) -> None:
    key = gain(filled, "audit", "key").stdout.strip()
    whole = filled.parent / "whole.jsonl"
    assert "Quillfeather" not in whole.read_text()
    done = checked(whole, key, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "whole: 702 entries hold" in done.stderr
    assert list(tmp_path.iterdir()) == []
    lines = whole.read_text().splitlines(keepends=True)
    for name, changed, told in (
        ("edit", [*lines[:40], lines[40].replace("filler", "killer"), *lines[41:]], "entry 39: it is not the one"),
        ("delete", [*lines[:40], *lines[41:]], "entry 39: it is missing"),
        ("reorder", [*lines[:40], lines[41], lines[40], *lines[42:]], "entry 39: it is missing or out of its place"),
        ("truncate", lines[:-5], "entry 697"),
        ("add", [*lines, lines[-1]], "entry 702"),
        ("blank", [*lines[:40], blanked(lines[40]), *lines[41:]], "entry 39: its content is missing"),
        ("damage", [*lines[:40], "{\n", *lines[41:]], "line 41"),
    ):
        forged = tmp_path / f"{name}.jsonl"
        forged.write_text("".join(changed))
        refused = checked(forged, key, folder=tmp_path)
        assert refused.returncode == 1, name
        assert told in refused.stderr, (name, refused.stderr)
    stranger = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    assert checked(whole, stranger, folder=tmp_path).returncode == 1


def test_a_selection_carries_its_proofs(filled: Path, tmp_path: Path) -> None:
    key = gain(filled, "audit", "key").stdout.strip()
    file = tmp_path / "selection.jsonl"
    gain(filled, "audit", "export", "--output", str(file), "--party", "EA", "--since", "2000-01-01")
    head, *entries = [json.loads(line) for line in file.read_text().splitlines()]
    assert head["kind"] == "selection"
    assert len(entries) == 350
    assert all("EA" in line["entry"]["recipients"] for line in entries)
    assert "350 entries hold" in checked(file, key, folder=tmp_path).stderr
    entries[7]["sequence"] += 2
    changed = [json.dumps(line, separators=(",", ":"), ensure_ascii=False) for line in (head, *entries)]
    file.write_text("\n".join(changed) + "\n")
    assert f"entry {entries[7]['sequence']}" in checked(file, key, folder=tmp_path).stderr


def test_pruning_deletes_content_and_the_log_and_its_export_verify_and_tell(filled: Path, tmp_path: Path) -> None:
    before = gain(filled, "audit", "prune", "--before", "2001-01-01", "--dry-run")
    assert "first 0 entries would" in before.stderr
    cut = owner_does(filled, "SELECT to_char(now() - interval '100 days', 'YYYY-MM-DD')")[0][0]
    done = gain(filled, "audit", "prune", "--before", str(cut), "--reason", "kept for 100 days")
    number = int(done.stderr.split()[-3].replace(",", ""))
    assert 290 <= number <= 302
    told = gain(filled, "audit", "verify").stderr
    assert f"content pruned: {number}" in told
    pruned = tmp_path / "pruned.jsonl"
    gain(filled, "audit", "export", "--output", str(pruned))
    exported = checked(pruned, gain(filled, "audit", "key").stdout.strip(), folder=tmp_path)
    assert exported.returncode == 0, exported.stderr
    assert f"{number} entries are without their content: entry " in exported.stderr
    [(operation, salted)] = owner_does(
        filled,
        "SELECT operation, commitments ? 'reason' FROM audit_event WHERE action = 'audit.pruned'",
    )
    assert (operation, salted) == ("erasure", True)
    assert "0 entries pruned" in gain(filled, "audit", "prune", "--before", str(cut)).stderr


def test_tampering_gives_exit_code_one_and_the_first_bad_entry(filled: Path) -> None:
    owner_does(
        filled,
        "ALTER TABLE audit_event DISABLE TRIGGER ALL",
        "UPDATE audit_event SET party = 'GMP' WHERE id = (SELECT event_id FROM audit_entry WHERE sequence = 512)",
        "ALTER TABLE audit_event ENABLE TRIGGER ALL",
    )
    done = gain(filled, "audit", "verify", code=1)
    assert done.stdout.startswith("entry 512: its event")


def test_what_a_person_mistypes_is_told_in_one_line(filled: Path, tmp_path: Path) -> None:
    for arguments in (("prune",), ("export", "--output", str(tmp_path / "no" / "such" / "folder"))):
        done = gain(filled, "audit", *arguments, code=1)
        assert done.stdout == ""
        assert len(done.stderr.strip().splitlines()) <= 2
