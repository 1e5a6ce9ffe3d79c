"""The one writer of state: each verb moves referrals or dispatches and logs it in the same transaction.

Lock order everywhere: the referral before its dispatches, referrals by id, dispatches by id.
"""

from app.referrals.lifecycle.acknowledge import Acknowledged, Acknowledgement, acknowledge
from app.referrals.lifecycle.answer import MOST_QUESTIONS, Answer, Recorded, Verdict, record_answers
from app.referrals.lifecycle.cancel import cancel, reject
from app.referrals.lifecycle.claim import claim
from app.referrals.lifecycle.clock import chase, extend, mark_overdue, set_checks
from app.referrals.lifecycle.close import GivenUp, cancel_dispatch, expire, give_up
from app.referrals.lifecycle.deliver import deliver
from app.referrals.lifecycle.hold import Restart, hold, release, release_dispatch
from app.referrals.lifecycle.leases import LEASE_SECONDS, HandOver, Slot, hand_over, lease, seen_by_agencies
from app.referrals.lifecycle.open import NewDispatch, Terms, hold_unsent, hold_without_addressee, open_dispatches
from app.referrals.lifecycle.reply import reply

__all__ = [
    "LEASE_SECONDS",
    "MOST_QUESTIONS",
    "Acknowledged",
    "Acknowledgement",
    "Answer",
    "GivenUp",
    "HandOver",
    "NewDispatch",
    "Recorded",
    "Restart",
    "Slot",
    "Terms",
    "Verdict",
    "acknowledge",
    "cancel",
    "cancel_dispatch",
    "chase",
    "claim",
    "deliver",
    "expire",
    "extend",
    "give_up",
    "hand_over",
    "hold",
    "hold_unsent",
    "hold_without_addressee",
    "lease",
    "mark_overdue",
    "open_dispatches",
    "record_answers",
    "reject",
    "release",
    "release_dispatch",
    "reply",
    "seen_by_agencies",
    "set_checks",
]
