"""Codes that a person types: of the authenticator (TOTP, RFC 6238), for recovery, to set an account up. Pure."""

import secrets
from datetime import datetime

import pyotp
import segno

STEP_SECONDS = 30
_SECRET_BYTES = 20  # RFC 4226 section 4, R6
_WINDOW = (0, -1, 1)  # steps either way: clocks differ, and typing takes time
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: nothing that looks like something else
_LOOKALIKES = str.maketrans("OIL", "011")
_RECOVERY_LENGTH, _SETUP_LENGTH = 12, 16
RECOVERY_CODES = 10


def new_secret() -> bytes:
    """A TOTP secret: the base 32 text that authenticators take, in ASCII."""
    return pyotp.random_base32(_SECRET_BYTES * 8 // 5).encode()


def step_of(secret: bytes, code: str, now: datetime, last: int) -> int | None:
    """The time step after `last` that this is the code of, within one step of now; None where there is none.

    Whoever takes a code keeps its step as the `last`: so each is taken once, and none after a later one.
    """
    given = "".join(code.split())
    if len(given) != 6 or not (given.isascii() and given.isdigit()):
        return None
    totp = pyotp.TOTP(secret.decode())
    current = int(now.timestamp()) // STEP_SECONDS
    steps = [current + offset for offset in _WINDOW if current + offset > last]
    # Each is compared, whichever fits: how long it takes tells nothing.
    fitting = [step for step in steps if pyotp.utils.strings_equal(given, totp.generate_otp(step))]
    return min(fitting, default=None)


def code_at(secret: bytes, at: datetime) -> str:
    """The code that an authenticator shows at this moment."""
    return pyotp.TOTP(secret.decode()).at(at)


def enrolment(secret: bytes, username: str) -> str:
    """The `otpauth:` URI that an authenticator reads."""
    return pyotp.TOTP(secret.decode()).provisioning_uri(name=username, issuer_name="GAIN broker")


def picture(uri: str) -> str:
    """A QR code as an SVG element, without style or script: dark on light in every colour scheme."""
    code = segno.make_qr(uri, error="m")
    return code.svg_inline(scale=5, border=4, light="#fff", svgclass="qr", lineclass=None, title="QR code")


def new_recovery_codes() -> list[str]:
    """Ten codes of 60 bits, as they are shown once."""
    return [_shown(_random(_RECOVERY_LENGTH)) for _ in range(RECOVERY_CODES)]


def new_setup_code() -> str:
    """A code of 80 bits with which an account is set up, once."""
    return _shown(_random(_SETUP_LENGTH))


def typed(code: str) -> str:
    """What was meant by a code as somebody typed it: case, spaces, hyphens and lookalikes do not matter."""
    return "".join(code.split()).replace("-", "").upper().translate(_LOOKALIKES)[:100]


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _shown(code: str) -> str:
    return "-".join(code[start : start + 4] for start in range(0, len(code), 4))
