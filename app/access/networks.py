"""Where a request comes from: networks in CIDR, and what is believed of a proxy that stands before the gateway.

A request says what it likes in its headers. Only from a proxy that the settings name are two of them believed: the
last address of `X-Forwarded-For`, and the client's certificate in `Client-Cert` (RFC 9440), which the proxy must take
away from whatever a client itself sends under that name.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.requests import Request

from app.settings import Settings, SettingsError

Network = IPv4Network | IPv6Network

_COUNTED_PREFIX = 64


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks that these texts name, such as `10.4.0.0/16`. Raises `ValueError` for any that is none."""
    return tuple(_network(text) for text in texts)


def _network(text: str) -> Network:
    try:
        return ip_network(text.strip())
    except ValueError:
        raise ValueError("a network is written like 10.4.0.0/16 or 2001:db8::/32, with no bit set after it") from None


def is_within(address: str, networks: Iterable[Network]) -> bool:
    """Whether this address, as text, belongs to one of these networks; what is no address belongs to none."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in network for network in networks)


def counted(address: str) -> str:
    """What stands for an address wherever attempts are counted by where they come from; never an address to be shown.

    IPv6 is counted by its /64: that is what one machine is given to choose its address from (RFC 4291 section 2.5.1),
    2^64 fresh starts otherwise. All that is no address is counted as one. A port that a proxy appended is left out.
    """
    text = address.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return ""
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Network((int(found), _COUNTED_PREFIX), strict=False))


class Proxies:
    """The proxies that the settings name. Raises `SettingsError` for a network that is none."""

    def __init__(self, settings: Settings) -> None:
        self._forwarding = _setting("GAIN_FORWARDING_PROXY", settings.forwarding_proxy)
        self._certifying = _setting("GAIN_CLIENT_CERT_PROXY", settings.client_cert_proxy)

    def source(self, request: Request) -> str:
        """The address a request comes from; empty where that cannot be said."""
        peer = _peer(request)
        if not self._forwarding or not is_within(peer, self._forwarding):
            return peer
        lines = request.headers.getlist("x-forwarded-for")
        # The last one is what the proxy itself saw; all before it is hearsay.
        return lines[-1].rpartition(",")[2].strip() if lines else peer

    def certificate(self, request: Request) -> str | None:
        """The thumbprint (RFC 8705: base64url of SHA-256) of the client's certificate, where a proxy vouches for it."""
        if not self._certifying or not is_within(_peer(request), self._certifying):
            return None
        lines = request.headers.getlist("client-cert")
        return _thumbprint(lines[0]) if len(lines) == 1 else None


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


def _setting(name: str, text: str) -> tuple[Network, ...]:
    try:
        return parse_networks(part for part in text.split(",") if part.strip())
    except ValueError as error:
        raise SettingsError(f"{name}: {error}; several have commas between.") from None


def _thumbprint(field: str) -> str | None:
    """The thumbprint of the certificate (DER) in a byte sequence of RFC 9651, `:base64:`; None for anything else."""
    field = field.strip()
    if len(field) < 3 or field[0] != ":" or field[-1] != ":":
        return None
    try:
        certificate = base64.b64decode(field[1:-1], validate=True)
    except (binascii.Error, ValueError):
        return None
    return base64.urlsafe_b64encode(hashlib.sha256(certificate).digest()).rstrip(b"=").decode()
