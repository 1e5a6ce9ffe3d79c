"""A push tells an agency that an item waits, and whatever its server does ends in time, in little memory."""

import asyncio
import contextlib
import gzip
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import psutil
import pytest
from standardwebhooks import Webhook

from app import clock
from app.crypto.keys import Keys
from app.crypto.webhooks import Signer, webhook_secret
from app.parties.hosts import ApprovedHosts
from tests.workers.outside import OK, Agency, Authority, Behaviour, Names, answer
from workers import safe_http
from workers.adapters import push
from workers.adapters.contract import Delivered, Envelope, Gone, TransportError
from workers.adapters.push import Endpoint, PushAdapter
from workers.safe_http import SafeClient

KEYS = Keys(b"a secret for tests that is long enough to be one")
HERE = ApprovedHosts.parse("127.0.0.1=127.0.0.0/8", development=True)
CHUNK = b"x" * 65_536
_ZIPPED = gzip.compress(b"thanks")


def envelope(**changes: Any) -> Envelope:
    """A notice's envelope: nothing of the referral in it."""
    now = datetime.now(UTC)
    fields: dict[str, Any] = {
        "dispatch_id": uuid4(),
        "reference": "GAIN-2026-000001",
        "agency": "HMRC",
        "round": 1,
        "priority": "routine",
        "attempt": 1,
        "delivered_at": now,
        "due_at": now + timedelta(days=14),
        "referral": {},
    }
    return Envelope(**{**fields, **changes})


@pytest.fixture
async def session() -> AsyncIterator[SafeClient]:
    """The client of a worker, to agencies on this machine."""
    async with SafeClient(HERE) as opened:
        yield opened


def adapter(session: SafeClient, url: str, *versions: int) -> PushAdapter:
    """HMRC's adapter."""
    endpoint = Endpoint(url, Signer(KEYS, "HMRC", versions or (1,)))
    return PushAdapter(session, endpoint, "https://gain.example", now=clock.now)


async def failure(session: SafeClient, behaves: Behaviour) -> TransportError:
    """What pushing to an agency that behaves like this raises."""
    async with Agency(behaves).running() as agency:
        with pytest.raises(TransportError) as caught:
            await adapter(session, agency.url).deliver(envelope())
        return caught.value


async def test_an_agency_is_told_by_a_signed_post_that_links_to_its_item(session: SafeClient) -> None:
    sent = envelope()
    async with Agency(OK).running() as agency:
        assert await adapter(session, agency.url).deliver(sent) == Delivered()
    [call] = agency.calls
    verified = Webhook(webhook_secret(KEYS, "HMRC", 1)).verify(call.body, call.headers)
    assert verified["type"] == "dispatch.new"
    assert verified["data"] == {
        "id": str(sent.dispatch_id),
        "reference": "GAIN-2026-000001",
        "agency": "HMRC",
        "round": 1,
        "priority": "routine",
        "due_at": orjson.loads(orjson.dumps(sent.due_at)),
        "url": f"https://gain.example/v1/inbox/{sent.dispatch_id}",
    }
    assert len([part for part in call.headers["webhook-signature"].split() if part.startswith("v1a,")]) == 1


async def test_while_its_secret_changes_an_agency_verifies_with_either(session: SafeClient) -> None:
    async with Agency(OK).running() as agency:
        await adapter(session, agency.url, 2, 1).deliver(envelope())
    [call] = agency.calls
    for version in (1, 2):
        Webhook(webhook_secret(KEYS, "HMRC", version)).verify(call.body, call.headers)


async def test_a_repetition_is_known_by_its_id_and_a_reminder_a_reply_or_a_release_is_none(session: SafeClient) -> None:
    one = uuid4()
    async with Agency(OK).running() as agency:
        for chases, replied, holds in (
            *((0, 0, 0), (0, 0, 0), (1, 0, 0), (1, 0, 0), (0, 0, 1), (2, 0, 1), (2, 1, 1), (2, 2, 1)),
        ):
            told = envelope(dispatch_id=one, chases=chases, replied=replied, holds=holds)
            await adapter(session, agency.url).deliver(told)
    ids = [call.headers["webhook-id"] for call in agency.calls]
    kinds = ["new", "new", "chase", "chase", "new.2", "chase.2", "replied", "replied.2"]
    assert ids == [f"{one}.{kind}" for kind in kinds]


