"""Both state machines, and what an answer comes to: no path leads out of an end, and the first answer stands."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.referrals.lifecycle.answer import Verdict, judge
from app.referrals.lifecycle.claim import claim_holds
from app.referrals.states import (
    DISPATCH_MOVES,
    FINAL,
    OPEN,
    REFERRAL_MOVES,
    STATE_OF,
    DispatchState,
    Outcome,
    ReferralState,
    dispatch_may_come_from,
    referral_may_come_from,
)

D, R = DispatchState, ReferralState
Moves = Mapping[Any, frozenset[Any]]
ENDED_UNANSWERED = frozenset({D.CANCELLED, D.EXPIRED, D.UNDELIVERABLE})


def reachable(moves: Moves, start: StrEnum) -> set[StrEnum]:
    found: set[StrEnum] = {start}
    waiting = [start]
    while waiting:
        for state in moves[waiting.pop()] - found:
            found.add(state)
            waiting.append(state)
    return found


@pytest.mark.parametrize(("moves", "states"), [(DISPATCH_MOVES, D), (REFERRAL_MOVES, R)])
def test_every_state_has_its_line_and_no_line_leads_to_itself(moves: Moves, states: type[StrEnum]) -> None:
    assert set(moves) == set(states)
    assert all(onward <= set(states) and state not in onward for state, onward in moves.items())


def test_the_five_ends_of_a_dispatch_are_never_left() -> None:
    assert {D.ANSWERED, D.DECLINED, D.EXPIRED, D.UNDELIVERABLE, D.CANCELLED} == FINAL
    assert all(not DISPATCH_MOVES[state] for state in FINAL)


def test_a_referral_taken_back_or_rejected_stays_so() -> None:
    assert not REFERRAL_MOVES[R.CANCELLED]
    assert not REFERRAL_MOVES[R.REJECTED]


def test_a_completed_referral_goes_on_with_a_further_round_only() -> None:
    assert REFERRAL_MOVES[R.COMPLETED] == {R.IN_PROGRESS}


def test_every_dispatch_state_is_either_open_or_final() -> None:
    assert set(D) == OPEN | FINAL
    assert not OPEN & FINAL


@pytest.mark.parametrize("start", [D.QUEUED, D.HELD])
def test_every_end_can_be_reached_from_the_beginning(start: DispatchState) -> None:
    assert reachable(DISPATCH_MOVES, start) >= FINAL


def test_every_state_of_a_referral_can_be_reached_from_accepted() -> None:
    assert reachable(REFERRAL_MOVES, R.ACCEPTED) == set(R)


@pytest.mark.parametrize("state", sorted(OPEN))
def test_every_open_dispatch_can_still_end(state: DispatchState) -> None:
    assert reachable(DISPATCH_MOVES, state) & FINAL


def test_every_outcome_leads_where_the_agency_meant() -> None:
    assert set(STATE_OF) == set(Outcome)
    assert {STATE_OF[outcome] for outcome in Outcome} == {D.ANSWERED, D.DECLINED, D.QUERY}


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("state", sorted(OPEN - {D.HELD}))
def test_what_is_in_an_inbox_can_take_any_answer(state: DispatchState, outcome: Outcome) -> None:
    assert STATE_OF[outcome] in DISPATCH_MOVES[state] | {state}


def test_what_is_held_is_not_in_an_inbox_and_takes_no_answer() -> None:
    assert not DISPATCH_MOVES[D.HELD] & set(STATE_OF.values())


@pytest.mark.parametrize("target", list(D))
def test_the_sources_of_a_dispatch_state_are_the_moves_read_backwards(target: DispatchState) -> None:
    assert set(dispatch_may_come_from(target)) == {state for state in D if target in DISPATCH_MOVES[state]}


@pytest.mark.parametrize("target", list(R))
def test_the_sources_of_a_referral_state_are_the_moves_read_backwards(target: ReferralState) -> None:
    assert set(referral_may_come_from(target)) == {state for state in R if target in REFERRAL_MOVES[state]}


@given(st.sampled_from(sorted(D)), st.booleans(), st.sampled_from([None, "conflict", "late"]))
def test_the_end_of_a_dispatch_is_told_before_what_is_wrong_with_an_answer(
    state: DispatchState, known: bool, flag: str | None
) -> None:
    verdict = judge(state, flag if known else None, known=known)
    assert (verdict is Verdict.NO_LONGER_OPEN) == (state in ENDED_UNANSWERED)


@given(st.sampled_from([None, 1, 2]), st.sampled_from([None, 1, 2]), st.booleans())
def test_nobody_acts_on_what_another_holds_and_everybody_on_what_nobody_does(
    given_: int | None, current: int | None, lives: bool
) -> None:
    claims = {None: None, 1: UUID(int=1), 2: UUID(int=2)}
    holds = claim_holds(claims[given_], claims[current], lives=lives)
    if current is None or not lives:
        assert holds == (given_ is None), "a claim that has ended or never was gives no right; without one all may act"
    else:
        assert holds == (given_ == current), "a living claim gives the right to its holder alone"


class OneDispatch(RuleBasedStateMachine):
    """A dispatch and everything that is ever said to it, as `record_answers` drives `judge`."""

    def __init__(self) -> None:
        super().__init__()
        self.state = D.QUEUED
        self.kept: dict[tuple[Outcome, int], str | None] = {}
        self.ended_as: DispatchState | None = None

    def move(self, target: DispatchState) -> None:
        assert target in DISPATCH_MOVES[self.state] or target is self.state
        self.state = target
        if target in FINAL:
            self.ended_as = target

    @precondition(lambda self: self.state not in FINAL)
    @rule(data=st.data())
    def something_else_happens(self, data: st.DataObject) -> None:
        others = sorted(DISPATCH_MOVES[self.state] - {D.ANSWERED, D.DECLINED, D.QUERY, D.HELD})
        self.move(data.draw(st.sampled_from(others)))

    @rule(outcome=st.sampled_from(list(Outcome)), wording=st.integers(0, 2))
    def somebody_answers(self, outcome: Outcome, wording: int) -> None:
        said = (outcome, wording)
        before = dict(self.kept)
        verdict = judge(self.state, self.kept.get(said), known=said in self.kept)
        if self.state in ENDED_UNANSWERED:
            assert verdict is Verdict.NO_LONGER_OPEN
        elif said in before:
            assert verdict is (Verdict.REPEATED if before[said] is None else Verdict.CONFLICT)
        elif self.state in FINAL:
            assert verdict is Verdict.CONFLICT
        else:
            assert verdict is Verdict.RECORDED
        if said in before:
            return
        self.kept[said] = {Verdict.CONFLICT: "conflict", Verdict.NO_LONGER_OPEN: "late"}.get(verdict)
        if verdict is Verdict.RECORDED:
            self.move(STATE_OF[outcome])

    @invariant()
    def an_end_stays(self) -> None:
        assert self.ended_as is None or self.state is self.ended_as

    @invariant()
    def one_answer_is_accepted_where_it_was_answered(self) -> None:
        accepted = [
            outcome for (outcome, _), flag in self.kept.items() if flag is None and outcome != "more_information"
        ]
        answered = self.state in (D.ANSWERED, D.DECLINED)
        assert [STATE_OF[outcome] for outcome in accepted] == ([self.state] if answered else [])


TestOneDispatch = OneDispatch.TestCase
TestOneDispatch.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
