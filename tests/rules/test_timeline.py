"""Who sees what in a timeline, and that the pages have words for exactly that."""

import pytest

from app.access.policy import Relation
from app.intake.shown import HAPPENED as FORCES_WORDS
from app.intake.shown import happened
from app.referrals.outcomes import COUNTS
from app.referrals.timeline import part, shown_to
from app.status.referral_words import HAPPENED as OVERSEERS_WORDS
from app.status.referral_words import happened as told

OVERSEERS = (Relation.REGION, Relation.ALL)
CO_ORDINATORS = {
    "dispatch.noted", "response.conflict", "response.no_longer_open", "referral.legal_hold_set",
    "referral.legal_hold_lifted", "retention.reviewed",
}  # fmt: skip
NOBODYS = {
    "dispatch.assigned", "product.read", "product.combined", "responses.read", "referral.read", "consents.read",
    "referral.timeline_read", "something.new",
}  # fmt: skip


def test_a_force_sees_nothing_of_what_is_the_co_ordinators() -> None:
    assert not CO_ORDINATORS & shown_to(Relation.OWN).keys()
    for relation in OVERSEERS:
        assert shown_to(relation).keys() - shown_to(Relation.OWN).keys() == CO_ORDINATORS


@pytest.mark.parametrize("relation", Relation)
def test_what_is_not_named_nobody_sees(relation: Relation) -> None:
    assert not NOBODYS & shown_to(relation).keys()
    fields = shown_to(relation)
    for event in (*fields, *NOBODYS):
        assert part(fields, event, {"to": "an account", "purpose": "investigation", "ids": ["x"]}) is None


@pytest.mark.parametrize("relation", [Relation.ADDRESSED, Relation.SELF])
def test_an_agency_has_no_timeline(relation: Relation) -> None:
    assert not shown_to(relation)


def test_what_is_named_is_shown_and_nothing_beside() -> None:
    own = shown_to(Relation.OWN)
    assert part(own, "response.recorded", {"outcome": "hit", "to": "x"}) == {"outcome": "hit"}
    assert part(own, "response.conflict", {"outcome": "hit"}) is None
    assert part(shown_to(Relation.REGION), "response.conflict", {"outcome": "hit"}) == {"outcome": "hit"}
    assert part(own, "referral.accepted", None) is None
    counted = dict.fromkeys(COUNTS, 1)
    assert part(own, "outcome.recorded", counted) == counted


def test_the_pages_have_words_for_exactly_what_is_seen() -> None:
    assert FORCES_WORDS.keys() == shown_to(Relation.OWN).keys()
    assert OVERSEERS_WORDS.keys() == shown_to(Relation.REGION).keys()
    for event in FORCES_WORDS:
        assert "{" not in happened({"event": event, "detail": None, "agency": None})
    sent = {"event": "referral.dispatched", "detail": {"agencies": ["EA", "HMRC"]}, "agency": None}
    assert happened(sent) == "Bodies to ask were chosen: EA, HMRC"
    assert told("outcome.recorded", {"outcome": "0190"}) == "Outcome recorded"
    assert told("response.conflict", {"outcome": "no_hit"}) == "Answered again, differently (no hit)"
