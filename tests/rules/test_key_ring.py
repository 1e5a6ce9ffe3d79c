"""The key ring: what it holds, who may keep its keys, and how processes learn of a new one."""

import os
import time
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.crypto.keyring import Bare, Entries, KeyRing, RingError, entries, new_entry, new_ring
from app.crypto.refusal import Unopenable
from app.crypto.source import LOOK_SECONDS, RingSource

REFERRAL = UUID(int=7)
KEY = "A" * 43
OTHER = "B" * 42 + "A"
DATA_KEY = bytes(range(32))


def ring(text: str) -> KeyRing:
    return entries(text).opened(Bare())


def test_a_new_ring_has_one_key_which_is_current() -> None:
    made = new_ring(Bare())
    assert entries(made.text()) == made
    opened = made.opened(Bare())
    assert opened.unwrap(opened.current, REFERRAL, opened.wrap(REFERRAL, DATA_KEY)) == DATA_KEY


def test_an_added_key_waits_until_it_is_marked() -> None:
    text = f"old:{KEY} *now:{KEY}\nnext:{OTHER}"
    found = entries(text)
    assert (found.current, found.waiting()) == ("now", ["next"])
    assert entries(found.text()) == found


@pytest.mark.parametrize(
    "text",
    ["", "  ", "no-colon", f"UPPER:{KEY}", f"a:{KEY[:-1]}", f"a:{KEY}\na:{OTHER}", f"a:{KEY} b:{OTHER}",
     f"*a:{KEY} *b:{OTHER}", f"a:{KEY[:-1]}+", "a:" + "A" * 50],
)  # fmt: skip
def test_what_is_no_ring_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(RingError) as refusal:
        ring(text)
    assert not any(word in str(refusal.value) for word in (KEY[:-1], OTHER[:-1], "no-colon", "UPPER"))


def test_a_data_key_is_bound_to_its_referral_and_its_ring_key() -> None:
    both = ring(f"*a:{KEY} b:{KEY}")
    wrapped = both.wrap(REFERRAL, DATA_KEY)
    for id, referral in (("a", uuid4()), ("b", REFERRAL)):
        with pytest.raises(Unopenable):
            both.unwrap(id, referral, wrapped)
    assert both.unwrap("a", REFERRAL, wrapped) == DATA_KEY


@pytest.mark.parametrize("position", range(0, 61, 5))
def test_a_changed_wrapping_does_not_open(position: int) -> None:
    one = ring(f"a:{KEY}")
    wrapped = bytearray(one.wrap(REFERRAL, DATA_KEY))
    wrapped[position] ^= 1
    with pytest.raises(Unopenable):
        one.unwrap("a", REFERRAL, bytes(wrapped))


def test_another_key_of_the_same_name_opens_nothing() -> None:
    wrapped = ring(f"a:{KEY}").wrap(REFERRAL, DATA_KEY)
    with pytest.raises(Unopenable):
        ring(f"a:{OTHER}").unwrap("a", REFERRAL, wrapped)


class Hsm:
    """A custodian that never gives its own key away."""

    def __init__(self) -> None:
        self._cipher = AESGCM(os.urandom(32))
        self.asked = 0

    def wrap(self, ring_key: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, ring_key, b"ring")

    def unwrap(self, kept: bytes) -> bytes:
        self.asked += 1
        return self._cipher.decrypt(kept[:12], kept[12:], b"ring")


def test_a_kms_may_keep_the_ring_and_is_asked_once_a_key() -> None:
    hsm = Hsm()
    first, second = new_entry(hsm), new_entry(hsm)
    kept = Entries(dict([first, second]), second[0])
    source = RingSource(None, kept.text(), hsm)
    wrapped = source.ring().wrap(REFERRAL, DATA_KEY)
    for _ in range(100):
        assert source.ring().unwrap(second[0], REFERRAL, wrapped) == DATA_KEY
    assert hsm.asked == 2
    with pytest.raises(RingError):
        kept.opened(Hsm())
    with pytest.raises(RingError):
        kept.opened(Bare())


def test_a_process_takes_up_a_new_key_at_once_where_it_meets_it(tmp_path: Path) -> None:
    file = tmp_path / "ring"
    file.write_text(f"a:{KEY}")
    source = RingSource(file, "")
    assert source.ring().current == "a"
    file.write_text(f"a:{KEY} *b:{OTHER}")
    assert source.ring("b").current == "b"


def test_a_process_takes_up_a_new_current_key_when_it_looks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ring"
    file.write_text(f"a:{KEY}")
    source = RingSource(file, "")
    assert source.ring().current == "a"
    file.write_text(f"a:{KEY} *b:{OTHER}")
    now = time.monotonic()
    assert source.ring().current == "a"
    monkeypatch.setattr(time, "monotonic", lambda: now + LOOK_SECONDS)
    assert source.ring().current == "b"


@pytest.mark.parametrize("mishap", ["gone", "malformed", "binary"])
def test_what_runs_goes_on_with_the_ring_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mishap: str) -> None:
    """Half a file, written over in place, must not stop what is running."""
    file = tmp_path / "ring"
    file.write_text(f"a:{KEY}")
    source = RingSource(file, "")
    source.ring()
    match mishap:
        case "gone":
            file.unlink()
        case "malformed":
            file.write_text("a:")
        case _:
            file.write_bytes(b"\xff\xfe")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + LOOK_SECONDS)
    assert source.ring().current == "a"
    file.write_text(f"a:{KEY} *b:{OTHER}")
    assert source.ring("b").current == "b"


def test_without_a_ring_nothing_is_sealed_and_one_that_comes_is_taken_up(tmp_path: Path) -> None:
    with pytest.raises(Unopenable):
        RingSource(None, "").ring()
    file = tmp_path / "ring"
    source = RingSource(file, "")
    with pytest.raises(Unopenable) as refusal:
        source.ring()
    assert (refusal.value.kind.status, refusal.value.retry_after) == (503, 30)
    file.write_text(f"a:{KEY}")
    assert source.ring().current == "a"
