"""A push tells an agency that an item waits, and whatever its server does ends in time, in little memory."""

import asyncio
import gzip
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from uuid import uuid4

import orjson
import pytest
from standardwebhooks import Webhook

from app.crypto.webhooks import webhook_secret
from app.parties.hosts import ApprovedHosts
from tests.workers.outside import OK, Agency, Authority, Behaviour, Names, answer
from tests.workers.pushing import KEYS, adapter, envelope, failure, session
from workers.adapters.contract import Delivered, Gone, TransportError
from workers.safe_http import SafeClient

__all__ = ["session"]
_ZIPPED = gzip.compress(b"thanks")


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
