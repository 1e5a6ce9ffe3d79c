"""A process of its own that makes one PDF: a sheet (JSON) on its standard input, the PDF on its standard output.

It runs alone, by its path, with neither the gateway's memory nor its environment; it opens no connection, reads its
template and writes no file. What goes wrong is told by its exit code only: a message would quote what was submitted.
"""

import contextlib
import json
import re
import resource
import sys
import unicodedata
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import typst

MEMORY_BYTES = 3 << 30
CPU_SECONDS = 60

_TEMPLATE = Path(__file__).with_name("templates") / "product.typ"
_NOT_DISPLAYED = re.compile(r'the text `("(?:[^"\\]|\\.)*")` could not be displayed')
_ESCAPED = re.compile(r"\\u\{([0-9a-f]+)\}")
_SEEN = "\n\u00ad\u200b\u200c\u200d"
_LONG_WORD = re.compile(r"\S{48}(?=\S)")
_BREAK = "\u200b"
_LATIN = 0x250


def pdf(sheet: dict[str, Any]) -> bytes:
    """The sheet as an accessible PDF (UA-1). A character that no font of ours has is told by its number.

    Raises `typst.TypstError` where that cannot be made.
    """
    missing: set[str] = set()
    for _ in range(3):
        try:
            return _compile(_changed(sheet, _visible, missing))
        except typst.TypstError as error:
            missing = missing | _missing(error)
    return _compile(_changed(sheet, _latin))


def _compile(sheet: dict[str, Any]) -> bytes:
    return typst.compile(
        str(_TEMPLATE),
        root=str(_TEMPLATE.parent),
        ignore_system_fonts=True,  # the same on every machine
        sys_inputs={"sheet": json.dumps(_changed(sheet, _breakable))},
        pdf_standards=["ua-1"],
    )


def _missing(error: typst.TypstError) -> set[str]:
    """The characters that could not be displayed. Those of ASCII are in every font, alone at least."""
    told = _NOT_DISPLAYED.findall(error.diagnostic)
    letters = (_ESCAPED.sub(lambda code: chr(int(code[1], 16)), text[1:-1]) for text in told)
    return {letter for text in letters for letter in text if ord(letter) > 0x7F}


def _visible(text: str, missing: Collection[str] = ()) -> str:
    """The text with what cannot be seen told by its number: controls, overrides of direction, private characters."""
    return "".join(
        _number(letter) if letter in missing or _is_unseen(letter) else letter
        for letter in text.replace("\t", "    ").replace("\r\n", "\n")
    )


def _latin(text: str) -> str:
    """The text in letters that are in every font of ours; all others by their numbers."""
    return "".join(letter if ord(letter) < _LATIN else _number(letter) for letter in _visible(text))


def _is_unseen(letter: str) -> bool:
    return letter not in _SEEN and unicodedata.category(letter) in ("Cc", "Cf", "Co", "Cn", "Cs")


def _number(letter: str) -> str:
    return f"[U+{ord(letter):04X}]"


def _breakable(text: str) -> str:
    """Long words may break, or they would run off the page and be lost."""
    return _LONG_WORD.sub(lambda word: word[0] + _BREAK, text)


def _changed(value: Any, change: Callable[..., str], *given: Any) -> Any:
    """The document with every text in it changed."""
    if isinstance(value, str):
        return change(value, *given)
    if isinstance(value, dict):
        return {name: _changed(one, change, *given) for name, one in value.items()}
    if isinstance(value, list):
        return [_changed(one, change, *given) for one in value]
    return value


def _confine() -> None:
    """What it may use, as far as the system lets it say so."""
    for limit, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # a lower limit is set from outside
            resource.setrlimit(limit, (most, most))


def _main() -> int:
    _confine()
    try:
        made = pdf(json.loads(sys.stdin.buffer.read()))
    except Exception:
        return 1
    sys.stdout.buffer.write(made)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
