"""A search for what must be nowhere: words that were put into every free text, in whatever form they may have got out.

For any run: give the words, and the folders or texts to look through. Compressed forms are not undone (PostgreSQL
compresses values beyond 2 kB and whole pages in its log), so that canaries belong into short values too.

From the shell, after `gain demo --data-dir FOLDER`: `python -m tests.canary FOLDER` looks for what its referrals and
answers hold, or for the words that follow the folder. Exit code 0 and what was looked through, or 1 and every hit;
`make canary`.
"""

import argparse
import base64
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.settings import Settings
from workers.simulation.scenario import lava_referrals

_PIECE = 4 * 1024 * 1024

OF_ITS_ANSWERS = (
    "Pontsticill",
    "Universal Credit",
    "Bristol Airport",
    "HMP Parc",
    "counterfeit tobacco",
    "bought for cash",
)
"""Words of what the simulated bodies answer in Operation Lava (workers/simulation/lava.py)."""

_SHORTEST = 8
"""Shorter words, of a subject's names say, stand in many a file by chance."""


def of_the_demonstration() -> list[str]:
    """What the demonstration refers and hears: of every subject what tells who it is, why, what is sought; answers."""
    words = set(OF_ITS_ANSWERS)
    for made in lava_referrals(Settings.model_fields["simulation_seed"].default):
        subject = made["subject"]
        words |= {f"{subject['given_names']} {subject['family_name']}", subject["family_name"]}
        words |= {
            line for address in subject.get("addresses", []) for line in (*address["lines"][:1], address["postcode"])
        }
        words |= {identifier["value"] for identifier in subject.get("identifiers", [])}
        words |= {subject.get("date_of_birth", ""), made["purpose"], made["information_sought"]}
    return sorted(word for word in words if len(word) >= _SHORTEST)


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


def main() -> None:
    """The search from the shell."""
    parser = argparse.ArgumentParser(prog="python -m tests.canary", description="Look for words where none may be.")
    parser.add_argument("folder", type=Path, help="a data folder of a system that is stopped, or runs")
    parser.add_argument("words", nargs="*", help="those of the demonstration if left out")
    given = parser.parse_args()
    words = given.words or of_the_demonstration()
    files = [path for path in given.folder.rglob("*") if path.is_file()]
    if not files:
        sys.exit(f"There is no file in {given.folder}.")
    found = search_folders(words, given.folder)
    for hit in found:
        print(f"{hit.where}: {hit.form} at {hit.position}")
    size = sum(path.stat().st_size for path in files) // 1024 // 1024
    print(f"{len(found)} hits of {len(words)} words in {len(files)} files, {size} MiB")
    sys.exit(1 if found else 0)


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
    except FileNotFoundError:  # PostgreSQL removes files while it runs
        return


if __name__ == "__main__":
    main()
