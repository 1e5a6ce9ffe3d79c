"""One suite for every channel: whatever it is, an item waits in its agency's inbox, is told of, and nothing is lost."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.db import Database
from app.parties.channels import set_mailbox, set_push_endpoint
from app.parties.hosts import ApprovedHosts
from app.referrals import delivery
from app.settings import Settings
from tests.app.test_referral_to_answer import submitted
from tests.conftest import Cast, Workers
from tests.workers.outside import ADMINISTRATOR, OK, Agency, Authority, Post, answer
from workers.adapters.contract import Adapter, Envelope, Result, TransportError
from workers.channels import Channels, Reach

PERSONAL = (b"Quill", b"Rhys", b"1984", b"CX14", b"Heol", b"SWP-0142", b"SWP/2026", b"day of action", b"desk@example")
"""Of the referral that is submitted: nothing of this may be in a notice."""

AGENCY = "HMRC"
HOST = "127.0.0.1=127.0.0.0/8"


@dataclass
class Played:
    """A channel with the other side really there. `answers`: the agency's answer comes by it.

    `links` is where a notice leads, before the item's id: the API for a platform, the page for a person. None
    where there is no notice.
    `told` is what has come through so far, as bytes; `fail` and `mend` break the other side and repair it.
    """

    reach: Reach | Mapping[str, Adapter]
    answers: bool
    links: str | None
    told: Callable[[], list[bytes]]
    fail: Callable[[], None]
    mend: Callable[[], None]


class Stage:
    """What the channels are set up with."""

    def __init__(self, database: Database, configuration: Settings, folder: Path) -> None:
        self.database = database
        self.configuration = configuration
        self.authority = Authority.made_in(folder)

    def channels(self, **settings: Any) -> Channels:
        """A worker's channels with these settings."""
        changed = {"public_url": "https://gain.example", "email_from": "gain@gain.example", **settings}
        return Channels(Settings(**{**self.configuration.model_dump(), **changed}), seconds=0.0)

    async def use(self, channel: str, url: str = "") -> None:
        """Have the agency told by this channel."""
        async with self.database.transaction() as connection:
            change = text("UPDATE party SET channel = :channel WHERE code = :agency")
            await connection.execute(change, {"channel": channel, "agency": AGENCY})
            if channel == "push":
                hosts = ApprovedHosts.parse(HOST, development=True)
                await set_push_endpoint(connection, ADMINISTRATOR, hosts, AGENCY, url)
            if channel == "email":
                await set_mailbox(connection, ADMINISTRATOR, AGENCY, "desk@revenue.example")


@contextlib.asynccontextmanager
async def inbox(stage: Stage) -> AsyncIterator[Played]:
    """No adapter: the agency looks into its inbox."""
    yield Played({}, False, None, list, lambda: None, lambda: None)


@contextlib.asynccontextmanager
async def push(stage: Stage) -> AsyncIterator[Played]:
    """A platform of the agency's own."""
    async with Agency(OK).running() as agency:
        await stage.use("push", agency.url)
        channels = stage.channels(push_hosts=HOST)

        def told() -> list[bytes]:
            return [call.body for call in agency.calls] if agency.behaves is OK else []

        def mend() -> None:
            agency.calls.clear()
            agency.behaves = OK

        yield Played(
            channels,
            False,
            "https://gain.example/v1/inbox/",
            told,
            fail=lambda: setattr(agency, "behaves", answer("500 Broken")),
            mend=mend,
        )
        await channels.close()


@contextlib.asynccontextmanager
async def email(stage: Stage) -> AsyncIterator[Played]:
    """A mailbox, behind a mail server that speaks TLS."""
    async with Post().running(stage.authority.server("localhost")) as post:
        await stage.use("email")
        channels = stage.channels(smtp_url=f"smtp://localhost:{post.port}", environment="production")
        yield Played(
            channels,
            False,
            "https://gain.example/my-inbox/",
            lambda: [message.as_bytes() for message in post.messages],
            fail=lambda: setattr(post, "data", "451 Later"),
            mend=lambda: setattr(post, "data", "250 OK"),
        )
        await channels.close()
        assert all(post.encrypted)


class Breakable(Adapter):
    """The simulated bodies, with a line to them that can be cut."""

    def __init__(self, inner: Adapter) -> None:
        self.inner = inner
        self.cut = False

    async def deliver(self, envelope: Envelope) -> Result:
        """Through, or not."""
        if self.cut:
            raise TransportError("the line is cut")
        return await self.inner.deliver(envelope)


@contextlib.asynccontextmanager
async def simulated(stage: Stage) -> AsyncIterator[Played]:
    """A simulated body, which answers."""
    channels = stage.channels(simulate=True, simulation_speed=0.0)
    async with stage.database.transaction() as connection:
        line = Breakable((await channels.get(connection))[AGENCY])
    yield Played(
        {AGENCY: line},
        True,
        None,
        list,
        fail=lambda: setattr(line, "cut", True),
        mend=lambda: setattr(line, "cut", False),
    )
    await channels.close()


