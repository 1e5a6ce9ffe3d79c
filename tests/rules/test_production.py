"""What production refuses to start with."""

import secrets
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.crypto.keyring import Bare, new_ring
from app.settings import Settings, SettingsError
from tests.conftest import RING, SECRET


def production(**changes: Any) -> Settings:
    return Settings(environment="production", **changes)


@pytest.mark.parametrize(
    ("weak", "why"),
    [
        (SECRET, "made of words"),
        ("a" * 48, "repeats itself"),
        ("0123456789abcdef" * 3, "demonstrations|repeats"),
        ("aabbaabbcaabbaabbaabbaabbaabbaabbaab", "too few"),
        ("ChangeMe-7b019f538f0334587fe2bff6dcfd47dc1019a45fb11a05b6", "demonstrations"),  # pragma: allowlist secret
        ("44bea691204bbc433d70a9272d290b46password", "demonstrations"),  # pragma: allowlist secret
        ("x" * 31, "at least 32"),
        ("", "at least 32"),
    ],
)
def test_a_weak_secret_keeps_production_from_starting(weak: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why) as refusal:
        production(secret=SecretStr(weak)).master_secret()
    assert not weak or weak not in str(refusal.value)


def test_a_weak_secret_in_a_file_is_no_better(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("changeme" * 8 + "\n", encoding="utf-8")
    with pytest.raises(SettingsError):
        production(secret_file=file).master_secret()


def test_elsewhere_a_secret_for_tests_is_one() -> None:
    assert Settings(secret=SecretStr(SECRET)).master_secret() == SECRET.encode()


@pytest.mark.parametrize("form", [secrets.token_urlsafe, secrets.token_hex])
def test_a_random_secret_is_taken_however_it_is_written(form: Any) -> None:
    for _ in range(300):
        secret = form(32)
        assert production(secret=SecretStr(secret)).master_secret() == secret.encode()


def test_a_key_ring_of_tests_keeps_production_from_starting() -> None:
    with pytest.raises(SettingsError, match="not random"):
        production(key_ring=SecretStr(RING)).refuse_key_ring_of_tests()
    Settings(key_ring=SecretStr(RING)).refuse_key_ring_of_tests()


def test_a_made_key_ring_is_taken() -> None:
    for _ in range(300):
        production(key_ring=SecretStr(new_ring(Bare()).text())).refuse_key_ring_of_tests()


def test_production_and_simulation_exclude_one_another() -> None:
    with pytest.raises(SettingsError, match="exclude"):
        production(simulate=True)
