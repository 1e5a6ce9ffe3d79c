"""The database of a data directory for the length of one command, whether or not a `gain up` runs there."""

import asyncio
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.runtime.data_dir import DataDir, held
from app.runtime.embedded import EmbeddedPostgres
from app.runtime.migrate import prepare
from app.runtime.reach import needing_database
from app.runtime.refusal import StartRefused
from app.settings import Settings

_PATIENCE_SECONDS = 60.0  # for a `gain up` that is just starting


@contextmanager
def database_of(data_dir: Path) -> Iterator[Settings]:
    """Settings (database, secret) under which the data directory's database can be used within the block.

    `GAIN_DATABASE_URL` of our own environment comes first, then a running `gain up`; else the embedded PostgreSQL is
    started for the length of the block, and brought to this version. Raises `StartRefused`.
    """
    folder = DataDir(data_dir)
    if os.environ.get("GAIN_DATABASE_URL"):
        yield _settings(folder)
        return
    if url := _running(folder):
        yield _settings(folder, url)
        return
    with held(data_dir, "moment", _PATIENCE_SECONDS) as ours:
        run = secrets.token_hex(16)
        ours.write_state(kind="moment", run=run)
        with EmbeddedPostgres(data_dir, run=run) as postgres:
            settings = _settings(ours, postgres.url)
            with needing_database():
                asyncio.run(prepare(postgres.url))
            yield settings


def _running(folder: DataDir) -> str:
    """The database URL of the `gain up` that holds the data directory; empty where none does."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        state = folder.state()
        if state.get("kind") != "up" or not folder.is_held():
            return ""
        if url := state.get("database_url"):
            return str(url)
        time.sleep(0.05)
    raise StartRefused(f"the gain up on {folder.path} does not become ready: see {folder.logs}")


def _settings(folder: DataDir, url: str | None = None) -> Settings:
    """Our settings, with this database, and with the data directory's secrets unless the environment names others."""
    settings = Settings() if url is None else Settings(database_url=url)
    if not settings.secret.get_secret_value() and settings.secret_file is None:
        folder.make()
        folder.secret("secret")
        settings = settings.model_copy(update={"secret_file": folder.path / "secret"})
    if not settings.has_key_ring():
        folder.make()
        settings = settings.model_copy(update={"key_ring_file": folder.key_ring()})
    return settings
