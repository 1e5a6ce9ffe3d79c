"""The other side of the channels, really there: an agency's HTTP endpoint, well-behaved or not, and a mail server."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from email.policy import default
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from app.audit.record import Actor

ADMINISTRATOR = Actor("GAIN", "administrator")

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Call:
    """One request as it came."""

    headers: dict[str, str]
    body: bytes


@dataclass
class Agency:
    """An agency's endpoint: it keeps every request, and does `behaves` with the connection."""

    behaves: Behaviour
    calls: list[Call] = field(default_factory=list)
    url: str = ""
    open_now: int = 0
    most_open: int = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            while (call := await _read(reader)) is not None:
                self.calls.append(call)
                await self.behaves(writer)
                await writer.drain()
        except (ConnectionError, ssl.SSLError):
            pass  # a hostile or cut-off connection is what many tests are about
        finally:
            self.open_now -= 1
            writer.close()

    @contextlib.asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator["Agency"]:
        """Serve on a free port of this machine."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{host}:{port}/gain"
        yield self
        server.close()


async def _read(reader: asyncio.StreamReader) -> Call | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    lines = [line.partition(":") for line in head.split("\r\n")[1:] if line]
    headers = {name.lower(): value.strip() for name, _, value in lines}
    return Call(headers, await reader.readexactly(int(headers.get("content-length", 0))))


def answer(status: str, body: bytes = b"", **headers: str) -> Behaviour:
    """Answer like this."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        head = "\r\n".join([f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}", "", ""])
        writer.write(head.encode() + body)

    return behave


OK = answer("204 No Content")


@dataclass
class Post:
    """A mail server: it keeps every message, and answers `RCPT TO` and `DATA` as told."""

    to: Mapping[str, str] = field(default_factory=dict)
    data: str = "250 OK"
    login: tuple[str, str] | None = None
    messages: list[Message] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    port: int = 0

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Refuse who is to be refused."""
        refusal = self.to.get(address)
        if refusal is None:
            envelope.rcpt_tos.append(address)
        return refusal or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep it where it is taken."""
        if self.data.startswith("250"):
            assert isinstance(envelope.content, bytes)
            self.messages.append(message_from_bytes(envelope.content, policy=default))
            self.encrypted.append(session.ssl is not None)
        return self.data

    def _authenticate(self, *given: Any) -> AuthResult:
        data = given[-1]
        return AuthResult(success=(data.login.decode(), data.password.decode()) == self.login, handled=False)

    @contextlib.asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["Post"]:
        """Serve on a free port of this machine, with STARTTLS where it has a certificate."""
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {"hostname": "mail.test", "loop": loop, "tls_context": tls}
        if self.login:
            options |= {"authenticator": self._authenticate, "auth_required": True}
        server = await loop.create_server(lambda: SMTP(self, **options), "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        yield self
        server.close()


class Names:
    """A name service that answers from a table."""

    def __init__(self, table: Mapping[str, list[str]]) -> None:
        self.table = table
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> list[str]:
        """The addresses in the table."""
        self.asked.append(host)
        return self.table[host]


@dataclass
class Authority:
    """A certificate authority of the test, and the file that makes clients trust it."""

    authority: trustme.CA
    file: Path

    @classmethod
    def made_in(cls, folder: Path) -> "Authority":
        """A new one."""
        made = cls(trustme.CA(), folder / "authority.pem")
        made.authority.cert_pem.write_to_path(str(made.file))
        return made

    def server(self, *names: str) -> ssl.SSLContext:
        """What a server of these names presents."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*names).configure_cert(context)
        return context
