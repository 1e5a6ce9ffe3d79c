"""An agency gets no more notices than it takes; urgent ones never wait; one message can carry many."""

from app.parties.quota import Quota
from app.referrals.lifecycle import Slot
from app.referrals.notices import Room, allowed


def test_without_a_quota_every_free_slot_may_be_used() -> None:
    assert allowed("HMRC", Room(20, Quota()), 10_000, 10_000) == [Slot("HMRC", 20)]


def test_the_smaller_of_minute_and_day_decides() -> None:
    quota = Quota(per_minute=60, per_day=100)
    assert quota.left(59, 0) == 1
    assert quota.left(0, 98) == 2
    assert quota.left(61, 0) == 0


def test_beyond_the_quota_only_urgent_ones_are_told() -> None:
    room = Room(20, Quota(per_day=100))
    assert allowed("HMRC", room, 0, 100) == [Slot("HMRC", 20, 0, 0), Slot("HMRC", 0, 1, 2)]


def test_what_the_quota_leaves_never_makes_more_than_the_free_slots() -> None:
    room = Room(20, Quota(per_day=100))
    urgent, others = allowed("HMRC", room, 0, 95)
    assert (urgent.most, others.most) == (15, 5)
    assert (urgent.last, others.first) == (0, 1)


def test_a_digest_counts_as_one_notice() -> None:
    quota = Quota(per_minute=1, together=100)
    assert quota.left(0, 0) == 100
    assert quota.notices(100) == 1
    assert quota.notices(101) == 2
