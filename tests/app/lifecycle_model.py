"""The two state machines as a person would tell them, without a database: what the real ones are compared with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

FINAL = {"answered", "declined", "expired", "undeliverable", "cancelled"}
ANSWERS = {"hit": "answered", "no_hit": "answered", "declined": "declined"}


@dataclass(slots=True)
class Item:
    """One dispatch. `in_inbox`: it is or was in its agency's inbox. `time_left`: how many long times it has still."""

    agency: str
    round: int
    state: str
    needs_release: bool = False
    in_inbox: bool = True
    time_left: int = 0
    claim: UUID | None = None
    claim_lives: bool = False
    acknowledged: bool = False
    """Whether it ever was, whatever came after."""
    said: dict[str, str | None] = field(default_factory=dict)
    """What the agency has said about it, and how each of it was flagged."""
    settled: set[str] = field(default_factory=set)
    """The questions that a reply has settled: each may be asked anew while the item is open."""
    questions: int = 0
    """How often it has been asked about."""

    @property
    def is_open(self) -> bool:
        return self.state not in FINAL

    def is_free_for(self, claim: UUID | None) -> bool:
        """Whether a consumer under this claim, or under none, may act on it."""
        if claim is None:
            return not self.claim_lives
        return self.claim_lives and claim == self.claim


@dataclass(slots=True)
class Case:
    """One referral with its dispatches."""

    addressees: list[str]
    state: str = "accepted"
    items: list[Item] = field(default_factory=list)

    def shown(self) -> tuple[str, list[tuple[str, int, str]]]:
        """What can be compared."""
        return self.state, sorted((item.agency, item.round, item.state) for item in self.items)

    # What the system does

    def fan_out(self, needs_release: Callable[[str], bool]) -> None:
        if self.state != "accepted":
            return
        for agency in self.addressees:
            held = needs_release(agency)
            self.items.append(Item(agency, 1, "held" if held else "queued", held, in_inbox=not held))
        self.state = "in_progress"

    def time_passes(self) -> None:
        for item in self.items:
            item.claim_lives = False

    def long_time_passes(self) -> None:
        for item in self.items:
            if item.state not in ("queued", "delivered", "acknowledged"):
                continue
            if item.time_left:
                item.time_left -= 1
            else:
                self._end(item, "expired")

    def give_up(self, item: Item) -> None:
        if item.state in ("queued", "delivered", "acknowledged"):
            self._end(item, "undeliverable")

    # What an agency does

    def read(self, item: Item) -> None:
        if item.state == "queued":
            item.state = "delivered"

    def claim(self, agency: str, claim: UUID) -> list[Item]:
        """What one consumer of an agency gets to itself until its lease ends."""
        waiting = [item for item in self.items if item.agency == agency and item.state in ("queued", "delivered")]
        free = [item for item in waiting if not item.claim_lives]
        for item in free:
            item.claim, item.claim_lives, item.state = claim, True, "delivered"
        return free

    def acknowledge(self, item: Item, claim: UUID | None) -> str:
        if not item.in_inbox:
            return "not_found"
        if item.state in ("expired", "undeliverable") and not item.acknowledged:
            return "no_longer_open"
        if item.state in ("queued", "delivered"):
            if not item.is_free_for(claim):
                return "held_by_another"
            item.state, item.acknowledged = "acknowledged", True
        return "acknowledged"

    def say(
        self, item: Item, outcome: str, summary: str, refusal: str | None = None, *, most_questions: int | None = None
    ) -> str:
        """An answer or a question; the verdict on it. `refusal`: why its giver may not give a first answer.

        `most_questions`: so many are taken about one item; None where its giver's are not counted.
        """
        if not item.in_inbox:
            return "not_found"
        words = f"{outcome} {summary}"
        if item.state in ("cancelled", "expired", "undeliverable"):
            if words not in item.settled:
                item.said.setdefault(words, "late")
            return "no_longer_open"
        if words in item.settled and not item.is_open and words not in item.said:
            return "repeated"
        if words in item.said:
            return "repeated" if item.said[words] is None else "conflict"
        if not item.is_open:
            item.said[words] = "conflict"
            return "conflict"
        if refusal:
            return refusal
        if outcome == "more_information":
            if most_questions is not None and item.questions >= most_questions:
                return "too_many_questions"
            item.questions += 1
            item.state = "query"
        else:
            self._end(item, ANSWERS[outcome])
        item.said[words] = None
        return "recorded"

    # What the originator does

    def reply(self, item: Item) -> bool:
        if item.state != "query":
            return False
        item.state, item.claim, item.claim_lives = "delivered", None, False
        asked = {words for words in item.said if words.startswith("more_information ")}
        item.settled |= asked
        item.said = {words: flag for words, flag in item.said.items() if words not in asked}
        return True

    def end(self, state: str) -> bool:
        """Cancelled by the originator, or rejected by a co-ordinator."""
        if self.state not in ("held", "accepted", "in_progress"):
            return False
        for item in self.items:
            if item.is_open:
                item.state = "cancelled"
        self.state = state
        return True

    # What a co-ordinator does

    def hold(self) -> bool:
        if self.state not in ("accepted", "in_progress"):
            return False
        self.state = "held"
        for item in self.items:
            if item.state == "queued":
                item.state, item.in_inbox = "held", False
        return True

    def release(self) -> bool:
        if self.state != "held":
            return False
        self.state = "in_progress" if any(item.is_open for item in self.items) else "accepted"
        for item in self.items:
            if item.state == "held" and not item.needs_release:
                self._into_the_inbox(item)
        return True

    def release_item(self, item: Item) -> bool:
        if item.state != "held" or self.state == "held":
            return False
        self._into_the_inbox(item)
        return True

    def cancel_item(self, item: Item) -> bool:
        if not item.is_open:
            return False
        self._end(item, "cancelled")
        return True

    def extend(self, item: Item) -> bool:
        if item.state not in ("queued", "delivered", "acknowledged"):
            return False
        item.time_left = 1
        return True

    def chase(self, item: Item) -> bool:
        return item.state in ("queued", "delivered", "acknowledged")

    def ask_again(self, item: Item) -> bool:
        return not item.is_open and self.add(item.agency)

    def add(self, agency: str) -> bool:
        if self.state not in ("held", "in_progress", "completed"):
            return False
        if any(item.agency == agency and item.is_open for item in self.items):
            return False
        if self.state == "held" and not self.items:
            return False  # those it names have not been asked yet: it is released first
        held = self.state == "held"
        earlier = max((item.round for item in self.items if item.agency == agency), default=0)
        self.items.append(Item(agency, earlier + 1, "held" if held else "queued", in_inbox=not held))
        if not held:
            self.state = "in_progress"
        return True

    def _into_the_inbox(self, item: Item) -> None:
        item.state, item.in_inbox, item.needs_release, item.time_left = "queued", True, False, 0

    def _end(self, item: Item, state: str) -> None:
        item.state = state
        if self.state in ("in_progress", "held") and not any(one.is_open for one in self.items):
            self.state = "completed"
