"""A search for what must be nowhere: words that were put into every free text, in whatever form they may have got out.

For any run: give the words, and the folders or texts to look through. Compressed forms are not undone (PostgreSQL
compresses values beyond 2 kB and whole pages in its log), so that canaries belong into short values too.
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_PIECE = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Hit:
    """A word found: where, in which form, and at which byte."""

    where: str
    form: str
    position: int


def forms(word: str) -> dict[str, bytes]:
    """The bytes of a word of letters and digits as they may stand in a file, by the name of the form."""
    plain = word.encode()
    found = {
        "plain": plain,
        "small": word.lower().encode(),
        "utf-16": word.encode("utf-16-le"),
        "hex": plain.hex().encode(),
        "HEX": plain.hex().upper().encode(),
    }
    for shift in range(3):
        # The part of a base64 text that does not depend on what stands before and after.
        whole = base64.b64encode(b"\0" * shift + plain)
        found[f"base64+{shift}"] = whole[-(-shift * 8 // 6) : (shift + len(plain)) * 8 // 6]
    return found


def search(words: Sequence[str], where: str, pieces: Iterable[bytes]) -> Iterator[Hit]:
    """The hits in bytes that come in pieces; a word that lies across two is found."""
    wanted = [(form, bytes_) for word in words for form, bytes_ in forms(word).items()]
    overlap = max(len(bytes_) for _, bytes_ in wanted) - 1
    kept, start = b"", 0
    for piece in pieces:
        kept += piece
        for form, bytes_ in wanted:
            at = kept.find(bytes_)
            if at >= 0:
                yield Hit(where, form, start + at)
        start += max(0, len(kept) - overlap)
        kept = kept[-overlap:]


def search_folders(words: Sequence[str], *folders: Path) -> list[Hit]:
    """The hits in all files below these folders, whatever they are."""
    return [
        hit
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
        for hit in search(words, str(path), _pieces(path))
    ]


def search_texts(words: Sequence[str], texts: dict[str, str | bytes]) -> list[Hit]:
    """The hits in these texts, each under its name."""
    return [
        hit
        for name, text in texts.items()
        for hit in search(words, name, [text.encode() if isinstance(text, str) else text])
    ]


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
    except FileNotFoundError:  # PostgreSQL removes files while it runs
        return
