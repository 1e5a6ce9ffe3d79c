"""What an exported log may lack, and how it must be written: no operator hides an entry from whom the file is for."""

import json
import os
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.audit.export import SELECTION, WHOLE, entry_line, heading
from app.audit.note import Signer
from app.audit.pruned import PRUNED, Declaration
from app.audit.tree import inclusion_spans, leaf_hash, root_of
from app.audit.verify_export import Export, ExportRefused, verify_export
from app.crypto.keys import Keys
from app.crypto.sameness import canonical

SIGNER = Signer.of(Keys(b"a secret for tests that is long enough to be one"), "gain.test/audit")
EARLIER = Signer.of(Keys(b"the secret before that, for tests, and long enough"), "gain.test/audit")
FORGER = Signer.of(Keys(b"the secret of somebody else, who forges logs"), "gain.test/audit")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
PRUNED_TO = 7
DECLARING = 20
ENTRIES = 32


def entries(declaration: dict[str, Any]) -> list[dict[str, Any]]:
    """A log in which one entry declares a pruning."""
    made = [{"action": f"read.{number}", "detail": {"who": "Zoë"}, "sequence": number} for number in range(ENTRIES)]
    made[DECLARING] = {"action": PRUNED, "detail": declaration, "sequence": DECLARING}
    return made


def exported(
    made: list[dict[str, Any]], gone: set[int], kind: str = WHOLE, chosen: range = range(ENTRIES)
) -> list[bytes]:
    """The lines of its export without the content of those that are `gone`."""
    written = [canonical(entry) for entry in made]
    leaves = [leaf_hash(entry) for entry in written]
    lines = [heading(kind, len(made), SIGNER.sign(len(made), root_of(leaves)), SIGNER.key)]
    for number in chosen:
        path = [root_of(leaves[start:end]) for start, end in inclusion_spans(number, len(made))]
        content = None if number in gone else written[number]
        lines.append(entry_line(number, leaves[number], content, path if kind == SELECTION else None))
    return lines


@pytest.fixture
def verified(tmp_path: Path) -> Callable[[list[bytes]], Export]:
    """The verifier of lines, with the public key alone."""

    def verify(lines: list[bytes]) -> Export:
        file = tmp_path / "export.jsonl"
        file.write_bytes(b"".join(lines))
        return verify_export(file, [SIGNER.key])

    return verify


Verify = Callable[[list[bytes]], Export]
DECLARED = Declaration.of(SIGNER, PRUNED_TO, LONG_AGO).detail()
BEGINNING = set(range(PRUNED_TO))


def test_what_a_declaration_covers_may_be_gone_and_is_counted_and_told(verified: Verify) -> None:
    found = verified(exported(entries(DECLARED), BEGINNING))
    assert (found.entries, found.pruned, found.pruned_to, found.declared_by) == (ENTRIES, 7, PRUNED_TO, DECLARING)
    assert verified(exported(entries(DECLARED), set())).pruned == 0


@pytest.mark.parametrize("blanked", [PRUNED_TO, 12, ENTRIES - 1])
def test_an_entry_that_was_blanked_is_named_though_every_hash_fits(verified: Verify, blanked: int) -> None:
    with pytest.raises(ExportRefused, match=r"^entry \d+: its content is missing") as refusal:
        verified(exported(entries(DECLARED), BEGINNING | {blanked}))
    assert f"entry {blanked}:" in str(refusal.value)
    with pytest.raises(ExportRefused, match=rf"^entry {blanked}: its content is missing"):
        verified(exported(entries(DECLARED), {blanked}))


def test_where_the_declaration_was_blanked_nothing_is_excused(verified: Verify) -> None:
    with pytest.raises(ExportRefused, match=r"^entry 0: its content is missing"):
        verified(exported(entries(DECLARED), BEGINNING | {DECLARING}))
    with pytest.raises(ExportRefused, match=rf"^entry {DECLARING}: its content is missing"):
        verified(exported(entries(DECLARED), {DECLARING}))


@pytest.mark.parametrize(("kind", "chosen"), [(WHOLE, range(ENTRIES)), (SELECTION, range(2, ENTRIES, 2))])
def test_of_two_that_were_blanked_the_first_is_named_and_none_that_was_pruned(
    verified: Verify, kind: str, chosen: range
) -> None:
    with pytest.raises(ExportRefused, match=r"^entry 12: its content is missing"):
        verified(exported(entries(DECLARED), BEGINNING | {12, 26}, kind, chosen))


def test_a_blanked_entry_is_found_in_a_file_that_can_be_read_once_only() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.writelines(exported(entries(DECLARED), BEGINNING | {12}))
    with pytest.raises(ExportRefused, match=r"^entry 12: its content is missing"):
        verify_export(Path(f"/dev/fd/{reading}"), [SIGNER.key])
    os.close(reading)


@pytest.mark.parametrize(
    "declaration",
    [
        {"to": PRUNED_TO, "before": LONG_AGO.isoformat()},
        DECLARED | {"to": PRUNED_TO + 1},
        DECLARED | {"before": "2026-01-01T00:00:00+00:00"},
        Declaration.of(FORGER, PRUNED_TO, LONG_AGO).detail(),
    ],
)
def test_a_declaration_that_the_logs_key_has_not_signed_is_refused(
    verified: Verify, declaration: dict[str, Any]
) -> None:
    with pytest.raises(ExportRefused, match=rf"^entry {DECLARING}: it declares a pruning"):
        verified(exported(entries(declaration), BEGINNING))