CHANNELS = {"inbox": inbox, "push": push, "email": email, "simulated": simulated}


@pytest.fixture(params=CHANNELS)
async def played(
    request: pytest.FixtureRequest,
    database: Database,
    configuration: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Played]:
    """Each channel in turn."""
    stage = Stage(database, configuration, tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(stage.authority.file))
    async with CHANNELS[request.param](stage) as channel:
        yield channel


async def dispatches(database: Database) -> list[Any]:
    """Every dispatch."""
    async with database.transaction() as connection:
        return list((await connection.execute(text("SELECT * FROM dispatch ORDER BY number"))).all())


async def make_due(database: Database) -> None:
    """Let the waits between tries, and the minute of a quota, be over."""
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE dispatch SET due_delivery_at = now() WHERE due_delivery_at IS NOT NULL"))
        await connection.execute(text("UPDATE notice_count SET minute = minute - 1"))


async def sent(cast: Cast, workers: Workers, played: Played, **changes: Any) -> httpx.AsyncClient:
    """A referral to the agency, moved as far as it goes; its originator."""
    force = await cast.play("SWP")
    await submitted(force, addressees=[AGENCY], **changes)
    await workers.run(played.reach)
    return force


async def test_an_item_is_in_its_agencys_inbox_until_it_is_answered(
    cast: Cast, workers: Workers, played: Played, database: Database
) -> None:
    await sent(cast, workers, played)
    agency = await cast.play(AGENCY)
    items = (await agency.get("/v1/inbox")).json()["items"]
    if played.answers:
        assert items == []
    else:
        done = await agency.post(f"/v1/inbox/{items[0]['id']}/response", json={"outcome": "no_hit"})
        assert done.status_code == 201
    [dispatch] = await dispatches(database)
    assert dispatch.state in ("answered", "declined", "query")
    assert dispatch.due_delivery_at is None


async def test_the_agency_is_told_once_and_of_nothing_personal(
    cast: Cast, workers: Workers, played: Played, database: Database
) -> None:
    await sent(cast, workers, played)
    await workers.run(played.reach)
    if played.links is None:
        assert played.told() == []
        return
    [notice] = played.told()
    [dispatch] = await dispatches(database)
    assert f"{played.links}{dispatch.id}".encode() in notice
    assert not [word for word in PERSONAL if word in notice]


async def test_a_disclosure_is_logged_when_the_agency_gets_the_content_and_not_before(
    cast: Cast, workers: Workers, played: Played, database: Database
) -> None:
    async def disclosures() -> int:
        async with database.transaction() as connection:
            count = "SELECT count(*) FROM audit_event WHERE action = 'dispatch.delivered'"
            return int((await connection.execute(text(count))).scalar_one())

    await sent(cast, workers, played)
    assert await disclosures() == (1 if played.answers else 0)
    await (await cast.play(AGENCY)).get("/v1/inbox")
    assert await disclosures() == 1


async def test_a_system_that_is_down_for_a_while_loses_nothing(
    cast: Cast, workers: Workers, played: Played, database: Database
) -> None:
    played.fail()
    await sent(cast, workers, played)
    [dispatch] = await dispatches(database)
    if played.links or played.answers:
        assert dispatch.failures == 1
        assert dispatch.last_failure
    assert played.told() == []
    played.mend()
    await make_due(database)
    await workers.run(played.reach)
    [dispatch] = await dispatches(database)
    assert dispatch.due_delivery_at is None
    assert len(played.told()) == (1 if played.links else 0)
    if played.answers:
        assert dispatch.state in ("answered", "declined", "query")


async def test_a_system_that_stays_down_is_seen_by_the_coordinator(
    cast: Cast, workers: Workers, played: Played, database: Database
) -> None:
    """Only what must answer by its adapter ends; what is told of stays open in the inbox."""
    played.fail()
    await sent(cast, workers, played)
    for _ in range(delivery.MOST_TRIES):
        await make_due(database)
        await workers.run(played.reach)
    [dispatch] = await dispatches(database)
    async with database.transaction() as connection:
        alerts = [row.kind for row in await connection.execute(text("SELECT kind FROM alert WHERE settled_at IS NULL"))]
    assert dispatch.due_delivery_at is None
    if played.answers:
        assert (dispatch.state, alerts) == ("undeliverable", ["undeliverable"])
        return
    assert (dispatch.state, alerts) == ("queued", ["notice_failed"] if played.links else [])
    assert len((await (await cast.play(AGENCY)).get("/v1/inbox")).json()["items"]) == 1


async def test_urgent_items_are_told_of_at_once(
    cast: Cast, workers: Workers, played: Played, database: Database
) -> None:
    """Whatever has been told before in the same minute."""
    force = await sent(cast, workers, played)
    before = len(played.told())
    await submitted(force, addressees=[AGENCY], priority="urgent")
    await workers.run(played.reach)
    if played.links:
        assert len(played.told()) == before + 1
    assert [row.due_delivery_at for row in await dispatches(database)] == [None, None]
