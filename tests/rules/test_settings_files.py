"""Secrets come from files, as Docker and Kubernetes give them, and never have to stand in a variable."""

from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.settings import Settings, SettingsError

URL = "postgresql+asyncpg://gain@postgres:5432/gain"


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "database"
    file.write_text("p/w+d@x=%:\n", encoding="utf-8")
    return file


def test_a_password_from_a_file_reaches_the_database_url_whatever_its_characters(password_file: Path) -> None:
    url = make_url(Settings(database_url=URL, database_password_file=password_file).database_url)
    assert (url.username, url.password, url.host, url.port) == ("gain", "p/w+d@x=%:", "postgres", 5432)


def test_a_password_in_the_url_wins_over_the_file(password_file: Path) -> None:
    given = "postgresql+asyncpg://gain:own@postgres/gain"
    assert Settings(database_url=given, database_password_file=password_file).database_url == given


@pytest.mark.parametrize("given", ["", "postgresql+asyncpg:///gain?host=/run/postgresql"])
def test_a_url_without_a_user_stays_as_it_is(given: str, password_file: Path) -> None:
    assert Settings(database_url=given, database_password_file=password_file).database_url == given


def test_a_missing_secret_file_gives_one_clear_line(tmp_path: Path) -> None:
    missing = tmp_path / "nothing"
    with pytest.raises(SettingsError, match="nothing: No such file"):
        Settings(database_url=URL, database_password_file=missing)
    with pytest.raises(SettingsError, match="nothing: No such file"):
        Settings(secret_file=missing).master_secret()
