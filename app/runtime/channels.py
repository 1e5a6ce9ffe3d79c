"""Agencies' channels for a data directory, whether or not its system is running."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from app.audit.record import Event, Operation, record
from app.crypto.keys import Keys
from app.crypto.webhooks import webhook_public_key, webhook_secret
from app.db import Connection
from app.parties import channels
from app.parties.channels import ChannelRefused, Shown
from app.parties.hosts import ApprovedHosts, UnacceptableAddress
from app.runtime.moment import database_of
from app.runtime.operating import in_transaction, operator
from app.runtime.refusal import StartRefused
from app.settings import Settings

T = TypeVar("T")

COLUMNS = ("agency", "channel", "address", "ended", "why", "secret")
"""What `listed` tells of an agency."""


def listed(data_dir: Path) -> list[list[str]]:
    """The agencies, by code: the texts of `COLUMNS`. Raises `StartRefused` with what a person can mend."""

    async def read(settings: Settings, connection: Connection) -> list[list[str]]:
        await record(connection, operator(), [Event(Operation.CONSULTATION, "channels.listed")])
        return [_line(shown) for shown in await channels.listed(connection)]

    return _committed(data_dir, read)


def push(data_dir: Path, party: str, url: str) -> tuple[str, str]:
    """Have an agency pushed to; its secret and public key. Raises as `listed`."""

    async def change(settings: Settings, connection: Connection) -> tuple[str, str]:
        await channels.set_push_endpoint(connection, operator(), ApprovedHosts.of(settings), party, url)
        return await _secret(settings, connection, party)

    return _committed(data_dir, change)


def email(data_dir: Path, party: str, address: str) -> None:
    """Have an agency written to. Raises as `listed`, also where no sender (`GAIN_EMAIL_FROM`) is set."""

    async def change(settings: Settings, connection: Connection) -> None:
        # Not the server's address: its password may stand in that, and is for those who send.
        if not settings.email_from:
            raise StartRefused("nobody can be written to: set GAIN_EMAIL_FROM, and GAIN_SMTP_URL for those who send")
        await channels.set_mailbox(connection, operator(), party, address)

    _committed(data_dir, change)


def inbox(data_dir: Path, party: str) -> None:
    """Tell an agency nothing more. Raises as `listed`."""

    async def change(settings: Settings, connection: Connection) -> None:
        await channels.set_inbox(connection, operator(), party)

    _committed(data_dir, change)


def secret(data_dir: Path, party: str) -> tuple[str, str]:
    """The newest secret and public key of an agency that is pushed to. Raises as `listed`."""

    async def read(settings: Settings, connection: Connection) -> tuple[str, str]:
        return await _secret(settings, connection, party)

    return _committed(data_dir, read)


def rotate(data_dir: Path, party: str, overlap_hours: int) -> tuple[str, str]:
    """A new secret and public key; the ones before hold for so many hours more. Raises as `listed`."""

    async def change(settings: Settings, connection: Connection) -> tuple[str, str]:
        await channels.rotate_push_secret(connection, operator(), party, timedelta(hours=overlap_hours))
        return await _secret(settings, connection, party)

    return _committed(data_dir, change)


async def _secret(settings: Settings, connection: Connection, party: str) -> tuple[str, str]:
    """What somebody is about to be shown; the log says so."""
    keys, version = Keys(settings.master_secret()), await channels.read_push_secret(connection, operator(), party)
    return webhook_secret(keys, party, version), webhook_public_key(keys, party, version)


def _committed(data_dir: Path, work: Callable[[Settings, Connection], Awaitable[T]]) -> T:
    with database_of(data_dir) as settings:
        try:
            return in_transaction(settings, lambda connection: work(settings, connection))
        except UnacceptableAddress as refusal:
            raise StartRefused(f"this address cannot be used. {refusal}") from refusal
        except ChannelRefused as refusal:
            raise StartRefused(str(refusal)) from refusal


def _line(shown: Shown) -> list[str]:
    ended = [_moment(shown.ended_at) if shown.ended_at else "-", shown.ended or "-"]
    return [shown.agency, shown.channel.value, _where(shown.address), *ended, _versions(shown)]


def _where(address: str | None) -> str:
    """The host of a URL; of a mailbox, which may be a person's, the first letter and what is behind the @."""
    if address is None:
        return "-"
    if "://" in address:
        return urlsplit(address).hostname or "-"
    name, _, domain = address.rpartition("@")
    return f"{name[:1]}…@{domain}"


def _versions(shown: Shown) -> str:
    if shown.version is None:
        return "-"
    before = f", {shown.version - 1} until {_moment(shown.previous_until)}" if shown.previous_until else ""
    return f"{shown.version}{before}"


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
