"""What a timeline shows of the log: which events, and which fields of their detail, to whom. Pure; all else is hidden.

An event or a field that is not named here nobody sees in a timeline, whatever is logged later. Row-level security
holds to the same events (migration 0033): who adds one here adds it to the policy by a migration.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from app.access.policy import Relation

Fields = Mapping[str, frozenset[str]]
"""By event, what of its detail is shown."""

_NOTHING: frozenset[str] = frozenset()
_AGENCIES = frozenset({"agencies"})
_CONSENT = frozenset({"consent", "recipient"})
_OUTCOME = frozenset({"outcome", "acted_on", "disruption", "useful", "replaces"})
_COUNTS = frozenset({"arrests", "charged", "prohibition_orders", "children_safeguarded", "adults_safeguarded"})

_FORCE: Fields = {
    "referral.accepted": _NOTHING,
    "referral.dispatched": _AGENCIES,
    "referral.addressees_added": _AGENCIES,
    "referral.held": frozenset({"because"}),
    "referral.released": _NOTHING,
    "referral.rejected": _NOTHING,
    "referral.cancelled": _NOTHING,
    "referral.completed": _NOTHING,
    "referral.disposed": frozenset({"group", "release", "closed_at"}),
    "dispatch.delivered": _NOTHING,
    "dispatch.acknowledged": _NOTHING,
    "dispatch.held": _NOTHING,
    "dispatch.released": _NOTHING,
    "dispatch.alerted": frozenset({"kind"}),
    "dispatch.chased": _NOTHING,
    "dispatch.overdue": _NOTHING,
    "dispatch.extended": _NOTHING,
    "dispatch.expired": _NOTHING,
    "dispatch.undeliverable": _NOTHING,
    "dispatch.redelivered": _AGENCIES,
    "dispatch.cancelled": frozenset({"was"}),
    "dispatch.cancellation_seen": _NOTHING,
    "response.recorded": frozenset({"outcome"}),
    "message.sent": _NOTHING,
    "outcome.recorded": _OUTCOME | _COUNTS,
    "consent.asked": _CONSENT,
    "consent.chased": _CONSENT,
    "consent.given": _CONSENT,
    "consent.refused": _CONSENT,
    "consent.withdrawn": _CONSENT,
}

# Late and conflicting answers, what was noted about them, holds and reviews are the co-ordinator's. Whom an agency
# gives an item to (`dispatch.assigned`) is the agency's own, and who has read what is the auditor's.
_OVERSEER: Fields = {
    **_FORCE,
    "dispatch.noted": frozenset({"alerts"}),
    "response.conflict": frozenset({"outcome"}),
    "response.no_longer_open": frozenset({"outcome"}),
    "referral.legal_hold_set": _NOTHING,
    "referral.legal_hold_lifted": _NOTHING,
    "retention.reviewed": frozenset({"dispose", "keep_until", "early"}),
}

TIMELINE: Mapping[Relation, Fields] = MappingProxyType(
    # An agency has its item, and no timeline.
    {Relation.OWN: _FORCE, Relation.ADDRESSED: {}, Relation.REGION: _OVERSEER, Relation.ALL: _OVERSEER}
)


def shown_to(relation: Relation) -> Fields:
    """The events in a timeline for whom a referral has this relation to."""
    return TIMELINE.get(relation, {})


def part(fields: Fields, event: str, detail: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What is shown of an event's detail; None where that is nothing."""
    return {name: value for name, value in (detail or {}).items() if name in fields.get(event, _NOTHING)} or None
