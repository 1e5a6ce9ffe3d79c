"""Only a proxy that the settings name is believed what it says of a client."""

import base64
import hashlib

import pytest
from starlette.requests import Request

from app.access.networks import Proxies, counted, is_within, parse_networks
from app.settings import Settings, SettingsError

CERTIFICATE = b"0\x82 as good as any DER"
FIELD = f":{base64.b64encode(CERTIFICATE).decode()}:"
THUMBPRINT = base64.urlsafe_b64encode(hashlib.sha256(CERTIFICATE).digest()).rstrip(b"=").decode()


def request(peer: str | None, *headers: tuple[str, str]) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    return Request({"type": "http", "client": peer and (peer, 4711), "headers": raw})


def proxies(**settings: str) -> Proxies:
    return Proxies(Settings(**settings))  # type: ignore[arg-type]


def test_a_certificate_is_taken_from_the_proxy_and_from_nowhere_else() -> None:
    believed = proxies(client_cert_proxy="10.0.0.0/30, 2001:db8::1/128")
    for peer in ("10.0.0.2", "::ffff:10.0.0.2", "2001:db8::1"):
        assert believed.certificate(request(peer, ("client-cert", FIELD))) == THUMBPRINT
    for stranger in ("10.0.0.4", "127.0.0.1", "2001:db8::2", "nonsense", None):
        assert believed.certificate(request(stranger, ("client-cert", FIELD))) is None
    assert proxies().certificate(request("127.0.0.1", ("client-cert", FIELD))) is None


@pytest.mark.parametrize("field", ["", "::", FIELD[1:], FIELD[:-1], ":not base64!:", ":YQ:"])
def test_what_is_no_certificate_is_none(field: str) -> None:
    assert proxies(client_cert_proxy="10.0.0.0/30").certificate(request("10.0.0.2", ("client-cert", field))) is None


def test_two_certificates_are_none() -> None:
    asked = request("10.0.0.2", ("client-cert", FIELD), ("client-cert", FIELD))
    assert proxies(client_cert_proxy="10.0.0.0/30").certificate(asked) is None


def test_the_last_address_is_what_the_proxy_saw() -> None:
    believed = proxies(forwarding_proxy="10.0.0.0/30")
    header = ("x-forwarded-for", "198.51.100.1, 203.0.113.9")
    assert believed.source(request("10.0.0.2", header)) == "203.0.113.9"
    assert believed.source(request("10.0.0.2", ("x-forwarded-for", "192.0.2.7"), header)) == "203.0.113.9"
    assert believed.source(request("10.0.0.2")) == "10.0.0.2"
    assert believed.source(request("203.0.113.77", header)) == "203.0.113.77"
    assert proxies().source(request("10.0.0.2", header)) == "10.0.0.2"
    assert believed.source(request(None, header)) == ""


def test_an_address_is_within_a_network_or_not() -> None:
    networks = parse_networks(["10.4.0.0/16", "2001:db8::/32"])
    assert is_within("10.4.255.255", networks)
    assert is_within("::ffff:10.4.0.1", networks)
    assert is_within("2001:db8::5", networks)
    for stranger in ("10.5.0.0", "2001:db9::", "", "10.4.0.1.example"):
        assert not is_within(stranger, networks)


@pytest.mark.parametrize(
    ("addresses", "as_one"),
    [
        ("192.0.2.7 192.0.2.7:5678 ::ffff:192.0.2.7 [::ffff:192.0.2.7]:443 ::ffff:c000:207", "192.0.2.7"),
        ("2001:db8::1 2001:db8::ffff:0:0:1 2001:DB8:0:0:1:2:3:4 [2001:db8::5]:443 [2001:db8::6]", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0 fe80::2", "fe80::/64"),
        ("::1 [::1]:443", "::/64"),
        ("unknown _hidden 10.4.0.1.example 10.4.0.256 [] 1.2.3.4:5:6 :443", ""),
    ],
)
def test_what_one_machine_may_call_itself_is_counted_as_one(addresses: str, as_one: str) -> None:
    assert {counted(one) for one in addresses.split(" ")} == {as_one}


@pytest.mark.parametrize("text", ["10.4.0.1/16", "10.4.0.0/33", "hmrc.example", "*"])
def test_a_network_that_is_none_keeps_the_gateway_from_starting(text: str) -> None:
    with pytest.raises(SettingsError, match="GAIN_FORWARDING_PROXY"):
        proxies(forwarding_proxy=text)
    with pytest.raises(SettingsError, match="GAIN_CLIENT_CERT_PROXY"):
        proxies(client_cert_proxy=f"10.0.0.0/8,{text}")
