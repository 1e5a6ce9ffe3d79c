"""An email tells an agency without a platform which items wait: one message for many, over TLS, naming no subject."""

import asyncio
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from app.settings import Settings, SettingsError
from tests.workers.outside import Authority, Post
from tests.workers.pushing import envelope
from workers.adapters.contract import Delivered, Gone, TransportError
from workers.adapters.email import Digests, EmailAdapter
from workers.mail_server import MailServer

DESK = "desk@council.example"


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """An authority that the client trusts."""
    made = Authority.made_in(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    return made


def adapter(post: Post, window: float = 0.05, base: str = "https://gain.example", **settings: Any) -> EmailAdapter:
    """The adapter of an agency whose mail goes to this server, from the gateway at `base`."""
    url = settings.pop("url", f"smtp://localhost:{post.port}")
    configuration = Settings(smtp_url=SecretStr(url), email_from="gain@gain.example", **settings)
    server = MailServer.of(configuration)
    assert server is not None
    return EmailAdapter(Digests(server, configuration.email_from, base, window), DESK, None)


async def test_a_message_links_to_the_item_and_says_nothing_of_it(authority: Authority) -> None:
    sent = envelope(agency="LA-MTYDFIL", priority="urgent")
    async with Post().running(authority.server("localhost")) as post:
        assert await adapter(post).deliver(sent) == Delivered()
    [message] = post.messages
    assert isinstance(message, EmailMessage)
    assert message["To"] == DESK
    assert message["Subject"] == "URGENT: GAIN: 1 referral waits in your inbox"
    assert message["Auto-Submitted"] == "auto-generated"
    text = message.get_content()
    assert f"https://gain.example/my-inbox/{sent.dispatch_id}" in text
    assert sent.reference in text


async def test_many_items_go_in_one_message_the_urgent_ones_first() -> None:
    sent = [envelope(reference=f"GAIN-2026-{number:06}") for number in range(30)]
    sent.append(envelope(reference="GAIN-2026-999999", priority="urgent", chases=1))
    async with Post().running() as post:
        told = adapter(post)
        assert await asyncio.gather(*(told.deliver(one) for one in sent)) == [Delivered()] * 31
    [message] = post.messages
    assert isinstance(message, EmailMessage)
    text = message.get_content()
    assert message["Subject"] == "URGENT: GAIN: 31 referrals wait in your inbox"
    assert all(str(one.dispatch_id) in text for one in sent)
    assert text.index("GAIN-2026-999999: reminder, urgent") < text.index("GAIN-2026-000000")


async def test_an_item_given_back_meanwhile_is_not_in_the_message() -> None:
    kept, dropped = envelope(), envelope()
    async with Post().running() as post:
        told = adapter(post, window=0.2)
        first, second = asyncio.create_task(told.deliver(kept)), asyncio.create_task(told.deliver(dropped))
        await asyncio.sleep(0)
        second.cancel()
        assert await first == Delivered()
    [message] = post.messages
    assert isinstance(message, EmailMessage)
    assert str(dropped.dispatch_id) not in message.get_content()


async def test_a_mailbox_that_is_refused_has_bounced() -> None:
    async with Post(to={DESK: "550 5.1.1 No such mailbox"}).running() as post:
        with pytest.raises(Gone) as caught:
            await adapter(post).deliver(envelope())
    assert caught.value.address == DESK
    assert DESK not in str(caught.value)


async def test_a_mailbox_that_is_full_is_tried_again() -> None:
    async with Post(to={DESK: "452 4.2.2 Mailbox full"}).running() as post:
        with pytest.raises(TransportError) as caught:
            await adapter(post).deliver(envelope())
    assert not caught.value.permanent


@pytest.mark.parametrize(("said", "permanent"), [("451 Try later", False), ("554 Not this", True)])
async def test_a_message_refused_is_no_bounce(said: str, permanent: bool) -> None:
    async with Post(data=said).running() as post:
        with pytest.raises(TransportError) as caught:
            await adapter(post).deliver(envelope())
    assert (caught.value.permanent, isinstance(caught.value, Gone)) == (permanent, False)


async def test_a_server_that_is_away_is_tried_again() -> None:
    async with Post().running() as post:
        told = adapter(post)
    with pytest.raises(TransportError) as caught:
        await told.deliver(envelope())
    assert not caught.value.permanent


async def test_in_production_nothing_is_sent_in_the_clear(authority: Authority) -> None:
    """STARTTLS with a certificate of the right name, or nothing."""
    async with Post().running() as post:
        with pytest.raises(TransportError):
            await adapter(post, environment="production").deliver(envelope())
    assert post.messages == []
    async with Post().running(authority.server("elsewhere.example")) as post:
        with pytest.raises(TransportError):
            await adapter(post, environment="production").deliver(envelope())
    assert post.messages == []
    async with Post().running(authority.server("localhost")) as post:
        await adapter(post, environment="production").deliver(envelope())
    assert post.encrypted == [True]


async def test_the_password_may_lie_in_a_file(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("very secret\n")
    async with Post(login=("gain", "very secret")).running(authority.server("localhost")) as post:
        url = f"smtp://gain@localhost:{post.port}"
        told = adapter(post, url=url, smtp_password_file=tmp_path / "password")
        assert await told.deliver(envelope()) == Delivered()
        (tmp_path / "password").write_text("wrong")
        wrong = adapter(post, url=url, smtp_password_file=tmp_path / "password")
        with pytest.raises(TransportError, match="535") as caught:
            await wrong.deliver(envelope(dispatch_id=uuid4()))
    assert not caught.value.permanent


@pytest.mark.parametrize("url", ["http://mail.example", "smtp://", "smtp://mail.example:port", "mail.example"])
def test_a_mail_server_that_cannot_be_read_stops_the_start(url: str) -> None:
    with pytest.raises(SettingsError):
        MailServer.of(Settings(smtp_url=SecretStr(url), email_from="gain@gain.example"))


def test_mail_from_nobody_stops_the_start() -> None:
    with pytest.raises(SettingsError):
        Settings(smtp_url=SecretStr("smtp://mail.example"))
