"""One writer: no SQL outside the lifecycle writes a state. Read from the source, so that nobody has to remember."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WRITERS = ("app/referrals/lifecycle/", "app/referrals/accept.py")
GUARDED = ("referral", "dispatch")
MODELS = ("Referral", "Dispatch")

_WRITES = re.compile(
    rf"\b(?:INSERT\s+INTO|DELETE\s+FROM|TRUNCATE(?:\s+TABLE)?|MERGE\s+INTO|COPY)\s+(?:ONLY\s+)?({'|'.join(GUARDED)})\b",
    re.I,
)
_UPDATES = re.compile(
    rf"\bUPDATE\s+(?:ONLY\s+)?(?:{'|'.join(GUARDED)})\b[^;]*?\bSET\b(.*?)(?:\bWHERE\b|\bFROM\b|\bRETURNING\b|$)",
    re.I | re.S,
)
_STATE = re.compile(r"(?:^|[\s,(])state\s*(?:=|,|\))", re.I)


def offences(source: str) -> Iterator[str]:
    """What writes a state in this module: SQL text, or a statement built of the models."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if _WRITES.search(node.value) or any(_STATE.search(changed) for changed in _UPDATES.findall(node.value)):
                yield f"line {node.lineno}: SQL that writes a state"
        elif isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            first = node.args[0] if node.args else None
            if name in {"insert", "update", "delete"} and isinstance(first, ast.Name) and first.id in MODELS:
                yield f"line {node.lineno}: {name}({first.id})"


def modules() -> list[str]:
    """Every module of the program that is no writer."""
    found = [str(path.relative_to(ROOT)) for package in ("app", "workers") for path in (ROOT / package).rglob("*.py")]
    return sorted(name for name in found if not name.startswith(WRITERS))


def test_only_the_lifecycle_writes_a_state() -> None:
    assert len(modules()) > 100
    found = {name: list(offences((ROOT / name).read_text(encoding="utf-8"))) for name in modules()}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_the_writers_are_seen_as_such() -> None:
    lifecycle = [path.read_text(encoding="utf-8") for path in (ROOT / "app/referrals/lifecycle").glob("*.py")]
    assert sum(bool(list(offences(source))) for source in lifecycle) >= 5


@pytest.mark.parametrize(
    "source",
    [
        "Q = \"UPDATE dispatch SET state = 'queued' WHERE id = :id\"",
        'Q = """WITH x AS (SELECT 1)\n UPDATE referral\n   SET updated_at = now(), state=:state"""',
        "Q = \"UPDATE ONLY dispatch SET (attempt, state) = (1, 'queued')\"",
        'Q = "insert into dispatch (id) values (1)"',
        'Q = "DELETE FROM referral"',
        "q = update(Dispatch).values(state='queued')",
        "q = sa.insert(Referral).values(id=1)",
    ],
)
def test_an_offence_is_seen(source: str) -> None:
    assert list(offences(source))


@pytest.mark.parametrize(
    "source",
    [
        "Q = \"UPDATE dispatch SET due_delivery_at = now() WHERE state = 'queued'\"",
        'Q = "SELECT state FROM dispatch"',
        'Q = "UPDATE heartbeat SET state = 1"',
        "q = select(Dispatch)",
    ],
)
def test_what_only_reads_is_not(source: str) -> None:
    assert not list(offences(source))
