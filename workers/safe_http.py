"""An HTTP client for addresses that others name: it connects to checked addresses only, and keeps no cookies."""

import socket

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from app.parties.hosts import ApprovedHosts

CONNECT_SECONDS = 5.0
_CONNECTIONS = 1_000
_IDLE_SECONDS = 4.0  # less than common servers keep a connection: a POST on one that is closing would fail
_RESOLVED_SECONDS = 10


class AddressRefused(OSError):
    """A host's name leads to an address it may not lie at."""


class CheckedResolver(AbstractResolver):
    """Resolves a name once and checks every address; the connection is made to one of just these."""

    def __init__(self, hosts: ApprovedHosts, inner: AbstractResolver) -> None:
        self._hosts = hosts
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of an approved host. Raises `AddressRefused` where any one of them is not permitted."""
        found = await self._inner.resolve(host, port, family)
        if not found or not all(self._hosts.permits(host, result["host"]) for result in found):
            raise AddressRefused("its name leads to an address that is not allowed")
        return found

    async def close(self) -> None:
        """Close the resolver behind this one."""
        await self._inner.close()


def safe_session(hosts: ApprovedHosts, resolver: AbstractResolver | None = None) -> aiohttp.ClientSession:
    """A session for a process's life: no cookies, no proxy or password file from the environment.

    Make it in the loop that uses it. `SSL_CERT_FILE` names other certificate authorities than the usual ones.
    """
    connector = aiohttp.TCPConnector(
        resolver=CheckedResolver(hosts, resolver or ThreadedResolver()),
        ssl=httpx.create_ssl_context(),
        limit=_CONNECTIONS,
        ttl_dns_cache=_RESOLVED_SECONDS,
        keepalive_timeout=_IDLE_SECONDS,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        auto_decompress=False,
        trust_env=False,
    )
