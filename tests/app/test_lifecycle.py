"""The real verbs on a real database, in any order that Hypothesis finds, against a model; the invariants after each."""

import asyncio
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
from app.referrals.lifecycle import Answer, GivenUp, Restart
from app.referrals.rounds import Reference
from app.referrals.states import Outcome
from app.referrals.timekeeper import Timekeeper
from app.routing.reference import MatrixCache
from app.settings import Settings
from tests.app.lifecycle_model import Case, Item
from tests.conftest import RING, SECRET, referral
from tests.invariants import check

T = TypeVar("T")

AGENCIES = ("EA", "NRW", "HSE", "SMARTWATER")
FORCE, COORDINATOR, SYSTEM = Actor("SWP", "test"), Actor("TARIAN", "test"), Actor("GAIN", "worker")
LONG = timedelta(days=60)

_SHIFT = text("""
    UPDATE dispatch
       SET created_at = created_at - CAST(:passed AS interval), due_at = due_at - CAST(:passed AS interval),
           expires_at = expires_at - CAST(:passed AS interval),
           next_check_at = next_check_at - CAST(:passed AS interval),
           queried_at = queried_at - CAST(:passed AS interval)
""")

_SHOWN = text("SELECT agency, round, state FROM dispatch WHERE referral_id = :id ORDER BY agency, round")


