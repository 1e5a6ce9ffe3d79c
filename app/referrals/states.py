"""The state machines on one page. Only `lifecycle` and `consents` move a state; triggers refuse any other move."""

from enum import StrEnum


class ReferralState(StrEnum):
    """Where a referral stands."""

    HELD = "held"  # a co-ordinator must decide -> accepted | in_progress | rejected | cancelled
    ACCEPTED = "accepted"  # stored; its dispatches are not made yet -> in_progress
    IN_PROGRESS = "in_progress"  # at least one dispatch is open -> completed
    COMPLETED = "completed"  # every dispatch is final; a further round takes it back -> in_progress
    CANCELLED = "cancelled"  # by the originator
    REJECTED = "rejected"  # by a co-ordinator


class HeldBecause(StrEnum):
    """Why a referral is held that no person holds."""

    NO_ADDRESSEE = "no_addressee"
    NOT_SENT_OUT = "not_sent_out"


class DispatchState(StrEnum):
    """Where one referral to one agency stands."""

    HELD = "held"  # not yet in the inbox: a co-ordinator's release is needed -> queued
    QUEUED = "queued"  # in the agency's inbox, unseen -> delivered
    DELIVERED = "delivered"  # the agency has seen it -> acknowledged
    ACKNOWLEDGED = "acknowledged"  # the agency works on it -> answered
    QUERY = "query"  # the agency asked for more; the clock stands -> delivered
    ANSWERED = "answered"  # hit or no hit
    DECLINED = "declined"  # with a reason
    EXPIRED = "expired"  # no answer in time
    UNDELIVERABLE = "undeliverable"  # an adapter that must answer cannot
    CANCELLED = "cancelled"  # with its referral, or by a co-ordinator


class Outcome(StrEnum):
    """What an agency says. `more_information` is a question; the other three are answers."""

    HIT = "hit"
    NO_HIT = "no_hit"
    DECLINED = "declined"
    MORE_INFORMATION = "more_information"


class AlertKind(StrEnum):
    """What needs a co-ordinator."""

    URGENT_UNACKNOWLEDGED = "urgent_unacknowledged"  # half an hour, and nobody has said that they have it
    NOTICE_FAILED = "notice_failed"  # the agency could not be told; the item waits in its inbox
    UNDELIVERABLE = "undeliverable"  # an adapter that must answer could not
    EXPIRED = "expired"  # no answer in time
    CONFLICTING_ANSWER = "conflicting_answer"  # a second, different answer, kept as evidence
    LATE_ANSWER = "late_answer"  # an answer after the end, kept as evidence


class ConsentState(StrEnum):
    """Where stands what somebody asks of a body: that its answer may go to another."""

    ASKED = "asked"  # the body that answered must decide -> given | refused
    GIVEN = "given"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"  # by who asked, by a co-ordinator, or with the referral when it was disposed of


_R, _D, _C = ReferralState, DispatchState, ConsentState

REFERRAL_MOVES: dict[ReferralState, frozenset[ReferralState]] = {
    _R.HELD: frozenset({_R.ACCEPTED, _R.IN_PROGRESS, _R.COMPLETED, _R.CANCELLED, _R.REJECTED}),
    _R.ACCEPTED: frozenset({_R.HELD, _R.IN_PROGRESS, _R.CANCELLED, _R.REJECTED}),
    _R.IN_PROGRESS: frozenset({_R.HELD, _R.COMPLETED, _R.CANCELLED, _R.REJECTED}),
    _R.COMPLETED: frozenset({_R.IN_PROGRESS}),
    _R.CANCELLED: frozenset(),
    _R.REJECTED: frozenset(),
}

_ANSWERS = frozenset({_D.ANSWERED, _D.DECLINED, _D.QUERY})
_ENDS = frozenset({_D.EXPIRED, _D.UNDELIVERABLE, _D.CANCELLED})

DISPATCH_MOVES: dict[DispatchState, frozenset[DispatchState]] = {
    _D.HELD: frozenset({_D.QUEUED, _D.CANCELLED, _D.EXPIRED}),
    _D.QUEUED: frozenset({_D.HELD, _D.DELIVERED, _D.ACKNOWLEDGED}) | _ANSWERS | _ENDS,
    _D.DELIVERED: frozenset({_D.ACKNOWLEDGED}) | _ANSWERS | _ENDS,
    _D.ACKNOWLEDGED: _ANSWERS | _ENDS,
    _D.QUERY: frozenset({_D.DELIVERED, _D.ANSWERED, _D.DECLINED, _D.EXPIRED, _D.CANCELLED}),
    _D.ANSWERED: frozenset(),
    _D.DECLINED: frozenset(),
    _D.EXPIRED: frozenset(),
    _D.UNDELIVERABLE: frozenset(),
    _D.CANCELLED: frozenset(),
}

CONSENT_MOVES: dict[ConsentState, frozenset[ConsentState]] = {
    _C.ASKED: frozenset({_C.GIVEN, _C.REFUSED, _C.WITHDRAWN}),
    _C.GIVEN: frozenset(),
    _C.REFUSED: frozenset(),
    _C.WITHDRAWN: frozenset(),
}

FINAL: frozenset[DispatchState] = frozenset(state for state, onward in DISPATCH_MOVES.items() if not onward)
"""The five states in which a dispatch stays for ever."""

CLOCK_RUNS = frozenset({DispatchState.QUEUED, DispatchState.DELIVERED, DispatchState.ACKNOWLEDGED})
"""While a dispatch is held back from its agency, or that waits for more information, its clock stands (contract)."""

OPEN: frozenset[DispatchState] = frozenset(DISPATCH_MOVES) - FINAL
"""The states in which a dispatch can still be answered."""

STATE_OF: dict[Outcome, DispatchState] = {
    Outcome.HIT: _D.ANSWERED,
    Outcome.NO_HIT: _D.ANSWERED,
    Outcome.DECLINED: _D.DECLINED,
    Outcome.MORE_INFORMATION: _D.QUERY,
}
"""The state an accepted answer takes its dispatch to."""


def dispatch_may_come_from(target: DispatchState) -> list[str]:
    """The states from which a dispatch may move to `target`, for a `WHERE state = ANY(…)`."""
    return sorted(state.value for state, onward in DISPATCH_MOVES.items() if target in onward)


def referral_may_come_from(target: ReferralState) -> list[str]:
    """The states from which a referral may move to `target`."""
    return sorted(state.value for state, onward in REFERRAL_MOVES.items() if target in onward)
