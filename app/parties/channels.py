"""Where an agency is told: its push endpoint or its mailbox, which its own system may end. Set by an operator."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sqlalchemy import DateTime, ForeignKey, Integer, SmallInteger, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.audit.record import Actor, Event, Operation, record
from app.db import Base, Connection
from app.parties.codes import RECEIVING_KINDS, Channel
from app.parties.hosts import ApprovedHosts, UnacceptableAddress

ROTATION = timedelta(hours=24)
"""How long notices are signed with the previous secret too, where nothing else is said."""


class ChannelRefused(ValueError):
    """A party that has no such channel, or can have none; the text says why and may be shown."""


class PushEndpoint(Base):
    """An agency's push endpoint. Disabled, it gets nothing until it is set again.

    `version` numbers its secret, which is derived and not kept; until `previous_until` notices are signed with the one
    before too.
    """

    __tablename__ = "push_endpoint"

    agency: Mapped[str] = mapped_column(Text, ForeignKey("party.code"), primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    previous_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    set_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    disabled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    disabled_reason: Mapped[str | None] = mapped_column(Text)


class EmailMailbox(Base):
    """The mailbox of an agency without a platform. One that bounced gets nothing until it is set again."""

    __tablename__ = "email_mailbox"

    agency: Mapped[str] = mapped_column(Text, ForeignKey("party.code"), primary_key=True)
    address: Mapped[str] = mapped_column(Text)
    set_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    bounced_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    bounce_reason: Mapped[str | None] = mapped_column(Text)


class NoticeCount(Base):
    """How many notices an agency got in its latest `minute` and on its latest `day` (London), counted from 1970."""

    __tablename__ = "notice_count"

    agency: Mapped[str] = mapped_column(Text, ForeignKey("party.code"), primary_key=True)
    minute: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    in_minute: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    day: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    in_day: Mapped[int] = mapped_column(Integer, server_default=text("0"))


class Place(NamedTuple):
    """Where an agency is told, as set once: the same address set anew is another, as who sets it says that it works."""

    channel: Channel
    address: str | None
    ended: str | None
    set_at: datetime | None


@dataclass(frozen=True, slots=True)
class Contact:
    """How an agency is told. `address` is a URL or a mailbox, None where none was set; `ended` says why it is not used.

    `versions` are those of the secrets to sign with, the newest first; empty for a mailbox. `set_at` is when an
    operator set it last, None where none has.
    """

    agency: str
    channel: Channel
    address: str | None
    ended: str | None
    versions: tuple[int, ...]
    notices_per_day: int | None
    set_at: datetime | None

    @property
    def place(self) -> Place:
        """Where it is told."""
        return Place(self.channel, self.address, self.ended, self.set_at)


@dataclass(frozen=True, slots=True)
class Shown:
    """The channel of a party that may be asked. `address` is a URL or a mailbox, None where it has none or needs none.

    `version` is that of its secret, for push alone; `previous_until` is when the one before ends, None where it has.
    """

    agency: str
    channel: Channel
    address: str | None
    ended_at: datetime | None
    ended: str | None
    version: int | None
    previous_until: datetime | None


_LOAD = text("""
    SELECT party.code, party.channel, party.channel_set_at,
           CAST(coalesce(own.document, party.policy)->>'notices_per_day' AS integer) AS notices_per_day,
           endpoint.url, endpoint.version, endpoint.disabled_reason, endpoint.previous_until > now() AS changing,
           mailbox.address, mailbox.bounce_reason
      FROM party
      LEFT JOIN LATERAL (SELECT document FROM own_policy WHERE own_policy.agency = party.code
                          ORDER BY version DESC LIMIT 1) AS own ON true
      LEFT JOIN push_endpoint AS endpoint ON endpoint.agency = party.code
      LEFT JOIN email_mailbox AS mailbox ON mailbox.agency = party.code
     WHERE party.channel IN ('push', 'email')
     ORDER BY party.code
