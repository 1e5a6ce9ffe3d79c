"""What production refuses to start with."""

import secrets
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from app.cli import cli
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


def test_production_refuses_a_log_that_only_its_own_database_vouches_for(tmp_path: Path) -> None:
    nowhere: dict[str, Any] = {"data_dir": tmp_path / "none"}
    with pytest.raises(SettingsError, match="GAIN_CHECKPOINT_FILE or GAIN_WITNESS_URL"):
        production(**nowhere).refuse_log_that_nothing_outside_holds()
    Settings(**nowhere).refuse_log_that_nothing_outside_holds()
    production(**nowhere, witness_url="https://witness.example").refuse_log_that_nothing_outside_holds()
    production(**nowhere, checkpoint_file=tmp_path / "checkpoints.jsonl").refuse_log_that_nothing_outside_holds()
    production(data_dir=tmp_path).refuse_log_that_nothing_outside_holds()


def test_production_refuses_a_file_of_checkpoints_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be written"):
        production(checkpoint_file=tmp_path / "no" / "such" / "file").refuse_log_that_nothing_outside_holds()


def test_a_scheduler_of_production_does_not_start_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "ENVIRONMENT": "production",
        "DATA_DIR": str(tmp_path / "none"),
        "DATABASE_URL": "postgresql+asyncpg://gain_worker@127.0.0.1:1/none",
        "BROKER_URL": "none",
        "SECRET": secrets.token_urlsafe(48),
        "KEY_RING": new_ring(Bare()).text(),
    }
    for name, value in given.items():
        monkeypatch.setenv(f"GAIN_{name}", value)
    refused = CliRunner().invoke(cli, ["scheduler"])
    assert isinstance(refused.exception, SettingsError)
    assert "GAIN_CHECKPOINT_FILE" in str(refused.exception)
