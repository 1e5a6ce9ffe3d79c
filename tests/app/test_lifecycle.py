"""The real verbs on a real database, in any order that Hypothesis finds, against a model; the invariants after each."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import orjson
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pydantic import SecretStr
from sqlalchemy import func, select, text
from uuid_utils.compat import uuid7

from app.audit.record import Actor
from app.db import Connection, Database
from app.errors import Problem
from app.parties.codes import Priority
from app.parties.directory import DirectoryCache
from app.referrals import lifecycle, rounds
from app.referrals.accept import Submission, accept
from app.referrals.fan_out import FanOut
from app.referrals.lifecycle import Acknowledgement, Answer, GivenUp, Restart, Verdict
from app.referrals.rounds import Reference
from app.referrals.states import DispatchState, Outcome, ReferralState
from app.referrals.timekeeper import Timekeeper
from app.reporting import counters
from app.routing.reference import MatrixCache
from app.settings import Settings
from tests.app.lifecycle_model import Case, Item
from tests.conftest import RING, SECRET, referral
from tests.invariants import check

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

_SHIFT = text("""
    UPDATE dispatch
       SET created_at = created_at - CAST(:passed AS interval), due_at = due_at - CAST(:passed AS interval),
           expires_at = expires_at - CAST(:passed AS interval),
           next_check_at = next_check_at - CAST(:passed AS interval),
           queried_at = queried_at - CAST(:passed AS interval),
           clock_from = clock_from - CAST(:passed AS interval),
           claim_expires_at = claim_expires_at - CAST(:passed AS interval)
""")

_SHOWN = text("SELECT agency, round, state FROM dispatch WHERE referral_id = :id ORDER BY agency, round")


_CLAIMED = text("""
    SELECT round, claim_id FROM dispatch WHERE referral_id = :id AND agency = :agency AND id = ANY(:taken)