def test_a_declaration_under_an_earlier_secret_is_known_by_its_key(verified: Verify, tmp_path: Path) -> None:
    file = tmp_path / "rotated.jsonl"
    file.write_bytes(b"".join(exported(entries(Declaration.of(EARLIER, PRUNED_TO, LONG_AGO).detail()), BEGINNING)))
    assert verify_export(file, [EARLIER.key, SIGNER.key]).pruned == PRUNED_TO
    with pytest.raises(ExportRefused, match="no known key"):
        verify_export(file, [SIGNER.key])
    with pytest.raises(ExportRefused, match="line 1: it names the key"):
        verify_export(file, [EARLIER.key])


def test_in_a_selection_too_what_is_gone_needs_its_declaration(verified: Verify) -> None:
    lines = exported(entries(DECLARED), BEGINNING, SELECTION, range(2, DECLARING + 1, 3))
    assert verified(lines).pruned == 2
    with pytest.raises(ExportRefused, match="entry 2: its content is missing"):
        verified(lines[:-1])
    with pytest.raises(ExportRefused, match="entry 8: it is there twice"):
        verified([*lines[:4], lines[3], *lines[4:]])


def doubled(line: bytes) -> bytes:
    """An entry that reads as something else to who takes the first of two keys."""
    return line.replace(b'{"action"', b'{"action":"nothing","action"', 1)


@pytest.mark.parametrize(
    "change",
    [
        doubled,
        lambda line: line.replace(b'{"entry"', b'{"entry":null,"entry"', 1),
        lambda line: line.replace(b'"sequence":12}\n', b'"sequence":11,"sequence":12}\n'),
        lambda line: line.replace(b":", b": ", 1),
        lambda line: line.replace("ë".encode(), rb"\u00eb"),
        lambda line: line.replace(b"\n", b"\r\n"),
        lambda line: line.rstrip(b"\n") + b" \n",
        lambda line: json.dumps(dict(reversed(json.loads(line).items())), separators=(",", ":")).encode() + b"\n",
        lambda line: line.replace(b'"leaf":"', b'"leaf":" ', 1),
        lambda line: line.replace(b'"sequence":12}\n', b'"sequence":12,"seen":true}\n'),
    ],
)
def test_a_line_that_is_not_its_canonical_form_is_refused_and_its_entry_named(
    verified: Verify, change: Callable[[bytes], bytes]
) -> None:
    lines = exported(entries(DECLARED), set())
    assert change(lines[13]) != lines[13]
    with pytest.raises(ExportRefused, match=r"^entry 12: line 14 is not its canonical form"):
        verified([*lines[:13], change(lines[13]), *lines[14:]])


def test_a_first_line_with_two_of_a_key_is_refused(verified: Verify) -> None:
    head, *rest = exported(entries(DECLARED), set())
    with pytest.raises(ExportRefused, match="line 1"):
        verified([head.replace(b'{"log"', b'{"log":"another","log"'), *rest])


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000 + b"\n",
        b"[]\n",
        b"\n",
        b'{"entry":[],"leaf":"00","sequence":12}\n',
        b'{"entry":{},"leaf":"00","sequence":"12"}\n',
        b'{"entry":{},"leaf":7,"sequence":12}\n',
        b'{"entry":null,"leaf":"00","proof":["\xc3\xab"],"sequence":12}\n',
        b'{"entry":null,"leaf":"00","proof":null,"sequence":12}\n',
        b'{"entry":%b1%b,"leaf":"00","sequence":12}\n' % (b'{"a":' * 900, b"}" * 900),
    ],
)
def test_a_line_that_is_no_entry_is_refused_in_words(verified: Verify, line: bytes) -> None:
    lines = exported(entries(DECLARED), set())
    with pytest.raises(ExportRefused, match=r"line 14|entry 12"):
        verified([*lines[:13], line, *lines[14:]])


def _memory_of_verifying(file: Path, entries: int) -> int:
    """The most bytes that verifying a whole log of so many entries holds at once."""
    with file.open("wb") as lines:
        made = [canonical({"action": f"read.{number}", "sequence": number}) for number in range(entries)]
        leaves = [leaf_hash(entry) for entry in made]
        lines.write(heading(WHOLE, entries, SIGNER.sign(entries, root_of(leaves)), SIGNER.key))
        lines.writelines(entry_line(number, leaves[number], made[number], None) for number in range(entries))
    del made, leaves
    tracemalloc.start()
    assert verify_export(file, [SIGNER.key]).entries == entries
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_a_log_twenty_times_as_long_takes_no_more_memory(tmp_path: Path) -> None:
    _memory_of_verifying(tmp_path / "first.jsonl", 50)  # what is imported and cached at the first use
    short, long = (_memory_of_verifying(tmp_path / f"{number}.jsonl", number) for number in (250, 5_000))
    assert long < short * 1.5