async def test_connections_are_kept_and_cookies_are_not(session: SafeClient) -> None:
    async with Agency(answer("200 OK", b"thanks", Set_Cookie="mine=1")).running() as agency:
        for _ in range(3):
            await adapter(session, agency.url).deliver(envelope())
        assert agency.most_open == 1
    assert not any("cookie" in call.headers for call in agency.calls)


@pytest.mark.parametrize("status", ["500 Broken", "404 Not Found", "401 Who", "304 Not Modified", "300 Many"])
async def test_any_answer_but_2xx_is_tried_again(session: SafeClient, status: str) -> None:
    error = await failure(session, answer(status))
    assert not error.permanent
    assert status[:3] in str(error)


async def test_a_redirect_is_not_followed(session: SafeClient) -> None:
    async with Agency(OK).running() as elsewhere:
        error = await failure(session, answer("301 Moved Permanently", Location=elsewhere.url))
        assert "301" in str(error)
        assert elsewhere.calls == []


async def test_gone_ends_the_endpoint(session: SafeClient) -> None:
    error = await failure(session, answer("410 Gone"))
    assert isinstance(error, Gone)
    assert error.permanent
    assert error.address.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
async def test_an_agency_says_how_long_to_leave_it_alone(session: SafeClient, status: str) -> None:
    assert (await failure(session, answer(status, Retry_After="120"))).retry_after == 120
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert (await failure(session, answer(status, Retry_After=in_an_hour))).retry_after == pytest.approx(3600, abs=10)
    for unreadable in ("soon", "-5", "1.5", "9" * 30, "١٢"):
        assert (await failure(session, answer(status, Retry_After=unreadable))).retry_after is None


