"""Signing keys made of the master secret: Ed25519 (RFC 8032), one for each version number of a purpose."""

import base64
import hashlib

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.crypto.keys import Keys, Purpose


def token_signing_key(keys: Keys, version: int) -> Ed25519PrivateKey:
    """The key that signs tokens in this version."""
    return Ed25519PrivateKey.from_private_bytes(keys.digest(Purpose.TOKEN_ED25519, str(version).encode()))


def public_jwk(key: Ed25519PublicKey) -> dict[str, str]:
    """The public key as a JSON Web Key (RFC 8037), its `kid` the thumbprint of RFC 7638."""
    point = _base64url(key.public_bytes(Encoding.Raw, PublicFormat.Raw))
    required = {"crv": "Ed25519", "kty": "OKP", "x": point}
    thumbprint = hashlib.sha256(orjson.dumps(required, option=orjson.OPT_SORT_KEYS)).digest()
    return {**required, "alg": "EdDSA", "use": "sig", "kid": _base64url(thumbprint)}


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
