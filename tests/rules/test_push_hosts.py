"""A notice can be pushed to approved hosts only, and never into somebody's inner network by a trick of its address."""

import pytest

from app.parties.hosts import ApprovedHosts, UnacceptableAddress
from app.settings import SettingsError

HOSTS = ApprovedHosts.parse("hub.agency.example, inner.example=10.4.0.0/16, 8.8.8.8, 127.0.0.1=127.0.0.0/8")

REFUSED_URLS = {
    "not approved": "https://elsewhere.example/x",
    "http": "http://hub.agency.example/x",
    "http to this machine outside development": "http://127.0.0.1/x",
    "a user name": "https://hub.agency.example@elsewhere.example/",
    "a user name that looks like the host": "https://elsewhere.example:443@hub.agency.example/",
    "a backslash": "https://hub.agency.example\\@elsewhere.example/",
    "an encoded host": "https://hub%2eagency.example/",
    "a fragment": "https://hub.agency.example#@elsewhere.example/",
    "a longer name": "https://hub.agency.example.elsewhere.example/",
    "upper case": "https://HUB.agency.example/",
    "a trailing dot": "https://hub.agency.example./",
    "an approved host in the path": "https://elsewhere.example/hub.agency.example",
    "IPv6": "https://[::1]/",
    "IPv4 in IPv6": "https://[::ffff:127.0.0.1]/",
    "a decimal address": "https://2130706433/",
    "a hexadecimal address": "https://0x7f000001/",
    "a short address": "https://127.1/",
    "an octal address": "https://0177.0.0.1/",
    "a private address": "https://10.4.0.1/",
    "the cloud's metadata": "https://169.254.169.254/latest/meta-data",
    "another scheme": "gopher://hub.agency.example/",
    "a file": "file:///etc/passwd",
    "a space": "https://hub.agency.example /",
    "a line end": "https://hub.agency.example/\r\nHost: x",
    "a control character": "https://hub.agency.example/\x00",
    "a port too high": "https://hub.agency.example:65536/",
    "no host": "https:///x",
    "letters that look alike": "https://hub.\u0430gency.example/",
    "too long": "https://hub.agency.example/" + "x" * 2_000,
}


@pytest.mark.parametrize("trick", REFUSED_URLS)
def test_a_tricky_address_is_refused(trick: str) -> None:
    with pytest.raises(UnacceptableAddress):
        HOSTS.check(REFUSED_URLS[trick])


@pytest.mark.parametrize(
    "url",
    ["https://hub.agency.example", "https://hub.agency.example:8443/gain/v1?to=inbox", "https://8.8.8.8/x"],
)
def test_an_approved_address_is_taken(url: str) -> None:
    HOSTS.check(url)


@pytest.mark.parametrize(
    "approved", ["2130706433", "0x7f000001", "127.1", "0177.0.0.1", "127.0.0.1", "169.254.169.254"]
)
def test_a_number_is_no_way_around_even_on_the_list(approved: str) -> None:
    with pytest.raises(UnacceptableAddress):
        ApprovedHosts.parse(approved).check(f"https://{approved}/")


def test_plain_http_is_for_this_machine_in_development_only() -> None:
    development = ApprovedHosts.parse(
        "localhost=127.0.0.0/8, hub.agency.example, in.example=10.0.0.0/8", development=True
    )
    development.check("http://localhost:9000/")
    for host in ("hub.agency.example", "in.example"):
        with pytest.raises(UnacceptableAddress):
            development.check(f"http://{host}/")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.4.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "0.0.0.0",  # noqa: S104
        "224.0.0.1",
        "239.1.1.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "64:ff9b::808:808",
        "not an address",
    ],
)
def test_a_name_may_not_lead_to_an_address_that_is_not_public(address: str) -> None:
    assert not HOSTS.permits("hub.agency.example", address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_a_name_may_lead_to_a_public_address(address: str) -> None:
    assert HOSTS.permits("hub.agency.example", address)
    assert not HOSTS.permits("elsewhere.example", address)


def test_a_network_is_approved_for_its_host_only() -> None:
    assert HOSTS.permits("inner.example", "10.4.200.1")
    assert not HOSTS.permits("inner.example", "10.5.0.1")
    assert not HOSTS.permits("hub.agency.example", "10.4.200.1")


@pytest.mark.parametrize(
    "text", ["https://hub.example", "hub.example=10.4.0.0/33", "*.example", "hub.example:8443", "a b"]
)
def test_a_list_that_cannot_be_read_stops_the_start(text: str) -> None:
    with pytest.raises(SettingsError):
        ApprovedHosts.parse(text)


def test_no_list_means_no_push() -> None:
    with pytest.raises(UnacceptableAddress):
        ApprovedHosts.parse("").check("https://hub.agency.example/")