async def _reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _silence(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def _trickle_head(writer: asyncio.StreamWriter) -> None:
    for letter in b"HTTP/1.1 200 OK\r\nServer: slow\r\nX-Long: " + b"x" * 10_000:
        writer.write(bytes([letter]))
        await writer.drain()
        await asyncio.sleep(0.02)


async def _trickle_body(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def _endless_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: " + b"x" * 1000 + b"\r\n")
        await writer.drain()


async def _hundred_megabytes(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n")
    for _ in range(1600):
        writer.write(CHUNK)
        await writer.drain()


async def _endless_chunks(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + CHUNK + b"\r\n")
        await writer.drain()


async def _broken_off(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
    await writer.drain()
    writer.close()


async def _no_chunks(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nthanks\r\n")


async def _no_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\xff this is not HTTP \r\n\r\n")
    await writer.drain()
    writer.close()


async def _two_lengths(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")


async def _endless_continue(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        await writer.drain()
        await asyncio.sleep(0.001)


def _bomb() -> bytes:
    """100 MB of nothing in a few hundred bytes; made in pieces, so that making it takes no memory."""
    inner = io.BytesIO()
    with gzip.GzipFile(fileobj=inner, mode="wb") as file:
        for _ in range(1_600):
            file.write(bytes(len(CHUNK)))
    return gzip.compress(inner.getvalue())


NO_ANSWER: dict[str, Behaviour] = {
    "reset": _reset,
    "hangs up": _hang_up,
    "silence": _silence,
    "a byte at a time": _trickle_head,
    "endless headers": _endless_headers,
    "not HTTP": _no_http,
    "two lengths": _two_lengths,
    "endless 100": _endless_continue,
}
HOSTILE_BODIES: dict[str, Behaviour] = {
    "a byte at a time": _trickle_body,
    "100 MB": _hundred_megabytes,
    "endless chunks": _endless_chunks,
    "gzip bomb": answer("200 OK", _bomb(), Content_Encoding="gzip, gzip"),
    "broken off": _broken_off,
    "no chunks": _no_chunks,
}


@contextlib.asynccontextmanager
async def _growing() -> AsyncIterator[list[float]]:
    """The memory this process holds, in megabytes, looked at all the time."""
    process = psutil.Process()
    seen = [process.memory_info().rss / 1e6]

    async def look() -> None:
        while True:
            await asyncio.sleep(0.005)
            seen.append(process.memory_info().rss / 1e6)

    looking = asyncio.create_task(look())
    yield seen
    looking.cancel()


@contextlib.asynccontextmanager
async def _in_time_and_little_memory(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The deadline is shortened, so that a dozen of them end soon; that it is kept is what is tested."""
    monkeypatch.setattr(push, "DEADLINE_SECONDS", 1.0)
    async with _growing() as megabytes, asyncio.timeout(3):
        yield
    assert max(megabytes) - megabytes[0] < 20


@pytest.mark.parametrize("behaviour", NO_ANSWER)
async def test_a_server_without_an_answer_is_a_failed_try_in_time_and_in_little_memory(
    session: SafeClient, behaviour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _in_time_and_little_memory(monkeypatch):
        error = await failure(session, NO_ANSWER[behaviour])
    assert not error.permanent


@pytest.mark.parametrize("behaviour", HOSTILE_BODIES)
async def test_a_2xx_tells_the_agency_whatever_its_body_in_time_and_in_little_memory(
    session: SafeClient, behaviour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has taken the notice: another would be a repetition. What it still sends is cut off."""
    async with Agency(HOSTILE_BODIES[behaviour]).running() as agency, _in_time_and_little_memory(monkeypatch):
        assert await adapter(session, agency.url).deliver(envelope()) == Delivered()
        while agency.open_now and behaviour != "gzip bomb":  # which is small, and whole: its connection is kept
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "gzip, gzip", "x-unheard-of", "identity"])
@pytest.mark.parametrize("body", [_ZIPPED, b"what it says it is not", b""], ids=["zipped", "another", "nothing"])
async def test_a_2xx_tells_the_agency_in_whatever_encoding(session: SafeClient, encoding: str, body: bytes) -> None:
    async with Agency(answer("200 OK", body, Content_Encoding=encoding)).running() as agency:
        for _ in range(2):
            assert await adapter(session, agency.url).deliver(envelope()) == Delivered()
        assert agency.most_open == 1


async def test_an_answer_in_two_parts_keeps_its_connection(session: SafeClient) -> None:
    async def in_two_parts(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        await asyncio.sleep(0.02)  # what makes them two
        writer.write(b"thanks")

    async with Agency(in_two_parts).running() as agency:
        for _ in range(3):
            assert await adapter(session, agency.url).deliver(envelope()) == Delivered()
        assert agency.most_open == 1
        assert agency.open_now == 1


async def test_a_body_without_end_takes_no_deadline_away(session: SafeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that comes just before the deadline, and then little: told, and not a moment later."""
    monkeypatch.setattr(push, "DEADLINE_SECONDS", 0.5)
    monkeypatch.setattr(safe_http, "_BODY_SECONDS", 60.0)

    async def late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        await _trickle_body(writer)

    async with Agency(late).running() as agency, asyncio.timeout(5):
        assert await adapter(session, agency.url).deliver(envelope()) == Delivered()


async def test_after_a_hostile_server_the_next_agency_is_told(session: SafeClient) -> None:
    for behaves in (_reset, _no_http, _two_lengths):
        await failure(session, behaves)
    async with Agency(OK).running() as agency:
        assert await adapter(session, agency.url).deliver(envelope()) == Delivered()


async def _after_an_interim_answer(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")


async def _until_it_closes(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\nthanks, and")
    await writer.drain()
    writer.write(b" good-bye")
    await writer.drain()
    writer.close()


async def _answers_twice(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("behaves", [_after_an_interim_answer, _until_it_closes, _answers_twice])
async def test_any_sound_2xx_tells_the_agency_and_the_next_call_too(session: SafeClient, behaves: Behaviour) -> None:
    """A connection that says more than it was asked is not used again: its second answer is nobody's."""
    async with Agency(behaves).running() as agency:
        for _ in range(2):
            assert await adapter(session, agency.url).deliver(envelope()) == Delivered()
    assert len(agency.calls) == 2


async def test_calls_at_once_go_by_connections_of_their_own(session: SafeClient) -> None:
    async def slowly(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)  # what makes them simultaneous
        await OK(writer)

    async with Agency(slowly).running() as agency:
        for _ in range(2):
            await asyncio.gather(*(adapter(session, agency.url).deliver(envelope()) for _ in range(20)))
        assert agency.most_open == 20
    assert len(agency.calls) == 40


async def test_nobody_listens(session: SafeClient) -> None:
    async with Agency(OK).running() as agency:
        pass
    with pytest.raises(TransportError, match="cannot be reached"):
        await adapter(session, agency.url).deliver(envelope())


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """An authority that the client trusts."""
    made = Authority.made_in(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    return made


async def test_a_name_is_resolved_once_and_its_certificate_is_checked(authority: Authority) -> None:
    """The connection goes to the checked address, with the agency's name in it."""
    names = Names({"hub.agency.example": ["127.0.0.1"]})
    hosts = ApprovedHosts.parse("hub.agency.example=127.0.0.0/8")
    tls = authority.server("hub.agency.example")
    async with Agency(OK).running(tls, "hub.agency.example") as agency, SafeClient(hosts, names.resolve) as session:
        assert await adapter(session, agency.url).deliver(envelope()) == Delivered()
        assert agency.calls[0].headers["host"].startswith("hub.agency.example:")
        assert names.asked == ["hub.agency.example"]


async def test_a_certificate_of_another_name_is_refused(authority: Authority) -> None:
    names = Names({"hub.agency.example": ["127.0.0.1"]})
    hosts = ApprovedHosts.parse("hub.agency.example=127.0.0.0/8")
    tls = authority.server("elsewhere.example")
    async with Agency(OK).running(tls, "hub.agency.example") as agency, SafeClient(hosts, names.resolve) as session:
        with pytest.raises(TransportError):
            await adapter(session, agency.url).deliver(envelope())
        assert agency.calls == []


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"], ["::1"], ["::ffff:127.0.0.1"], ["8.8.8.8", "127.0.0.1"], []],
    ids=str,
)
async def test_no_connection_is_made_where_one_address_is_not_public(
    addresses: list[str], authority: Authority
) -> None:
    hosts = ApprovedHosts.parse("hub.agency.example")
    tls = authority.server("hub.agency.example")
    names = Names({"hub.agency.example": addresses})
    async with Agency(OK).running(tls, "hub.agency.example") as agency, SafeClient(hosts, names.resolve) as session:
        with pytest.raises(TransportError, match="not allowed"):
            await adapter(session, agency.url).deliver(envelope())
        assert (agency.calls, agency.most_open) == ([], 0)


async def test_a_name_that_changes_its_address_is_checked_again(authority: Authority) -> None:
    """DNS rebinding: good when it was approved, inside when it is called."""
    names = Names({"hub.agency.example": ["127.0.0.1"]})
    hosts = ApprovedHosts.parse("hub.agency.example=127.0.0.1/32")
    tls = authority.server("hub.agency.example")
    async with Agency(answer("200 OK", Connection="close")).running(tls, "hub.agency.example") as agency:
        async with SafeClient(hosts, names.resolve) as first:
            await adapter(first, agency.url).deliver(envelope())
        names.table = {"hub.agency.example": ["127.0.0.2"]}
        async with SafeClient(hosts, names.resolve) as second:
            with pytest.raises(TransportError, match="not allowed"):
                await adapter(second, agency.url).deliver(envelope())
