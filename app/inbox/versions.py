"""How often what each agency's inbox shows has changed, as far as this process has heard. In memory only.

An empty poll is answered from here, without a database connection. `Listener` feeds it. Two processes count each for
themselves, so a version means something only together with the `epoch` of the process that gave it.
"""

import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager


class Versions:
    """A version of every agency's inbox, and who waits for the next one."""

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(4)
        self._everywhere = 0
        self._changes: Counter[str] = Counter()
        self._heard: dict[int, set[str] | None] = {}  # None: of all agencies
        self._empty: dict[str, int] = {}
        self._watchers: defaultdict[str, set[Callable[[], None]]] = defaultdict(set)

    def of(self, agency: str) -> int:
        """The version of an agency's inbox. Read it before the page: what changes later then makes another."""
        return self._everywhere + self._changes[agency]

    def changed(self, transaction: int, agencies: Collection[str]) -> None:
        """This transaction has committed and changed these inboxes. To hear it twice is to hear it once.

        It may be heard in parts: one notification for each verb that changes inboxes.
        """
        heard = self._heard.setdefault(transaction, set())
        if heard is None:
            return
        fresh = set(agencies) - heard
        heard |= fresh
        self._changes.update(fresh)
        for agency in fresh:
            self._tell(agency)

    def changed_everywhere(self, transaction: int | None = None) -> None:
        """Any inbox may have changed: by this transaction, or (None) because changes may not have been heard of."""
        if transaction in self._heard:
            return
        if transaction is not None:
            self._heard[transaction] = None
        self._everywhere += 1
        for agency in list(self._watchers):
            self._tell(agency)

    def forget(self, before: int) -> None:
        """Transactions with a number below `before` will not be heard of again."""
        self._heard = {transaction: heard for transaction, heard in self._heard.items() if transaction >= before}

    def found_empty(self, agency: str, version: int) -> None:
        """A page read after `version` had nothing that waits."""
        self._empty[agency] = version

    def is_empty(self, agency: str) -> bool:
        """Whether nothing waits for an agency, for certain: it was found so, and nothing has changed since."""
        return self._empty.get(agency) == self.of(agency)

    @contextmanager
    def watched(self, agency: str, tell: Callable[[], None]) -> Iterator[None]:
        """Within the block, `tell` is called at each change of an agency's inbox."""
        self._watchers[agency].add(tell)
        try:
            yield
        finally:
            self._watchers[agency].discard(tell)

    def _tell(self, agency: str) -> None:
        for tell in list(self._watchers[agency]):
            tell()
