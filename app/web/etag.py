"""Entity tags and `If-None-Match` (RFC 9110, sections 8.8.3 and 13.1.2). Pure."""

import hashlib
import re
from collections.abc import Iterable

_OPAQUE = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
_DIGEST_BYTES = 8


def weak_tag(version: str, *covers: object) -> str:
    """A weak tag: equal for two answers only where `version` and all that they cover are equal.

    Weak, because it promises the same content and not the same bytes.
    """
    digest = hashlib.blake2b(repr(covers).encode(), digest_size=_DIGEST_BYTES).hexdigest()
    return f'W/"{version}.{digest}"'


def names(lines: Iterable[str], tag: str) -> bool:
    """Whether `If-None-Match` (its header lines) names this tag.

    Compares as RFC 9110 demands here: a weak tag equals the strong one of the same text.
    """
    opaque = tag.removeprefix("W/")
    return any(opaque in _OPAQUE.findall(line) for line in lines)


def none_match(lines: Iterable[str], tag: str) -> bool:
    """Whether `If-None-Match` names this tag, or any by `*`: the client has what it would get."""
    return names(lines, tag) or any(line.strip() == "*" for line in lines)
