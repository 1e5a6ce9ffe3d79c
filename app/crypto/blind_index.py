"""The blind index: keyed digests by which the same subject is found again without opening anything.

Of compounds only: a person's full name with the birth date, and an identifier's type with its value. Never of a
surname or a birth date alone, whose few thousand values anybody who may submit could try out one after another and
count; never of parts of a name. What differs by more than case, accents, marks and spaces is not found: that kind of
matching belongs to people and to opened content.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from app.crypto.keys import Keys, Purpose

DIGEST_BYTES = 16
"""Half of an HMAC-SHA-256: two of a billion different compounds are the same with a chance of one in 10^20."""

_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "\u0131": "i", "æ": "ae", "œ": "oe", "þ": "th", "ħ": "h"}
)
"""Letters that Unicode does not take apart into a plain one and an accent."""


Kind = Literal["person", "identifier"]
"""What a compound is made of: a name with a birth date, or an identifier's type with its value."""


class Compound(NamedTuple):
    """Something that is the same for the same subject, normalised."""

    kind: Kind
    text: str


class Blind(NamedTuple):
    """A compound as the index holds it."""

    kind: Kind
    digest: bytes


class BlindIndex:
    """Makes digests under a key of their own."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def blind(self, compound: Compound) -> Blind:
        """The digest of one compound."""
        digest = self._keys.digest(Purpose.BLIND_INDEX, f"{compound.kind}\0{compound.text}".encode())
        return Blind(compound.kind, digest[:DIGEST_BYTES])

    def of(self, subject: Mapping[str, Any]) -> list[Blind]:
        """The digests of a subject as it was submitted, each once."""
        return [self.blind(compound) for compound in compounds(subject)]


def compounds(subject: Mapping[str, Any]) -> list[Compound]:
    """Pure: what a subject (a referral's `subject`) can be found by, each once; aliases share the birth date."""
    found = []
    born = subject.get("date_of_birth")
    if born:
        found += [_person(name, str(born)) for name in (subject, *(subject.get("aliases") or ()))]
    found += [_identifier(given["type"], given["value"]) for given in subject.get("identifiers") or ()]
    return list(dict.fromkeys(compound for compound in found if compound is not None))


def _person(name: Mapping[str, Any], born: str) -> Compound | None:
    """A name is full with both its parts; one alone is never indexed."""
    family, given = plain(name.get("family_name") or ""), plain(name.get("given_names") or "")
    return Compound("person", f"{family}|{given}|{born}") if family and given else None


def _identifier(type: str, value: str) -> Compound | None:
    normal = _FORMS.get(type, plain)(value)
    return Compound("identifier", f"{type}|{normal}") if normal else None


@lru_cache(maxsize=4096)
def plain(text: str) -> str:
    """Letters and digits alone, in small letters without accents: `O’Brien-Nuñez` is `obriennunez`."""
    if text.isascii():
        return "".join(filter(str.isalnum, text.lower()))
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return "".join(letter for letter in apart.translate(_LETTERS) if letter.isalnum())


def _phone(value: str) -> str:
    """With its country's code, the United Kingdom's where none is given: `+44 (0)20 7946 0000` is `442079460000`."""
    text = unicodedata.normalize("NFKC", value).replace("(0)", "")
    digits = re.sub(r"\D", "", text)
    if text.lstrip().startswith("+"):
        return digits
    if digits.startswith("00"):
        return digits[2:]
    return "44" + digits[1:] if digits.startswith("0") else digits


def _email(value: str) -> str:
    """Without regard to case; its dots and marks count."""
    return unicodedata.normalize("NFKC", value).strip().casefold()


_FORMS: Mapping[str, Callable[[str], str]] = {"phone": _phone, "email": _email}
"""How an identifier is written down in one way; all others are letters and digits."""