""")


class Lifecycle(RuleBasedStateMachine):
    """One referral at a time. Every rule does the same to the database and to the model, and compares what they say."""

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

    # The originator

    @initialize(addressees=st.lists(st.sampled_from(AGENCIES), min_size=1, max_size=3, unique=True), waits=SELDOM)
    def submit(self, addressees: list[str], waits: bool) -> None:
        self.case = Case(addressees)
        self.submission = Submission(
            id=uuid7(),
            actor=FORCE,
            region="TARIAN",
            priority=2,
            crime_types=["waste_crime"],
            addressees=addressees,
            content=orjson.dumps(referral(addressees=addressees)),
            respond_by=self.now() + LONG,
            key=uuid7().bytes,
            sameness=b"same",
        )
        [receipt] = self.run(lambda connection: accept(connection, [self.submission]))
        self.id = receipt.referral_id
        assert not receipt.replayed
        if not waits:
            self.fan_out_now()

    @rule(twice=st.booleans())
    def submit_again(self, twice: bool) -> None:
        again = [self._with(uuid7(), b"same"), *([self._with(uuid7(), b"other")] if twice else [])]
        receipts = self.run(lambda connection: accept(connection, again))
        assert {receipt.referral_id for receipt in receipts} == {self.id}
        assert [receipt.conflict for receipt in receipts] == [False, True][: len(again)]

    def _with(self, key: UUID, sameness: bytes) -> Submission:
        kept = {name: getattr(self.submission, name) for name in Submission.__slots__}
        return Submission(**{**kept, "id": key, "sameness": sameness})

    @rule(really=SELDOM)
    def cancel(self, really: bool) -> None:
        if not really:
            return
        done = self.run(lambda connection: lifecycle.cancel(connection, FORCE, self.id, "not needed"))
        assert done == self.case.end("cancelled")

    @precondition(lambda self: self.case.items)
    @rule(which=WHICH)
    def reply(self, which: int) -> None:
        item = self.some_item(which)
        key = self.item_id(item)
        done = self.run(
            lambda connection: lifecycle.reply(connection, FORCE, self.id, key, SAID, self.reference.directory)
        )
        assert done == self.case.reply(item)

    # The system

    @rule()
    def fan_out(self) -> None:
        self.fan_out_now()

    def fan_out_now(self) -> None:
        self.runner.run(FanOut().run(self.database, SYSTEM, ()))
        self.case.fan_out(lambda agency: self.reference.directory[agency].policy.needs_release)

    @rule(long=SELDOM)
    def time_passes(self, long: bool) -> None:
        passed = LONG if long else timedelta(minutes=1)
        self.run(lambda connection: connection.execute(_SHIFT, {"passed": passed}))
        timekeeper = Timekeeper()
        while self.runner.run(timekeeper.run(self.database, SYSTEM)):
            pass
        self.case.time_passes()
        if long:
            self.case.long_time_passes()

    @rule()
    def add_up_the_counters(self) -> None:
        self.runner.run(counters.fold(self.database, most=0))

    @precondition(lambda self: self.case.items)
    @rule(which=WHICH, really=SELDOM, overtaken=st.booleans())
    def give_up(self, which: int, really: bool, overtaken: bool) -> None:
        if not really:
            return
        item = self.some_item(which)
        given_up = GivenUp(self.item_id(item), int(overtaken), "cannot be reached")
        self.run(lambda connection: lifecycle.give_up(connection, SYSTEM, [given_up]))
        if not overtaken:
            self.case.give_up(item)

    # An agency

    @precondition(lambda self: self.case.items)
    @rule(which=WHICH)
    def read(self, which: int) -> None:
        item = self.some_item(which)
        key, actor = self.item_id(item), Actor(item.agency, "test")
        self.run(lambda connection: lifecycle.deliver(connection, actor, [key]))
        self.case.read(item)

    @rule(agency=st.sampled_from(AGENCIES))
    def claim(self, agency: str) -> None:
        """A consumer takes what waits and is free, and has read it by that; its lease ends within the minute."""

        async def take(connection: Connection) -> list[UUID]:
            ids = await lifecycle.claim(connection, agency, EVERYTHING, LEASE_SECONDS, EVERYTHING)
            await lifecycle.deliver(connection, Actor(agency, "test"), ids)
            return ids

        async def claims(connection: Connection) -> dict[int, UUID]:
            rows = await connection.execute(_CLAIMED, {"id": self.id, "agency": agency, "taken": taken})
            return {row.round: row.claim_id for row in rows}

        taken = self.run(take)
        got = self.run(claims)
        number = next(iter(got.values()), uuid7())
        assert sorted(got) == sorted(item.round for item in self.case.claim(agency, number))
        assert set(got.values()) <= {number}, "what is taken together is one claim"

    def some_claim(self, item: Item, under: str) -> UUID | None:
        return {"none": None, "its": item.claim, "another": uuid7()}[under]

    @precondition(lambda self: self.case.items)
    @rule(which=WHICH, under=UNDER, by_another=SELDOM)
    def acknowledge(self, which: int, under: str, by_another: bool) -> None:
        item = self.some_item(which)
        key, actor = self.item_id(item), Actor("DVSA" if by_another else item.agency, "test")
        claim = self.some_claim(item, under)
        result, state = self.run(lambda connection: lifecycle.acknowledge(connection, actor, [key], claim))[key]
        self.met[f"acknowledgement {result.value}"] += 1
        assert result.value == ("not_found" if by_another else self.case.acknowledge(item, claim))
        assert state == (None if result is Acknowledgement.NOT_FOUND else item.state)

    @precondition(lambda self: self.case.items)
    @rule(
        which=WHICH,
        outcomes=st.lists(OUTCOME, min_size=1, max_size=2),
        summary=st.sampled_from(["one", "two", "three"]),
        under=UNDER,
        by_another=SELDOM,
    )
    def say(self, which: int, outcomes: list[str], summary: str, under: str, by_another: bool) -> None:
        """One or two answers in one call."""
        item = self.some_item(which)
        key, actor = self.item_id(item), Actor("DVSA" if by_another else item.agency, "test")
        claim = self.some_claim(item, under)
        answers = [_answer(key, actor, outcome, summary, claim_id=claim) for outcome in outcomes]
        recorded = self.run(lambda connection: lifecycle.record_answers(connection, answers))
        refusal = None if item.is_free_for(claim) else "held_by_another"
        for outcome, given in zip(outcomes, recorded, strict=True):
            self.met[f"answer {given.verdict.value}"] += 1
            assert given.verdict.value == (
                "not_found"
                if by_another
                else self.case.say(item, outcome, summary, refusal, most_questions=FEW_QUESTIONS)
            )

    @precondition(lambda self: self.case.items)
    @rule(
        which=WHICH,
        outcome=OUTCOME,
        overtaken=SELDOM,
    )
    def answer_through_an_adapter(self, which: int, outcome: str, overtaken: bool) -> None:
        """What an adapter brings back counts only if nobody was given the dispatch since; claims are not its matter."""
        item = self.some_item(which)
        answer = _answer(self.item_id(item), Actor(item.agency, "adapter"), outcome, "one", attempt=int(overtaken))
        [given] = self.run(lambda connection: lifecycle.record_answers(connection, [answer]))
        self.met[f"answer {given.verdict.value}"] += 1
        assert given.verdict.value == self.case.say(item, outcome, "one", "superseded" if overtaken else None)

    # A co-ordinator

    @rule(really=SELDOM)
    def reject(self, really: bool) -> None:
        if not really:
            return
        done = self.run(lambda connection: lifecycle.reject(connection, COORDINATOR, self.id, "not for us"))
        assert done == self.case.end("rejected")

    @rule(really=SELDOM)
    def hold(self, really: bool) -> None:
        if not really:
            return
        done = self.run(lambda connection: lifecycle.hold(connection, COORDINATOR, self.id, "wait"))
        assert done == self.case.hold()

    @rule()
    def release(self) -> None:
        restarts = {agency: self.restart(agency) for agency in AGENCIES}
        done = self.run(lambda connection: lifecycle.release(connection, COORDINATOR, self.id, restarts.__getitem__))
        assert done == self.case.release()

    @precondition(lambda self: self.case.items)
    @rule(which=WHICH)
    def release_item(self, which: int) -> None:
        item = self.some_item(which)
        key, restart = self.item_id(item), self.restart(item.agency)
        done = self.run(lambda connection: lifecycle.release_dispatch(connection, COORDINATOR, self.id, key, restart))
        assert done == self.case.release_item(item)

    @precondition(lambda self: self.case.items)
    @rule(which=WHICH, really=SELDOM)
    def cancel_item(self, which: int, really: bool) -> None:
        if not really:
            return
        item = self.some_item(which)
        key = self.item_id(item)
        done = self.run(lambda connection: lifecycle.cancel_dispatch(connection, COORDINATOR, key, "no more"))
        assert done == self.case.cancel_item(item)

    @precondition(lambda self: self.case.items)
    @rule(which=WHICH)
    def chase(self, which: int) -> None:
        item = self.some_item(which)
        key = self.item_id(item)
        done = self.run(lambda connection: lifecycle.chase(connection, COORDINATOR, [key]))
        assert bool(done) == self.case.chase(item)

    @precondition(lambda self: self.case.items)
    @rule(which=WHICH)
    def extend(self, which: int) -> None:
        item = self.some_item(which)
        key = self.item_id(item)
        due = self.now() + LONG + timedelta(days=10)
        policy = self.reference.directory[item.agency].policy
        done = self.run(lambda connection: lifecycle.extend(connection, COORDINATOR, key, due, policy))
        assert done == self.case.extend(item)

    @precondition(lambda self: self.case.items)
    @rule(which=WHICH)
    def redeliver(self, which: int) -> None:
        item = self.some_item(which)
        key = self.item_id(item)
        done = self.run_or_refuse(
            lambda connection: rounds.redeliver(connection, COORDINATOR, self.id, key, self.reference)
        )
        assert done == self.case.ask_again(item)

    @rule(agency=st.sampled_from(AGENCIES))
    def add(self, agency: str) -> None:
        done = self.run_or_refuse(
            lambda connection: rounds.add_addressees(connection, COORDINATOR, self.id, [agency], self.reference)
        )
        assert done == self.case.add(agency)

    # After every step

    @invariant()
    def the_database_says_what_the_model_says(self) -> None:
        if not hasattr(self, "id"):
            return

        async def read(connection: Connection) -> tuple[Any, list[tuple[str, int, str]]]:
            state = await connection.scalar(text("SELECT state FROM referral WHERE id = :id"), {"id": self.id})
            rows = await connection.execute(_SHOWN, {"id": self.id})
            return state, [(row.agency, row.round, row.state) for row in rows]

        shown = self.run(read)
        self.met.update([f"referral {shown[0]}", *(f"dispatch {state}" for _, _, state in shown[1])])
        assert shown == self.case.shown()

    @invariant()
    def what_must_hold_holds(self) -> None:
        self.steps += 1
        if self.steps % self.check_every == 0:
            self.run(check)

    def teardown(self) -> None:
        """What must hold at the end of the case, whenever it was last looked at."""
        self.run(check)


def _answer(
    key: UUID, actor: Actor, outcome: str, summary: str, *, claim_id: UUID | None = None, attempt: int | None = None
) -> Answer:
    content, sameness = orjson.dumps({"outcome": outcome}), f"{outcome} {summary}".encode()
    return Answer(key, actor, Outcome(outcome), content, sameness, attempt, claim_id)


async def _reference(database: Database) -> Reference:
    async with database.transaction() as connection:
        directory, matrix = await DirectoryCache().get(connection), await MatrixCache().get(connection)
    return Reference(directory, matrix, simulated=False)


# Nothing is disposed of here: what an answer then comes to, test_retention.py and test_disposal_races.py tell.
ALL_THAT_CAN_BE_MET = {
    *(f"referral {state}" for state in ReferralState),
    *(f"dispatch {state}" for state in DispatchState),
    *(f"acknowledgement {result}" for result in Acknowledgement),
    *(f"answer {verdict}" for verdict in Verdict if verdict is not Verdict.DISPOSED),
}


@pytest.mark.timeout(3600)
def test_every_order_of_verbs_leads_where_the_model_says(
    database_url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `--long` ten times as many cases, each more than twice as long."""
    monkeypatch.setattr("app.referrals.lifecycle.answer.MOST_QUESTIONS", FEW_QUESTIONS)
    long = request.config.getoption("faults") == "long"
    with asyncio.Runner() as runner:
        Lifecycle.runner = runner
        configuration = Settings(database_url=database_url, secret=SecretStr(SECRET), key_ring=SecretStr(RING))
        Lifecycle.database = Database(configuration)
        Lifecycle.reference = runner.run(_reference(Lifecycle.database))
        Lifecycle.check_every, Lifecycle.met = (20 if long else 1), Counter()
        try:
            run_state_machine_as_test(
                Lifecycle,
                settings=settings(
                    max_examples=300 if long else 30,
                    stateful_step_count=60 if long else 25,
                    phases=[Phase.generate],  # to shrink a failure takes minutes, and its steps tell enough
                    deadline=None,
                    derandomize=True,
                    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
                ),
            )
        finally:
            runner.run(Lifecycle.database.close())
    if long:
        assert Lifecycle.met.keys() >= ALL_THAT_CAN_BE_MET, "a state or verdict that never came up"
