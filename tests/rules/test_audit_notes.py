"""Signed checkpoints: notes as others write and read them, and what is refused as one."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from app.audit.note import Checkpoint, NotSigned, Signer, VerifierKey, open_note, read
from app.audit.tree import EMPTY_ROOT
from app.crypto.keys import Keys

# The example of golang.org/x/mod/sumdb/note, whose format C2SP signed-note writes down.
KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
NOTE = (
    f"{TEXT}\n— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
SIGNER = Signer.of(Keys(b"a secret for tests that is long enough to be one"), "gain.test/audit")


def test_a_published_note_opens_with_its_published_key() -> None:
    assert open_note(NOTE, [VerifierKey.parse(KEY)]) == TEXT
    assert str(VerifierKey.parse(KEY)) == KEY


def test_a_changed_note_does_not() -> None:
    with pytest.raises(NotSigned, match="not that of its text"):
        open_note(NOTE.replace("problem is", "problem was"), [VerifierKey.parse(KEY)])


@given(st.integers(0, 2**60), st.binary(min_size=32, max_size=32))
def test_what_is_signed_is_read_back(size: int, root: bytes) -> None:
    note = SIGNER.sign(size, root)
    assert read(note, [SIGNER.key]) == Checkpoint("gain.test/audit", size, root)
    assert read(note, [VerifierKey.parse(str(SIGNER.key))]).size == size


def test_the_key_is_the_same_after_every_start_and_another_under_another_secret() -> None:
    again = Signer.of(Keys(b"a secret for tests that is long enough to be one"), "gain.test/audit")
    assert again.sign(3, EMPTY_ROOT) == SIGNER.sign(3, EMPTY_ROOT)
    other = Signer.of(Keys(b"another secret for tests, long enough to be one."), "gain.test/audit")
    assert other.key != SIGNER.key
    with pytest.raises(NotSigned, match="no known key"):
        read(other.sign(3, EMPTY_ROOT), [SIGNER.key])


def test_a_witness_beside_the_log_does_no_harm() -> None:
    witness = Signer("witness.test", Ed25519PrivateKey.from_private_bytes(bytes(32)))
    note = SIGNER.sign(3, EMPTY_ROOT)
    both = note + witness.sign(3, EMPTY_ROOT).rpartition("\n\n")[2]
    assert read(both, [SIGNER.key]).size == 3


@pytest.mark.parametrize(
    "note",
    [
        "",
        "gain.test/audit\n3\n",
        "a\n\n",
        "a\n\nno signature\n",
        "a\n\n— gain.test/audit\n",
        "a\n\n— gain.test/audit %%%\n",
        SIGNER.sign(3, EMPTY_ROOT).rstrip("\n"),
        SIGNER.sign(3, EMPTY_ROOT).replace("\n3\n", "\n4\n"),
        SIGNER.sign(3, b"short"),
    ],
)
def test_what_is_no_signed_checkpoint_is_refused(note: str) -> None:
    with pytest.raises(NotSigned):
        read(note, [SIGNER.key])


@pytest.mark.parametrize("text", ["", "a\nx\n", "a\n-1\nAA==\n", f"a\n03\n{'A' * 43}=\n", f"\n3\n{'A' * 43}=\n"])
def test_a_body_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NotSigned, match="no checkpoint"):
        Checkpoint.parse(text)


@pytest.mark.parametrize("line", ["", "a+b", KEY.replace("c74f", "c74e"), KEY.replace("+AR", "+AQ"), KEY[:-4]])
def test_what_is_no_verifier_key_is_refused(line: str) -> None:
    with pytest.raises(NotSigned):
        VerifierKey.parse(line)
