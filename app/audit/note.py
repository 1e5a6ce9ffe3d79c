"""Signed checkpoints: the tree's size and root in a signed note with Ed25519 (C2SP tlog-checkpoint, signed-note)."""

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.audit.tree import HASH_BYTES
from app.crypto.keys import Keys, Purpose

_ED25519 = b"\x01"  # the signature type, in key ids and verifier keys
_SIGNATURE = "— "  # an em dash and a space begin a signature line


class NotSigned(ValueError):
    """A note that cannot be read, or that no known key has signed; the text says which."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log promises: `size` entries whose tree has this root. `origin` names the log."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The body of the note."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """The checkpoint in a note's body; extension lines are passed over. Raises `NotSigned`."""
        lines = text.split("\n")
        if len(lines) < 4 or not lines[0] or not (lines[1].isascii() and lines[1].isdigit()):
            raise NotSigned("it is no checkpoint")
        root = _decoded(lines[2])
        if len(root) != HASH_BYTES or str(int(lines[1])) != lines[1]:
            raise NotSigned("it is no checkpoint")
        return cls(lines[0], int(lines[1]), root)


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public key that checkpoints are checked with, under its name (the log's origin)."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """Four bytes by which a signature line names its key."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        """The key as one line: name, id and public key with `+` between."""
        return f"{self.name}+{self.id.hex()}+{b64encode(_ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, line: str) -> "VerifierKey":
        """The key in such a line. Raises `NotSigned`."""
        parts = line.strip().split("+", 2)
        if len(parts) != 3:
            raise NotSigned("it is no verifier key")
        raw = _decoded(parts[2])
        key = cls(parts[0], raw[1:])
        if len(raw) != 33 or raw[:1] != _ED25519 or not parts[0] or key.id.hex() != parts[1]:
            raise NotSigned("it is no verifier key")
        return key


class Signer:
    """Signs checkpoints. The key is derived from the master secret: the same after every start."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self._private = private
        public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.key = VerifierKey(name, public)

    @classmethod
    def of(cls, keys: Keys, name: str) -> "Signer":
        """The signer of the log of this name."""
        return cls(name, Ed25519PrivateKey.from_private_bytes(keys.digest(Purpose.CHECKPOINT, b"")))

    def sign(self, size: int, root: bytes) -> str:
        """The signed note that promises this tree."""
        return self._note(Checkpoint(self.key.name, size, root).text())

    def signature(self, text: str) -> bytes:
        """The signature of a note's body as its line has it: the key's id before it."""
        return self.key.id + self._private.sign(text.encode())

    def _note(self, text: str) -> str:
        return f"{text}\n{_SIGNATURE}{self.key.name} {b64encode(self.signature(text)).decode()}\n"


def open_note(note: str, keys: Sequence[VerifierKey]) -> str:
    """The body of a note that at least one of the keys has signed. Raises `NotSigned`; other signatures are ignored."""
    text, separator, signatures = note.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise NotSigned("it is no signed note")
    text += "\n"
    for line in signatures.splitlines():
        name, _, written = line.removeprefix(_SIGNATURE).partition(" ")
        if not line.startswith(_SIGNATURE) or not written:
            raise NotSigned("it is no signed note")
        signature = _decoded(written)
        for key in keys:
            if key.name == name and key.id == signature[:4]:
                _check(key, text, signature[4:])
                return text
    raise NotSigned("no known key has signed it")


def read(note: str, keys: Sequence[VerifierKey]) -> Checkpoint:
    """The checkpoint in a note that one of the keys has signed. Raises `NotSigned`."""
    return Checkpoint.parse(open_note(note, keys))


def verify_line(key: VerifierKey, text: str, written: str) -> bool:
    """Whether `written`, the base64 of a signature line, is the key's signature of a note's body."""
    try:
        signature = _decoded(written)
        if signature[:4] == key.id:
            _check(key, text, signature[4:])
            return True
    except NotSigned:
        pass
    return False


def _check(key: VerifierKey, text: str, signature: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, text.encode())
    except InvalidSignature:
        raise NotSigned("its signature is not that of its text") from None


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text.encode("ascii"), validate=True)
    except (NotBase64, UnicodeEncodeError, ValueError):
        raise NotSigned("it holds what is not base64") from None
