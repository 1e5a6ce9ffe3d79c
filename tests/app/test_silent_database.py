"""A database that is there and says nothing: whoever asks hears so, and a connection to a host that is gone ends."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from app.db import AS_GATEWAY, Database, is_away
from app.settings import Settings
from tests.acts import submitted
from tests.conftest import gateway


class Relay:
    """Passes on what clients of a port and PostgreSQL say to each other, unless it is `silent`."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self._speaks = asyncio.Event()
        self._speaks.set()
        self._passing: list[asyncio.Task[None]] = []
        self.port = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Relay"]:
        """Listen on a free port."""
        listening = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.port = listening.sockets[0].getsockname()[1]
        yield self
        listening.close()
        for passing in self._passing:
            passing.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Pass on nothing for the length of the block; connections stay open."""
        self._speaks.clear()
        yield
        self._speaks.set()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_unix_connection(self._server)
        for source, sink in ((reader, ours), (theirs, writer)):
            self._passing.append(asyncio.create_task(self._pass_on(source, sink)))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while said := await reader.read(65_536):
                await self._speaks.wait()
                writer.write(said)
                await writer.drain()
        except ConnectionError:
            pass  # whoever listened has ended
        finally:
            writer.close()


@pytest.fixture
async def relay(configuration: Settings) -> AsyncIterator[Relay]:
    """Before this test's PostgreSQL."""
    folder = make_url(configuration.database_url).query["host"]
    async with Relay(Path(str(folder)) / ".s.PGSQL.5432").running() as running:
        yield running


def through(relay: Relay, configuration: Settings) -> str:
    """The URL of the database by way of the relay."""
    url = make_url(configuration.database_url).set(host="127.0.0.1", port=relay.port, query={})
    return url.render_as_string(hide_password=False)


async def test_a_database_that_says_nothing_is_a_503_and_no_connection_is_lost_by_it(
    configuration: Settings, database: Database, relay: Relay
) -> None:
    """To who is let in by a look at its key, and to who was in already; more often than there are connections."""
    behind = configuration.model_copy(update={"database_url": through(relay, configuration)})
    async with gateway(behind, database, database_pool=3, database_answer_seconds=1.0) as cast:
        force, agency = await cast.play("SWP"), await cast.play("HMRC")
        made = await submitted(force, addressees=["HMRC"])
        path = f"/v1/referrals/{made['id']}"
        assert (await force.get(path)).status_code == 200
        with relay.silent():
            async with asyncio.timeout(30):
                for _ in range(3):
                    answers = await asyncio.gather(*(force.get(path) for _ in range(5)), agency.get("/v1/inbox"))
                    assert {answer.status_code for answer in answers} == {503}
                    assert all(answer.headers["Retry-After"] for answer in answers)
                ready = await force.get("/health/ready")
                assert (ready.status_code, ready.json()["checks"]["database"]) == (503, "away")
                assert (await force.get("/health/live")).status_code == 200
        answers = await asyncio.gather(*(force.get(path) for _ in range(5)), agency.get("/v1/inbox"))
        assert {answer.status_code for answer in answers} == {200}


async def test_a_transaction_that_gets_no_answer_ends_though_its_end_would_get_none_either(
    configuration: Settings, relay: Relay
) -> None:
    changes = {"database_url": through(relay, configuration), "database_pool": 1}
    patient = Database(configuration.model_copy(update=changes), answer_seconds=2.0)
    for _ in range(2):
        async with patient.transaction(AS_GATEWAY) as connection:
            assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
        with relay.silent():
            async with asyncio.timeout(4):
                with pytest.RaisesExc(check=is_away):
                    async with patient.transaction(AS_GATEWAY) as connection:
                        await connection.execute(text("SELECT 1"))
    await patient.close()


async def test_a_connection_asks_now_and_then_whether_the_host_of_its_database_is_there(
    configuration: Settings, relay: Relay
) -> None:
    """Also one that only listens, and would never learn that nothing can come any more."""
    opened = Database(configuration.model_copy(update={"database_url": through(relay, configuration)}))
    listening = await opened.connect_driver(AS_GATEWAY)
    async with opened.driver(AS_GATEWAY) as asking:
        for connection in (listening, asking):
            used = connection._transport.get_extra_info("socket")
            assert used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                assert used.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
    await listening.close()
    await opened.close()