""")

_LIST = text("""
    SELECT party.code AS agency, party.channel, coalesce(endpoint.url, mailbox.address) AS address,
           coalesce(endpoint.disabled_at, mailbox.bounced_at) AS ended_at,
           coalesce(endpoint.disabled_reason, mailbox.bounce_reason) AS ended, endpoint.version,
           CASE WHEN endpoint.previous_until > now() THEN endpoint.previous_until END AS previous_until
      FROM party
      LEFT JOIN push_endpoint AS endpoint ON endpoint.agency = party.code AND party.channel = 'push'
      LEFT JOIN email_mailbox AS mailbox ON mailbox.agency = party.code AND party.channel = 'email'
     WHERE party.kind = ANY(CAST(:kinds AS text[]))
     ORDER BY party.code
""")

_KIND = text("SELECT kind FROM party WHERE code = :agency")

_TURN_TO = text("UPDATE party SET channel = :channel, channel_set_at = now() WHERE code = :agency")

_VERSION = text("SELECT version FROM push_endpoint WHERE agency = :agency")

_SET_ENDPOINT = text("""
    INSERT INTO push_endpoint (agency, url) VALUES (:agency, :url)
    ON CONFLICT (agency) DO UPDATE
       SET url = excluded.url, set_at = now(), disabled_at = NULL, disabled_reason = NULL
    RETURNING version
""")

_ROTATE = text("""
    UPDATE push_endpoint SET version = version + 1, previous_until = now() + CAST(:overlap AS interval)
     WHERE agency = :agency
    RETURNING version, url
""")

_SET_MAILBOX = text("""
    INSERT INTO email_mailbox (agency, address) VALUES (:agency, :address)
    ON CONFLICT (agency) DO UPDATE
       SET address = excluded.address, set_at = now(), bounced_at = NULL, bounce_reason = NULL
""")

_DISABLE = text("""
    UPDATE push_endpoint SET disabled_at = now(), disabled_reason = :reason
     WHERE agency = :agency AND url = :address AND disabled_at IS NULL
    RETURNING agency
""")

_BOUNCE = text("""
    UPDATE email_mailbox SET bounced_at = now(), bounce_reason = :reason
     WHERE agency = :agency AND address = :address AND bounced_at IS NULL
    RETURNING agency
""")

_ENDED = text("""
    SELECT party.code AS agency, party.channel, coalesce(endpoint.disabled_at, mailbox.bounced_at) AS at
      FROM party
      LEFT JOIN push_endpoint AS endpoint ON endpoint.agency = party.code AND party.channel = 'push'
      LEFT JOIN email_mailbox AS mailbox ON mailbox.agency = party.code AND party.channel = 'email'
     WHERE coalesce(endpoint.disabled_at, mailbox.bounced_at) IS NOT NULL
     ORDER BY party.code
""")

# No quoted local part, no comment, no address literal: what every mail server reads alike (RFC 5321).
_MAILBOX = re.compile(
    r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@(?=.{3,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}", re.A | re.I
)


async def load(connection: Connection) -> list[Contact]:
    """Every party that is told by push or email, and how."""
    contacts = []
    for row in await connection.execute(_LOAD):
        push = row.channel == Channel.PUSH
        versions = (row.version, row.version - 1) if row.changing else (row.version,)
        contacts.append(
            Contact(
                agency=row.code,
                channel=Channel(row.channel),
                address=row.url if push else row.address,
                ended=row.disabled_reason if push else row.bounce_reason,
                versions=versions if push and row.version else (),
                notices_per_day=row.notices_per_day,
                set_at=row.channel_set_at,
            )
        )
    return contacts


async def listed(connection: Connection) -> list[Shown]:
    """Every party that may be asked, by code, and how it is told."""
    found = await connection.execute(_LIST, {"kinds": list(RECEIVING_KINDS)})
    return [Shown(**{**row._mapping, "channel": Channel(row.channel)}) for row in found]


async def set_push_endpoint(connection: Connection, actor: Actor, hosts: ApprovedHosts, agency: str, url: str) -> int:
    """Have an agency pushed to at this URL; returns the version of its secret.

    Changing the URL keeps the secret: rotate it where another system takes over. Raises `UnacceptableAddress`,
    `ChannelRefused`.
    """
    hosts.check(url)
    await _turn_to(connection, agency, Channel.PUSH)
    version = int((await connection.execute(_SET_ENDPOINT, {"agency": agency, "url": url})).scalar_one())
    await _log(connection, actor, "channel.set", agency, url)
    return version


async def read_push_secret(connection: Connection, actor: Actor, agency: str) -> int:
    """The version of an agency's secret; the log says that it was shown. Raises `ChannelRefused`."""
    version = await connection.scalar(_VERSION, {"agency": agency})
    if version is None:
        raise await _no_endpoint(connection, agency)
    detail = {"agency": agency, "channel": Channel.PUSH, "version": version}
    await record(connection, actor, [Event(Operation.CONSULTATION, "channel.secret_read", detail=detail)])
    return int(version)