class Lifecycle(RuleBasedStateMachine):
    """One referral at a time. Every rule does the same to the database and to the model, and compares what they say."""

    runner: asyncio.Runner
    database: Database
    reference: Reference

    def __init__(self) -> None:
        super().__init__()
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

    @initialize(addressees=st.lists(st.sampled_from(AGENCIES), min_size=1, max_size=3, unique=True))
    def submit(self, addressees: list[str]) -> None:
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

    @rule(twice=st.booleans())
    def submit_again(self, twice: bool) -> None:
        again = [self._with(uuid7(), b"same"), *([self._with(uuid7(), b"other")] if twice else [])]
        receipts = self.run(lambda connection: accept(connection, again))
        assert {receipt.referral_id for receipt in receipts} == {self.id}
        assert [receipt.conflict for receipt in receipts] == [False, True][: len(again)]

    def _with(self, key: UUID, sameness: bytes) -> Submission:
        kept = {name: getattr(self.submission, name) for name in Submission.__slots__}
        return Submission(**{**kept, "id": key, "sameness": sameness})

    @rule()
    def cancel(self) -> None:
        done = self.run(lambda connection: lifecycle.cancel(connection, FORCE, self.id, "not needed"))
        assert done == self.case.end("cancelled")

    @precondition(lambda self: self.case.items)
    @rule(which=st.integers(0, 9))
    def reply(self, which: int) -> None:
        item = self.some_item(which)
        key = self.item_id(item)
        done = self.run(lambda connection: lifecycle.reply(connection, FORCE, self.id, key, b'{"text":"He."}'))
        assert done == self.case.reply(item)

    # The system

    @rule()
    def fan_out(self) -> None:
        self.run(lambda connection: FanOut().run(connection, SYSTEM, ()))
        self.case.fan_out(lambda agency: self.reference.directory[agency].policy.needs_release)

    @rule(long=st.booleans())
    def time_passes(self, long: bool) -> None:
        passed = LONG if long else timedelta(minutes=1)
        self.run(lambda connection: connection.execute(_SHIFT, {"passed": passed}))
        while self.run(lambda connection: Timekeeper().run(connection, SYSTEM)):
            pass
        if long:
            self.case.long_time_passes()

    @precondition(lambda self: self.case.items)
    @rule(which=st.integers(0, 9), overtaken=st.booleans())
    def give_up(self, which: int, overtaken: bool) -> None:
        item = self.some_item(which)
        given_up = GivenUp(self.item_id(item), int(overtaken), "cannot be reached")
        self.run(lambda connection: lifecycle.give_up(connection, SYSTEM, [given_up]))
        if not overtaken:
            self.case.give_up(item)

    # An agency

    @precondition(lambda self: self.case.items)
    @rule(which=st.integers(0, 9))
    def read(self, which: int) -> None:
        item = self.some_item(which)
        key, actor = self.item_id(item), Actor(item.agency, "test")
        self.run(lambda connection: lifecycle.deliver(connection, actor, [key]))
        self.case.read(item)

    @precondition(lambda self: self.case.items)
    @rule(which=st.integers(0, 9), by_another=st.booleans())
    def acknowledge(self, which: int, by_another: bool) -> None:
        item = self.some_item(which)
        key, actor = self.item_id(item), Actor("DVSA" if by_another else item.agency, "test")
        result = self.run(lambda connection: lifecycle.acknowledge(connection, actor, [key]))
        assert result[key].value == ("not_found" if by_another else self.case.acknowledge(item))

    @precondition(lambda self: self.case.items)
    @rule(
        which=st.integers(0, 9),
        outcomes=st.lists(st.sampled_from([outcome.value for outcome in Outcome]), min_size=1, max_size=2),
        summary=st.sampled_from(["one", "two"]),
        by_another=st.booleans(),
    )
    def say(self, which: int, outcomes: list[str], summary: str, by_another: bool) -> None:
        """One or two answers in one call."""
        item = self.some_item(which)
        key, actor = self.item_id(item), Actor("DVSA" if by_another else item.agency, "test")
        answers = [
            Answer(key, actor, Outcome(outcome), orjson.dumps({"outcome": outcome}), f"{outcome} {summary}".encode())
            for outcome in outcomes
        ]
        recorded = self.run(lambda connection: lifecycle.record_answers(connection, answers))
        for outcome, given in zip(outcomes, recorded, strict=True):
            assert given.verdict.value == ("not_found" if by_another else self.case.say(item, outcome, summary))

    # A co-ordinator

    @rule()
    def reject(self) -> None:
        done = self.run(lambda connection: lifecycle.reject(connection, COORDINATOR, self.id, "not for us"))
        assert done == self.case.end("rejected")

    @rule()
    def hold(self) -> None:
        done = self.run(lambda connection: lifecycle.hold(connection, COORDINATOR, self.id, "wait"))
        assert done == self.case.hold()

    @rule()
    def release(self) -> None:
        restarts = {agency: self.restart(agency) for agency in AGENCIES}
        done = self.run(lambda connection: lifecycle.release(connection, COORDINATOR, self.id, restarts))
        assert done == self.case.release()

    @precondition(lambda self: self.case.items)
    @rule(which=st.integers(0, 9))
    def release_item(self, which: int) -> None:
        item = self.some_item(which)
        key, restart = self.item_id(item), self.restart(item.agency)
        done = self.run(lambda connection: lifecycle.release_dispatch(connection, COORDINATOR, self.id, key, restart))
        assert done == self.case.release_item(item)

    @precondition(lambda self: self.case.items)
    @rule(which=st.integers(0, 9))
    def cancel_item(self, which: int) -> None:
        item = self.some_item(which)
        key = self.item_id(item)
        done = self.run(lambda connection: lifecycle.cancel_dispatch(connection, COORDINATOR, key, "no more"))
        assert done == self.case.cancel_item(item)

    @precondition(lambda self: self.case.items)
    @rule(which=st.integers(0, 9))
    def chase(self, which: int) -> None:
        item = self.some_item(which)
        key = self.item_id(item)
        done = self.run(lambda connection: lifecycle.chase(connection, COORDINATOR, [key]))
        assert bool(done) == self.case.chase(item)

    @precondition(lambda self: self.case.items)
    @rule(which=st.integers(0, 9))
    def extend(self, which: int) -> None:
        item = self.some_item(which)
        key = self.item_id(item)
        due = self.now() + LONG + timedelta(days=10)
        expires = due + timedelta(days=5)
        done = self.run(lambda connection: lifecycle.extend(connection, COORDINATOR, key, due, expires))
        assert done == self.case.extend(item)

    @precondition(lambda self: self.case.items)
    @rule(which=st.integers(0, 9))
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

        assert self.run(read) == self.case.shown()

    @invariant()
    def what_must_hold_holds(self) -> None:
        self.run(check)


async def _reference(database: Database) -> Reference:
    async with database.transaction() as connection:
        directory, matrix = await DirectoryCache().get(connection), await MatrixCache().get(connection)
    return Reference(directory, matrix, simulated=False)


@pytest.mark.timeout(180)
def test_every_order_of_verbs_leads_where_the_model_says(database_url: str) -> None:
    with asyncio.Runner() as runner:
        Lifecycle.runner = runner
        configuration = Settings(database_url=database_url, secret=SecretStr(SECRET), key_ring=SecretStr(RING))
        Lifecycle.database = Database(configuration)
        Lifecycle.reference = runner.run(_reference(Lifecycle.database))
        try:
            run_state_machine_as_test(
                Lifecycle,
                settings=settings(
                    max_examples=30,
                    stateful_step_count=25,
                    phases=[Phase.generate],  # to shrink a failure takes minutes, and its steps tell enough
                    deadline=None,
                    derandomize=True,
                    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
                ),
            )
        finally:
            runner.run(Lifecycle.database.close())
