"""One referral and its database, on which every verb of the state machine acts; what it chooses from."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import orjson
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
)
from sqlalchemy import func, select, text

from app.audit.record import Actor
from app.db import Connection, Database
from app.errors import Problem
from app.parties.codes import Priority
from app.referrals import rounds
from app.referrals.accept import Submission
from app.referrals.fan_out import FanOut
from app.referrals.lifecycle import Answer, Restart
from app.referrals.rounds import Reference
from app.referrals.states import Outcome
from tests.app.lifecycle_model import Case, Item

T = TypeVar("T")

AGENCIES = ("EA", "NRW", "HSE", "SMARTWATER")
FORCE, COORDINATOR, SYSTEM = Actor("SWP", "test"), Actor("TARIAN", "test"), Actor("GAIN", "worker")
LONG = timedelta(days=60)
SAID = b'{"text":"He."}'
OUTCOME = st.sampled_from([*(outcome.value for outcome in Outcome), *["more_information"] * 4])
"""Questions more often than each answer, which ends the item."""
LEASE_SECONDS, EVERYTHING = 30, 2**31 - 1
FEW_QUESTIONS = 2
"""As many as are taken about one item here: the twenty of the product would hardly ever come up."""
UNDER = st.sampled_from(["none", "none", "its", "its", "another"])
WHICH = st.sampled_from(range(6))
SELDOM = st.sampled_from([False] * 5 + [True])
"""For what ends much at once: done as often as everything else it would leave little to do to most cases."""

SHIFT = text("""
    UPDATE dispatch
       SET created_at = created_at - CAST(:passed AS interval), due_at = due_at - CAST(:passed AS interval),
           expires_at = expires_at - CAST(:passed AS interval),
           next_check_at = next_check_at - CAST(:passed AS interval),
           queried_at = queried_at - CAST(:passed AS interval),
           clock_from = clock_from - CAST(:passed AS interval),
           claim_expires_at = claim_expires_at - CAST(:passed AS interval)
""")

SHOWN = text("SELECT agency, round, state FROM dispatch WHERE referral_id = :id ORDER BY agency, round")


CLAIMED = text("""
    SELECT round, claim_id FROM dispatch WHERE referral_id = :id AND agency = :agency AND id = ANY(:taken)
""")


class Steps(RuleBasedStateMachine):
    """One referral at a time: what every rule needs."""

    runner: asyncio.Runner
    database: Database
    reference: Reference
    check_every: int
    """After how many steps the whole database is checked; at a case's end it always is."""
    met: Counter[str]
    """The verdicts and states that were met: what was not has not been tested."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.case: Case
        self.id: UUID
        self.submission: Submission

    def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        async def once() -> T:
            async with self.database.transaction() as connection:
                return await work(connection)

        return self.runner.run(once())

    def run_or_refuse(self, work: Callable[[Connection], Awaitable[object]]) -> bool:
        """False where it is refused with 409."""
        try:
            self.run(work)
        except Problem as problem:
            if problem.kind.status != 409:
                raise
            return False
        return True

    def now(self) -> datetime:
        now = self.run(lambda connection: connection.scalar(select(func.now())))
        assert isinstance(now, datetime)
        return now

    def restart(self, agency: str) -> Restart:
        return rounds.restart(self.now(), Priority.ROUTINE, self.reference.directory[agency], simulated=False)

    def item_id(self, item: Item) -> UUID:
        statement = text("SELECT id FROM dispatch WHERE referral_id = :id AND agency = :agency AND round = :round")

        async def read(connection: Connection) -> Any:
            return await connection.scalar(statement, {"id": self.id, "agency": item.agency, "round": item.round})

        found = self.run(read)
        assert isinstance(found, UUID)
        return found

    def some_item(self, which: int) -> Item:
        return self.case.items[which % len(self.case.items)]

    def fan_out_now(self) -> None:
        self.runner.run(FanOut().run(self.database, SYSTEM, ()))
        self.case.fan_out(lambda agency: self.reference.directory[agency].policy.needs_release)


def answer_of(
    key: UUID, actor: Actor, outcome: str, summary: str, *, claim_id: UUID | None = None, attempt: int | None = None
) -> Answer:
    content, sameness = orjson.dumps({"outcome": outcome}), f"{outcome} {summary}".encode()
    return Answer(key, actor, Outcome(outcome), content, sameness, attempt, claim_id)
