"""A limit lets in what it says, over any window and not just from one full minute to the next."""

import time
from collections.abc import Callable

import pytest

from app.access.keys import Credential
from app.access.policy import Role
from app.access.rates import Rates
from app.errors import TOO_MANY_REQUESTS, Problem
from app.settings import SettingsError

HMRC = Credential("key-of-hmrc1", "HMRC", Role.AGENCY)
AGAIN = Credential("key-of-hmrc2", "HMRC", Role.AGENCY)
OTHER = Credential("key-of-dvla1", "DVLA", Role.AGENCY)

Clock = Callable[[float], None]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Sets the time, in seconds since a minute began."""
    now = [0.0]
    monkeypatch.setattr(time, "time", lambda: 1_700_000_040.0 - 1_700_000_040.0 % 60 + now[0])

    def set_to(seconds: float) -> None:
        now[0] = seconds

    return set_to


def refused(limits: Rates, credential: Credential) -> Problem:
    with pytest.raises(Problem) as refusal:
        limits.charge(credential)
    assert refusal.value.kind is TOO_MANY_REQUESTS
    return refusal.value


def test_a_key_gets_what_its_limit_says_and_then_is_told_when_to_come_back(at: Clock) -> None:
    limits = Rates("3/minute", "")
    at(10)
    for _ in range(3):
        limits.charge(HMRC)
    refusal = refused(limits, HMRC)
    assert refusal.headers["RateLimit-Policy"] == '"key";q=3;w=60'
    assert refusal.headers["RateLimit"] == f'"key";r=0;t={refusal.retry_after}'
    limits.charge(OTHER)

    assert refusal.retry_after is not None
    at(10 + refusal.retry_after - 2)
    refused(limits, HMRC)
    at(10 + refusal.retry_after)
    limits.charge(HMRC)


def test_the_end_of_a_minute_is_no_moment_to_ask_twice_as_often(at: Clock) -> None:
    limits = Rates("10/minute", "")
    at(59)
    for _ in range(10):
        limits.charge(HMRC)
    at(60.5)
    refused(limits, HMRC)
    at(90)  # half of the window before still counts
    for _ in range(5):
        limits.charge(HMRC)
    wait = refused(limits, HMRC).retry_after
    assert wait == 6
    at(96)
    limits.charge(HMRC)
    refused(limits, HMRC)


def test_a_refused_request_counts_for_nothing(at: Clock) -> None:
    limits = Rates("2/minute", "")
    for _ in range(2):
        limits.charge(HMRC)
    for _ in range(50):
        refused(limits, HMRC)
    at(119)
    limits.charge(HMRC)


def test_the_keys_of_a_party_share_its_limit_and_no_other_partys(at: Clock) -> None:
    limits = Rates("", "2/minute")
    limits.charge(HMRC)
    limits.charge(AGAIN)
    assert '"party"' in refused(limits, HMRC).headers["RateLimit"]
    refused(limits, AGAIN)
    limits.charge(OTHER)


def test_a_request_that_its_party_is_refused_leaves_the_key_what_it_had(at: Clock) -> None:
    limits = Rates("3/minute", "3/minute")
    for credential in (HMRC, AGAIN, AGAIN):
        limits.charge(credential)
    for _ in range(50):
        assert '"party"' in refused(limits, HMRC).headers["RateLimit"]
    at(119)
    limits.charge(HMRC)


def test_what_the_other_processes_counted_is_counted_here(at: Clock) -> None:
    limits = Rates("3/minute", "")
    limits.charge(HMRC)
    limits.counts.windows[f"key/{HMRC.id}"].others = 2
    refused(limits, HMRC)


def test_without_a_limit_nothing_is_counted() -> None:
    limits = Rates("", "")
    for _ in range(1000):
        limits.charge(HMRC)
    assert limits.counts.windows == {}


def test_counters_that_count_for_nothing_are_forgotten(at: Clock) -> None:
    limits = Rates("3/minute", "")
    limits.charge(HMRC)
    at(119)
    limits.counts.forget()
    assert limits.counts.windows
    at(120)
    limits.counts.forget()
    assert not limits.counts.windows


@pytest.mark.parametrize("text", ["often", "-1/minute", "3 each moon"])
def test_a_limit_that_cannot_be_read_keeps_the_gateway_from_starting(text: str) -> None:
    with pytest.raises(SettingsError, match="GAIN_RATE_PER_KEY"):
        Rates(text, "")
