"""Sealing: a value opens in its own place, under its own key, unchanged, and nowhere else."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.crypto.refusal import Unopenable
from app.crypto.sealing import DataKey, Place

HERE = Place("referral", "content", UUID(int=1))
KEY = DataKey(bytes(range(32)))
CANARY = b"Rhys Alun Quill, 7 March 1984"
OVERHEAD = 30
ELSEWHERE = {
    "another row": Place("referral", "content", UUID(int=2)),
    "another column": Place("referral", "sealed_reason", UUID(int=1)),
    "another table": Place("response", "content", UUID(int=1)),
    "letters that moved between the names": Place("referralc", "ontent", UUID(int=1)),
}


@given(st.binary(max_size=5_000))
def test_what_was_sealed_opens_again(plain: bytes) -> None:
    sealed = KEY.seal(HERE, plain)
    assert KEY.open(HERE, sealed) == plain
    assert len(sealed) == len(plain) + OVERHEAD


def test_nothing_of_it_shows_and_no_two_sealings_are_the_same() -> None:
    sealings = {KEY.seal(HERE, CANARY) for _ in range(1_000)}
    assert len(sealings) == 1_000
    assert len({sealed[2:14] for sealed in sealings}) == 1_000
    assert not any(CANARY[:5] in sealed for sealed in sealings)


@pytest.mark.parametrize("place", ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_value_moved_does_not_open(place: Place) -> None:
    with pytest.raises(Unopenable):
        KEY.open(place, KEY.seal(HERE, CANARY))


def test_another_key_opens_nothing() -> None:
    with pytest.raises(Unopenable):
        DataKey(bytes(32)).open(HERE, KEY.seal(HERE, CANARY))


def test_a_change_of_any_byte_is_found() -> None:
    sealed = KEY.seal(HERE, CANARY)
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 0x80
        with pytest.raises(Unopenable):
            KEY.open(HERE, bytes(changed))


@pytest.mark.parametrize("given", [b"", b"\x01", b"\x01\x01", b"\x01\x01short", b'{"subject": {}}'])
def test_what_was_never_sealed_is_not_taken_for_it(given: bytes) -> None:
    """No plain text is ever read where a sealed value must be."""
    with pytest.raises(Unopenable) as refusal:
        KEY.open(HERE, given)
    assert "subject" not in refusal.value.why
