"""`Prefer: wait` (RFC 7240): how long a client would like its request to be held. Pure."""

import re
from collections.abc import Iterable

_PREFERENCE = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+')
"""One preference of a header line; a quoted value may hold commas."""

_SECONDS = re.compile("[0-9]{1,9}")


def wait_seconds(lines: Iterable[str], longest: int) -> int:
    """The whole seconds of the first `wait` in these header lines, `longest` at most; 0 without a valid one.

    Whatever cannot be understood is as if it had not been sent (section 2).
    """
    for line in lines:
        for preference in _PREFERENCE.findall(line):
            name, _, value = preference.partition(";")[0].partition("=")
            if name.strip().lower() == "wait":
                given = value.strip().strip('"')
                return min(int(given), longest) if _SECONDS.fullmatch(given) else 0
    return 0
