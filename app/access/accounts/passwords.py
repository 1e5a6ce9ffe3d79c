"""Passwords: which are taken (NCSC), and how they are kept: Argon2id, hashed off the event loop.

The parameters are those that RFC 9106 section 4 recommends where memory is not plentiful: three passes over 64 MiB in
four lanes, above the least that OWASP asks for. A hash made with others is made anew at the next sign-in.
"""

import asyncio
import unicodedata
from collections.abc import Iterable
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from argon2.profiles import RFC_9106_LOW_MEMORY
from zxcvbn import zxcvbn

LEAST, MOST = 12, 128
"""How many characters a password has."""

_LOOKED_AT = 72  # zxcvbn takes no more, and what begins well stays good
_LEAST_SCORE = 3  # over 10^8 guesses of somebody who knows the common ones first
_LEAST_OWN = 8  # characters that are left when names that others know are taken away
_AT_ONCE = 2  # 64 MiB each


def fault_of(password: str, known: Iterable[str] = ()) -> str:
    """What is wrong with a new password, or nothing. `known` are words that others would try: names, the user name.

    No rules about kinds of characters: length, and that it is not among the first that are guessed (NCSC).
    """
    password = _normal(password)
    if len(password) < LEAST:
        return f"Use at least {LEAST} characters. Three random words are a good way to make a password."
    if len(password) > MOST:
        return f"Use at most {MOST} characters."
    words = {part.lower() for text in known for part in text.replace("@", ".").split(".") if len(part) > 2}
    rest = password.lower()
    for word in sorted(words, key=len, reverse=True):
        rest = rest.replace(word, "")
    score = zxcvbn(password[:_LOOKED_AT], user_inputs=sorted(words))["score"]
    if score < _LEAST_SCORE or len(rest) < _LEAST_OWN:
        return "This password is among the first that are guessed. Three random words are a good way to make another."
    return ""


class Passwords:
    """Hashes and verifies, at most two at a time in this process."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def fault_of(self, password: str, known: Iterable[str]) -> str:
        """As the function of this name, off the event loop: to look takes milliseconds."""
        return await asyncio.to_thread(fault_of, password, tuple(known))

    async def hash(self, password: str) -> str:
        """The hash to keep, in PHC form."""
        async with self._free:
            return await asyncio.to_thread(self._hasher.hash, _normal(password))

    async def matches(self, kept: str | None, password: str) -> bool:
        """Whether this is the password that `kept` is of. Where there is none it takes as long, and is not."""
        async with self._free:
            return await asyncio.to_thread(self._verify, kept, _normal(password[: MOST + 1]))

    def is_outdated(self, kept: str) -> bool:
        """Whether a hash was made with other parameters than those of today."""
        return self._hasher.check_needs_rehash(kept)

    def _verify(self, kept: str | None, password: str) -> bool:
        try:
            self._hasher.verify(kept or self._nobodys, password)
        except (VerifyMismatchError, InvalidHashError):
            return False
        return kept is not None

    @cached_property
    def _nobodys(self) -> str:
        return self._hasher.hash("the password of nobody")


def _normal(password: str) -> str:
    # The same letters typed on another keyboard are the same password (NIST SP 800-63B section 3.1.1.2).
    return unicodedata.normalize("NFC", password)
