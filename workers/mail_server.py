"""The mail server that takes our notices (SMTP submission, RFC 6409): over TLS, but to this machine in development."""

import asyncio
from dataclasses import dataclass
from email.message import EmailMessage
from ipaddress import ip_address
from typing import Self
from urllib.parse import unquote, urlsplit

import aiosmtplib

from app.settings import Settings, SettingsError

SEND_SECONDS = 20.0
_CONNECTIONS = 8
_PORTS = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail goes. `tls`: from the first byte; `start_tls`: by STARTTLS, without which nothing is sent."""

    host: str
    port: int
    user: str | None
    password: str | None
    tls: bool
    start_tls: bool
    connections: asyncio.Semaphore

    @classmethod
    def of(cls, configuration: Settings) -> Self | None:
        """The server of the settings, None where none is set. Raises `SettingsError`."""
        url = configuration.smtp_url.get_secret_value()
        if not url:
            return None
        try:
            target = urlsplit(url)
            port = target.port
        except ValueError:
            raise SettingsError("GAIN_SMTP_URL cannot be read; write smtp://user@host:587.") from None
        if target.scheme not in _PORTS or not target.hostname:
            raise SettingsError("GAIN_SMTP_URL must be smtp://… or smtps://… with a host.")
        local = configuration.environment == "development" and _is_local(target.hostname)
        return cls(
            host=target.hostname,
            port=port or _PORTS[target.scheme],
            user=unquote(target.username) if target.username else None,
            password=unquote(target.password) if target.password else configuration.smtp_password() or None,
            tls=target.scheme == "smtps",
            start_tls=target.scheme == "smtp" and not local,
            connections=asyncio.Semaphore(_CONNECTIONS),
        )

    async def send(self, message: EmailMessage) -> None:
        """Hand one message over. Raises `aiosmtplib.SMTPException`, `OSError` or `TimeoutError`."""
        async with asyncio.timeout(SEND_SECONDS), self.connections:
            await aiosmtplib.send(
                message,
                hostname=self.host,
                port=self.port,
                username=self.user,
                password=self.password,
                use_tls=self.tls,
                # None: where the server offers it; only to this machine, in development.
                start_tls=True if self.start_tls else (False if self.tls else None),
                timeout=SEND_SECONDS,
            )


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
