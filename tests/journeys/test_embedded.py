"""The embedded PostgreSQL and Valkey, as real processes."""

import asyncio
import os
import signal
import stat
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis

from app.runtime.embedded import EmbeddedPostgres, EmbeddedValkey
from app.runtime.refusal import StartRefused


def query(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Run statements, each in its own transaction; the rows of the last."""

    async def run() -> list[tuple[object, ...]]:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            return [tuple(row) for statement in statements for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    return asyncio.run(run())


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A data directory whose path alone is longer than a socket's may be."""
    return tmp_path / ("deep" * 30) / "data"


def test_what_is_committed_outlives_a_killed_server(deep: Path) -> None:
    with EmbeddedPostgres(deep) as postgres:
        query(postgres.url, "CREATE TABLE kept (word text)", "INSERT INTO kept VALUES ('here')")
        os.kill(postgres.pid, signal.SIGKILL)
        postgres.start()
        assert query(postgres.url, "SELECT word FROM kept") == [("here",)]


def test_data_is_there_after_a_stop_and_a_new_start(deep: Path) -> None:
    with EmbeddedPostgres(deep, durable=False) as postgres:
        query(postgres.url, "CREATE TABLE kept (word text)", "INSERT INTO kept VALUES ('here')")
    with EmbeddedPostgres(deep, durable=False) as postgres:
        assert query(postgres.url, "SELECT word FROM kept") == [("here",)]


def test_a_server_left_by_a_killed_run_is_replaced_without_losing_data(deep: Path) -> None:
    left = EmbeddedPostgres(deep)
    left.start()
    orphan = psutil.Process(left.pid)
    query(left.url, "CREATE TABLE kept (word text)", "INSERT INTO kept VALUES ('here')")
    with EmbeddedPostgres(deep) as postgres:
        assert postgres.pid != orphan.pid
        assert query(postgres.url, "SELECT word FROM kept") == [("here",)]
    left.stop()


def test_the_database_is_durable_private_and_silent_about_its_rows(deep: Path) -> None:
    with EmbeddedPostgres(deep) as postgres:
        url = postgres.url
        assert query(url, "SHOW fsync") == query(url, "SHOW synchronous_commit") == [("on",)]
        assert query(url, "SHOW listen_addresses") == [("",)]
        assert query(url, "SHOW password_encryption") == [("scram-sha-256",)]
        folder = (deep / "postgres.socket").resolve()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((deep / "postgres.password").stat().st_mode) == 0o600
        with pytest.raises(asyncpg.InvalidPasswordError):
            query(url.replace(":" + url.split(":")[2].split("@")[0], ":guess"), "SELECT 1")
        query(url, "CREATE TABLE person (name text PRIMARY KEY, age int)", "INSERT INTO person VALUES ('Quillmark', 1)")
        for offence in ("INSERT INTO person VALUES ('Quillmark', 1)", "SELECT 'Quillmark'::text::int"):
            with pytest.raises(asyncpg.PostgresError):
                query(url, offence)
    assert not folder.exists()
    assert "Quillmark" not in (deep / "logs" / "postgres.log").read_text()


def test_a_missing_password_is_told_in_one_line(deep: Path) -> None:
    with EmbeddedPostgres(deep, durable=False):
        pass
    (deep / "postgres.password").unlink()
    with pytest.raises(StartRefused, match=r"postgres\.password is missing"):
        EmbeddedPostgres(deep).start()


def test_a_half_made_cluster_is_made_anew(deep: Path) -> None:
    half = deep / "postgres.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(deep, durable=False) as postgres:
        assert query(postgres.url, "SELECT 1") == [(1,)]
    assert not half.exists()


def test_a_process_number_taken_over_by_a_stranger_does_not_keep_the_database_down(deep: Path) -> None:
    with EmbeddedPostgres(deep, durable=False) as postgres:
        lock = (deep / "postgres" / "postmaster.pid").read_text().splitlines()
        os.kill(postgres.pid, signal.SIGKILL)
        psutil.Process(postgres.pid).wait(5)
        (deep / "postgres" / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lock[1:]]) + "\n")
        postgres.start()
        assert query(postgres.url, "SELECT 1") == [(1,)]


def test_valkey_answers_its_password_only_and_keeps_nothing(deep: Path) -> None:
    with EmbeddedValkey(deep) as valkey:
        with redis.Redis.from_url(valkey.url) as client:
            assert client.set("word", "here")
            assert client.config_get("save") == {"save": ""}
        host_only = "redis://" + valkey.url.split("@")[1]
        with redis.Redis.from_url(host_only) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.get("word")
        valkey.start()
        with redis.Redis.from_url(valkey.url) as client:
            assert client.get("word") is None
