"""Codes, passwords and waits: what is taken and what is not. Nothing here asks a database."""

import asyncio
import base64
import re
from datetime import UTC, datetime, timedelta

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from app.access.accounts import codes
from app.access.accounts.lockout import FREE_BY_BOTH, FREE_BY_NAME, waits
from app.access.accounts.passwords import LEAST, Passwords, fault_of

# RFC 6238 appendix B: the secret and, of its eight digits, the last six.
RFC_SECRET = base64.b32encode(b"12345678901234567890")
RFC_CODES = {59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037"}
NOW = datetime(2026, 11, 22, 12, 0, 10, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
OFFSETS = st.lists(st.integers(-3, 3), min_size=1, max_size=12)


@pytest.mark.parametrize(("seconds", "code"), RFC_CODES.items())
def test_codes_are_those_of_the_standard(seconds: int, code: str) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    assert codes.code_at(RFC_SECRET, at) == code
    assert codes.step_of(RFC_SECRET, code, at, 0) == seconds // 30


@given(at=MOMENTS, offset=st.integers(-5, 5))
def test_a_code_is_taken_within_one_step_of_its_time(at: datetime, offset: int) -> None:
    code = codes.code_at(RFC_SECRET, at + timedelta(seconds=30 * offset))
    step = codes.step_of(RFC_SECRET, code, at, 0)
    if abs(offset) <= 1:
        assert step is not None
    elif step is not None:  # one in a million: two steps have the same code
        assert code in {codes.code_at(RFC_SECRET, at + timedelta(seconds=30 * near)) for near in (-1, 0, 1)}


@given(at=MOMENTS, offsets=OFFSETS)
def test_no_code_is_taken_twice_nor_after_a_later_one(at: datetime, offsets: list[int]) -> None:
    """Whatever order codes are shown in, the steps they are taken for only grow."""
    last, taken = 0, []
    for offset in offsets:
        code = codes.code_at(RFC_SECRET, at + timedelta(seconds=30 * offset))
        step = codes.step_of(RFC_SECRET, code, at, last)
        if step is not None:
            taken.append(step)
            last = step
    assert taken == sorted(set(taken))
    for step in taken:
        assert codes.step_of(
            RFC_SECRET, codes.code_at(RFC_SECRET, datetime.fromtimestamp(step * 30, UTC)), at, last
        ) in (
            None,
            *range(last + 1, last + 3),
        )


@given(code=st.text(max_size=12))
def test_what_is_no_code_is_not_taken_and_fails_nothing(code: str) -> None:
    good = {codes.code_at(RFC_SECRET, NOW + timedelta(seconds=30 * near)) for near in (-1, 0, 1)}
    step = codes.step_of(RFC_SECRET, code, NOW, 0)
    assert (step is not None) == ("".join(code.split()) in good)


def test_secrets_and_codes_are_long_enough_and_never_the_same() -> None:
    assert len(base64.b32decode(codes.new_secret())) == 20
    fresh = codes.new_recovery_codes()
    assert len(set(fresh)) == codes.RECOVERY_CODES
    assert all(re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){2}", code) for code in fresh)
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){3}", codes.new_setup_code())
    assert len({codes.new_setup_code() for _ in range(100)}) == 100


@given(code=st.builds(codes.new_setup_code), lower=st.booleans(), spaced=st.booleans())
def test_a_code_is_the_same_however_it_is_typed(code: str, lower: bool, spaced: bool) -> None:
    typed = code.lower() if lower else code
    typed = typed.replace("-", " ") if spaced else typed
    assert codes.typed(typed) == code.replace("-", "")
    assert codes.typed(typed.replace("0", "O").replace("1", "l")) == code.replace("-", "")


def test_an_authenticator_gets_the_secret_and_the_picture_has_no_style_or_script() -> None:
    uri = codes.enrolment(RFC_SECRET, "ceri@tarian.example")
    assert uri.startswith("otpauth://totp/GAIN%20broker:ceri%40tarian.example?secret=")
    svg = codes.picture(uri)
    assert svg.startswith("<svg")
    assert not re.search(r"style|script|\son[a-z]+=|http", svg)


@pytest.mark.parametrize("password", ["correct-otter-battery", "plum otter teapot", "Ynys-Môn-haul-glaw"])
def test_three_random_words_are_a_good_password(password: str) -> None:
    assert fault_of(password, ("ceri@tarian.example", "TARIAN")) == ""


@pytest.mark.parametrize(
    "password",
    [
        "x" * (LEAST - 1),
        "x" * 129,
        "passwordpassword",
        "qwertyuiop12",
        "123456789012",
        "aaaaaaaaaaaaaaaa",
        "letmeinletmein",
        "ceri.tarian1",
        "gainbroker2026",
    ],
)
def test_a_password_that_is_short_common_or_made_of_what_others_know_is_not(password: str) -> None:
    assert fault_of(password, ("ceri.tarian@tarian.example", "gain", "broker"))


def test_a_password_is_the_same_from_every_keyboard() -> None:
    passwords = Passwords(PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))

    async def same() -> tuple[bool, bool, bool]:
        kept = await passwords.hash("caf\u00e9-otter-battery")
        return (
            await passwords.matches(kept, "cafe\u0301-otter-battery"),
            await passwords.matches(kept, "cafe-otter-battery"),
            await passwords.matches(None, "the password of nobody"),
        )

    assert asyncio.run(same()) == (True, False, False)


def test_waits_begin_with_the_fifth_failure_and_grow_to_an_hour() -> None:
    steps = waits(FREE_BY_BOTH)
    assert steps[:4] == [0, 0, 0, 0]
    assert steps[4:] == sorted(steps[4:])
    assert (steps[4], steps[-1]) == (60, 3600)
    assert FREE_BY_NAME == 10 * FREE_BY_BOTH
