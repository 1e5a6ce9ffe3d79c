"""Where notices may be pushed: to approved hosts, at addresses that are public or approved too. Pure.

Against server-side request forgery: a URL is taken only in a form that every parser reads alike, its host must be on
the list, and every address its name leads to is checked before a connection is made to it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

from app.settings import Settings, SettingsError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST_URL = 2_000

_NAME = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
_URL = re.compile(
    rf"(https?)://({_NAME})(?::([1-9][0-9]{{0,4}}))?(?:/[\w.~!$&'()*+,;=:@%/-]*(?:\?[\w.~=&%-]*)?)?", re.ASCII
)
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")  # what some resolvers read as an IPv4 address


class UnacceptableAddress(ValueError):
    """An endpoint or mailbox that cannot be used; the text says why and may be shown."""


@dataclass(frozen=True, slots=True)
class ApprovedHosts:
    """The hosts by name, each with the networks it may lie in although they are not public.

    `development` also allows http to hosts whose networks are all loopback.
    """

    networks: Mapping[str, tuple[Network, ...]]
    development: bool = False

    @classmethod
    def of(cls, configuration: Settings) -> Self:
        """Those of the settings. Raises `SettingsError`."""
        return cls.parse(configuration.push_hosts, development=configuration.environment == "development")

    @classmethod
    def parse(cls, text: str, *, development: bool = False) -> Self:
        """Read `name, name=network, …`; a name may stand several times. Raises `SettingsError`."""
        networks: dict[str, tuple[Network, ...]] = {}
        for entry in filter(None, (part.strip() for part in text.split(","))):
            name, _, network = entry.partition("=")
            if not re.fullmatch(_NAME, name):
                raise SettingsError(f"GAIN_PUSH_HOSTS: {name!r} is not a host name in lower case.")
            try:
                networks[name] = networks.get(name, ()) + ((ip_network(network),) if network else ())
            except ValueError as error:
                raise SettingsError(f"GAIN_PUSH_HOSTS: {network!r} is not a network such as 10.4.0.0/16.") from error
        return cls(networks, development)

    def check(self, url: str) -> None:
        """Raises `UnacceptableAddress` where nothing may be pushed to this URL, whatever its name leads to."""
        found = _URL.fullmatch(url) if len(url) <= LONGEST_URL else None
        if found is None or int(found[3] or 443) > 65535:
            raise UnacceptableAddress("It must be https://host[:port]/path, in lower case, with no user name.")
        scheme, host = found[1], found[2]
        if host not in self.networks:
            raise UnacceptableAddress(f"The host {host} is not on the list of approved hosts (GAIN_PUSH_HOSTS).")
        if scheme != "https" and not self._is_local(host):
            raise UnacceptableAddress("It must be https.")
        if _NUMERIC.fullmatch(host) and not self.permits(host, host):
            raise UnacceptableAddress(f"The address {host} is not public and not approved.")

    def permits(self, host: str, address: str) -> bool:
        """Whether this host may lie at this address: a public one, or in a network approved with the host."""
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self.networks.get(host, ())) or (
            host in self.networks and _is_public(found)
        )

    def _is_local(self, host: str) -> bool:
        networks = self.networks[host]
        return self.development and bool(networks) and all(network.is_loopback for network in networks)


def _is_public(address: Address) -> bool:
    """Whether anybody may reach it. What hides an IPv4 address behind a gateway is not public, but for IPv4-mapped."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return _is_public(address.ipv4_mapped)
        if address.sixtofour is not None or address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved
