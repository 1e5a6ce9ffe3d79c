"""Where a process has its key ring from: a file, looked at again and again, or a variable, read once."""

import os
import time
from functools import lru_cache
from pathlib import Path

from app.crypto.keyring import Bare, Custodian, KeyRing, RingError, entries
from app.crypto.refusal import Unopenable
from app.logs import logger
from app.settings import Settings

LOOK_SECONDS = 1.0
"""How often the file is looked at: so long a process may go on wrapping under a key that is not current any more."""


class RingSource:
    """The key ring as it is now.

    A ring once read stays in force while its file is away or malformed: a mistake of the operator's stops nothing that
    runs, and one line tells of it.
    """

    def __init__(self, file: Path | None, text: str, custodian: Custodian | None = None) -> None:
        self._file = file
        self._text = text
        self._custodian = custodian or Bare()
        self._ring: KeyRing | None = None
        self._seen: tuple[int, int, int] | None = None
        self._look_at = 0.0

    def ring(self, needed: str = "") -> KeyRing:
        """The ring; read again at once where it lacks the key `needed`. Raises `Unopenable` where there is none."""
        now = time.monotonic()
        if now >= self._look_at or (self._ring is not None and needed and needed not in self._ring.ids):
            self._look_at = now + LOOK_SECONDS
            self._look()
        if self._ring is None:
            self._look_at = 0.0
            raise Unopenable("there is no key ring: GAIN_KEY_RING_FILE or GAIN_KEY_RING must hold one")
        return self._ring

    def _look(self) -> None:
        try:
            text = self._changed_text()
            if text is not None:
                self._ring = entries(text).opened(self._custodian)
        except (OSError, UnicodeDecodeError, RingError) as error:
            self._seen = None
            why = str(error) if isinstance(error, RingError) else type(error).__name__
            logger().error("the key ring cannot be read", why=why, kept=self._ring is not None)

    def _changed_text(self) -> str | None:
        """The ring's text where it is new to us."""
        if self._file is None:
            return self._text if self._text and self._ring is None else None
        found = os.stat(self._file)
        seen = found.st_mtime_ns, found.st_ino, found.st_size
        if seen == self._seen:
            return None
        text = self._file.read_text(encoding="ascii")
        self._seen = seen
        return text


def source_for(settings: Settings) -> RingSource:
    """The source that these settings name; one for all that name the same in this process."""
    return _source(settings.key_ring_file, settings.key_ring.get_secret_value())


@lru_cache(maxsize=16)
def _source(file: Path | None, text: str) -> RingSource:
    return RingSource(file, text)
