"""The report of a run: one line for each fault, then the totals, then whatever was wrong.

`attempted` counts requests sent, `acknowledged` those that got a 2xx, `stored` what of these was found as sent; the
difference of the first two is what was cut off, put off or rightly refused. `recovery` is the seconds from the end of a
fault until all work had moved on. Zero lost, duplicated and unexpected passes.
"""

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.recording import Account

_COLUMNS = ("attempted", "acknowledged", "stored", "lost", "duplicated", "unexpected")
_RECOVERY, _WIDTH = "recovery", len("acknowledged")


def lines(accounts: Mapping[str, Account]) -> list[str]:
    """The table, and a line for each thing that was wrong."""
    names = {key: _readable(key) for key in accounts}
    width = max(map(len, names.values()))
    head = "  ".join(["fault".ljust(width), *(column.rjust(_WIDTH) for column in _COLUMNS), _RECOVERY.rjust(10)])
    table = [
        _line(names[key].ljust(width), account.figures(), account.recovery_seconds) for key, account in accounts.items()
    ]
    totals = {column: sum(account.figures()[column] for account in accounts.values()) for column in _COLUMNS}
    longest = max(account.recovery_seconds for account in accounts.values())
    last = _line(f"all {len(accounts)}".ljust(width), totals, longest)
    wrong = [
        f"{names[key]}: {what}"
        for key, account in accounts.items()
        for what in (*account.lost, *account.duplicated, *account.unexpected)
    ]
    return [head, "-" * len(head), *table, "-" * len(head), last, *wrong]


def write(folder: Path, form: str, table: Sequence[str]) -> Path:
    """Keep the report in a file, which it returns; the last one of this form is replaced."""
    folder.mkdir(exist_ok=True)
    file = folder / f"faults-{form}.txt"
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, Python {platform.python_version()}"
    file.write_text("\n".join([f"Faults, {form} form, {when}", "", *table, ""]), encoding="utf-8")
    return file


def _readable(key: str) -> str:
    return key.removeprefix("test_").replace("_", " ")


def _line(name: str, figures: Mapping[str, int], seconds: float) -> str:
    return "  ".join([name, *(str(figures[column]).rjust(_WIDTH) for column in _COLUMNS), f"{seconds:.1f} s".rjust(10)])