async def rotate_push_secret(connection: Connection, actor: Actor, agency: str, overlap: timedelta = ROTATION) -> int:
    """Begin a new version of an agency's secret; returns it. Raises `ChannelRefused`.

    The version before is signed with too for `overlap`; none of it where a secret has leaked.
    """
    row = (await connection.execute(_ROTATE, {"agency": agency, "overlap": overlap})).one_or_none()
    if row is None:
        raise await _no_endpoint(connection, agency)
    await _log(connection, actor, "channel.secret_rotated", agency, row.url)
    return int(row.version)


async def set_mailbox(connection: Connection, actor: Actor, agency: str, address: str) -> None:
    """Have an agency written to at this address. Raises `UnacceptableAddress`, `ChannelRefused`."""
    if not _MAILBOX.fullmatch(address):
        raise UnacceptableAddress("It must be a plain mailbox such as desk@agency.example.")
    await _turn_to(connection, agency, Channel.EMAIL)
    await connection.execute(_SET_MAILBOX, {"agency": agency, "address": address})
    await _log(connection, actor, "channel.set", agency, address)


async def set_inbox(connection: Connection, actor: Actor, agency: str) -> None:
    """Have an agency told by nothing but its inbox. Its endpoint or mailbox stays, unused. Raises `ChannelRefused`."""
    await _turn_to(connection, agency, Channel.INBOX)
    detail = {"agency": agency, "channel": Channel.INBOX}
    await record(connection, actor, [Event(Operation.ALTERATION, "channel.set", detail=detail)])


async def retire(connection: Connection, actor: Actor, agency: str, address: str, reason: str) -> bool:
    """Use an address (an endpoint's URL or a mailbox) no more; False where it had ended or another was set since."""
    statement = _DISABLE if _is_url(address) else _BOUNCE
    parameters = {"agency": agency, "address": address, "reason": reason}
    if await connection.scalar(statement, parameters) is None:
        return False
    await _log(connection, actor, "channel.ended", agency, address)
    return True


async def ended(connection: Connection) -> list[dict[str, Any]]:
    """The agencies whose address has ended, so that nothing is sent there: `agency`, `channel`, `at`."""
    return [dict(row._mapping) for row in await connection.execute(_ENDED)]


async def _turn_to(connection: Connection, agency: str, channel: Channel) -> None:
    await _check_asked(connection, agency)
    await connection.execute(_TURN_TO, {"agency": agency, "channel": channel})


async def _check_asked(connection: Connection, agency: str) -> None:
    """Raises `ChannelRefused` where nobody has this code, or nothing is ever in their inbox."""
    kind = await connection.scalar(_KIND, {"agency": agency})
    if kind is None:
        raise ChannelRefused(f"there is no party with the code {agency!r}")
    if kind not in RECEIVING_KINDS:
        raise ChannelRefused(f"{agency} is no body that is asked: it has no inbox to be told of")


async def _no_endpoint(connection: Connection, agency: str) -> ChannelRefused:
    """Why there is no secret. Raises `ChannelRefused` where there can be none."""
    await _check_asked(connection, agency)
    return ChannelRefused(f"no push endpoint is set for {agency}")


async def _log(connection: Connection, actor: Actor, action: str, agency: str, address: str) -> None:
    """A mailbox is personal data and stays out of the log; the name of a host is not."""
    push = _is_url(address)
    detail = {"agency": agency, "channel": Channel.PUSH if push else Channel.EMAIL}
    if push:
        detail["host"] = urlsplit(address).hostname or ""
    await record(connection, actor, [Event(Operation.ALTERATION, action, detail=detail)])


def _is_url(address: str) -> bool:
    return "://" in address
