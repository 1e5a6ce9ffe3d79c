"""The rules of the state machine, by who acts. Each does the same to the database and to the model, and compares."""

from datetime import timedelta
from uuid import UUID

import orjson
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
)
from uuid_utils.compat import uuid7

from app.audit.record import Actor
from app.db import Connection
from app.referrals import lifecycle, rounds
from app.referrals.accept import Submission, accept
from app.referrals.lifecycle import Acknowledgement, GivenUp
from app.referrals.timekeeper import Timekeeper
from app.reporting import counters
from tests.app.lifecycle_model import Case, Item
from tests.app.lifecycle_steps import (
    AGENCIES,
    CLAIMED,
    COORDINATOR,
    EVERYTHING,
    FEW_QUESTIONS,
    FORCE,
    LEASE_SECONDS,
    LONG,
    OUTCOME,
    SAID,
    SELDOM,
    SHIFT,
    SYSTEM,
    UNDER,
    WHICH,
    Steps,
    answer_of,
)
from tests.conftest import referral


class OfOriginator(Steps):
    """A force submits, answers questions and takes back."""

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


class OfSystem(Steps):
    """Workers and the scheduler, and time."""

    @rule()
    def fan_out(self) -> None:
        self.fan_out_now()

    @rule(long=SELDOM)
    def time_passes(self, long: bool) -> None:
        passed = LONG if long else timedelta(minutes=1)
        self.run(lambda connection: connection.execute(SHIFT, {"passed": passed}))
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


class OfAgency(Steps):
    """An agency, its consumers and its adapter."""

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
            rows = await connection.execute(CLAIMED, {"id": self.id, "agency": agency, "taken": taken})
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
        answers = [answer_of(key, actor, outcome, summary, claim_id=claim) for outcome in outcomes]
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
        answer = answer_of(self.item_id(item), Actor(item.agency, "adapter"), outcome, "one", attempt=int(overtaken))
        [given] = self.run(lambda connection: lifecycle.record_answers(connection, [answer]))
        self.met[f"answer {given.verdict.value}"] += 1
        assert given.verdict.value == self.case.say(item, outcome, "one", "superseded" if overtaken else None)


class OfCoordinator(Steps):
    """A co-ordinator."""

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
