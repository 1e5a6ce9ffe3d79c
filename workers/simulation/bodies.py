"""The simulated bodies: a character and a register each, and the answer that follows from both."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

from workers.simulation import timing, wording
from workers.simulation.characters import CHARACTERS
from workers.simulation.declining import declines
from workers.simulation.groups import population
from workers.simulation.matching import search
from workers.simulation.population import Population
from workers.simulation.registers import Register, build
from workers.simulation.subject import read_subject

Failing = Literal["outage", "malformed"]


class Body:
    """One of the 22. It remembers nothing: the same question gives the same answer at the same time in any process."""

    def __init__(self, code: str, register: Register, seed: int) -> None:
        self.code = code
        self.character = CHARACTERS[code]
        self.register = register
        self._seed = seed

    def answer(self, dispatch_id: str, referral: Mapping[str, Any]) -> dict[str, Any]:
        """The body of `POST /v1/inbox/{id}/response` for a referral as an agency sees it. Never raises."""
        subject = read_subject(referral.get("subject"))
        refusal = declines(self.character, subject, referral, self._seed, dispatch_id)
        if refusal is not None:
            return wording.declined(self.character, refusal.reason, refusal.summary)
        finding = search(self.register, subject, self.character.threshold)
        if not finding.matches:
            return wording.no_hit(self.character)
        return wording.hit(self.character, finding)

    def answers_after(self, dispatch_id: str, reference: str, priority: str, received: datetime) -> timedelta:
        """Life time from `received` (aware) to the answer; a speed factor divides it."""
        return timing.answers_after(self.character, self._seed, dispatch_id, reference, priority, received)

    def failing(self, dispatch_id: str, attempt: int) -> Failing | None:
        """Whether this hand-over (from 1) fails, and how. Only a first one does: a retry succeeds."""
        if attempt != 1:
            return None
        luck = timing.chance(self._seed, dispatch_id, "failing")
        if luck < self.character.outage:
            return "outage"
        return "malformed" if luck < self.character.outage + self.character.malformed else None

    def malformed(self, dispatch_id: str) -> Any:
        """A reply that is no answer: of an unknown outcome, without grading, or not even an object."""
        return wording.malformed(dispatch_id, timing.chance(self._seed, dispatch_id, "variant"))


def make_bodies(world: Population, codes: Iterable[str]) -> dict[str, Body]:
    """These bodies with their registers. Raises `KeyError` for a code that is not one of the 22."""
    return {code: Body(code, build(world, code), world.seed) for code in sorted(codes)}


@lru_cache(maxsize=2)
def bodies(seed: int, codes: frozenset[str]) -> dict[str, Body]:
    """The bodies of this process, built once (about a second); their registers outlive the population."""
    return make_bodies(population(seed), codes)
