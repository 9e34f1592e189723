"""ingest_api.http.client_ip: X-Forwarded-For is believed as far as the trusted proxies wrote it."""

import ipaddress

import pytest

from ingest_api.http.client_ip import ClientAddresses

PROXIES = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "2001:db8:1::/48")]
ADDRESSES = ClientAddresses(PROXIES, [ipaddress.ip_network("192.0.2.0/24")])


@pytest.mark.parametrize("forwarded", [None, "", "203.0.113.7", "10.1.1.1, 203.0.113.7"])
def test_without_trusted_proxies_the_peer_is_the_client(forwarded: str | None):
    assert ClientAddresses([], []).find("198.51.100.1", forwarded) == "198.51.100.1"


@pytest.mark.parametrize("forwarded", [None, "", "203.0.113.7", "127.0.0.1", "10.0.0.1"])
def test_a_peer_that_is_no_trusted_proxy_cannot_name_another(forwarded: str | None):
    assert ADDRESSES.find("198.51.100.1", forwarded) == "198.51.100.1"


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        (" 203.0.113.7 ", "203.0.113.7"),
        ("203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("203.0.113.7, 10.0.0.3,10.0.0.2", "203.0.113.7"),
        ("2001:db8:2::7", "2001:db8:2::7"),
        ("2001:DB8:2:0::7", "2001:db8:2::7"),
        ("203.0.113.7, 2001:db8:1::2", "203.0.113.7"),
        # What the client wrote itself stands before the address that the proxy saw.
        ("1.1.1.1, 203.0.113.7", "203.0.113.7"),
        ("10.0.0.9, 203.0.113.7", "203.0.113.7"),
        ("1.1.1.1, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("garbage, 203.0.113.7", "203.0.113.7"),
        # All are proxies: the first of them is the client.
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
    ],
)
def test_behind_trusted_proxies_the_last_untrusted_address_is_the_client(forwarded: str, client: str):
    assert ADDRESSES.find("10.0.0.1", forwarded) == client


@pytest.mark.parametrize("forwarded", ["garbage", "", ",", "203.0.113.7, garbage", "unknown", "1.2.3.4.5", "999.1.1.1"])
def test_what_is_no_address_ends_the_search_at_the_proxy(forwarded: str):
    assert ADDRESSES.find("10.0.0.1", forwarded) == "10.0.0.1"


def test_an_ipv4_proxy_on_an_ipv6_socket_is_trusted_too():
    assert ADDRESSES.find("::ffff:10.0.0.1", "203.0.113.7") == "203.0.113.7"


@pytest.mark.parametrize(
    ("client", "exempt"),
    [("192.0.2.9", True), ("::ffff:192.0.2.9", True), ("192.0.3.9", False), ("2001:db8::1", False), ("", False)],
)
def test_exempt_networks_have_no_limit(client: str, exempt: bool):
    assert ADDRESSES.is_exempt(client) is exempt


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("203.0.113.7:51234", "203.0.113.7"),
        ("[2001:db8:2::7]:51234", "2001:db8:2::7"),
        ("[2001:db8:2::7]", "2001:db8:2::7"),
        ("1.1.1.1, 203.0.113.7:51234, 10.0.0.2:80", "203.0.113.7"),
    ],
)
def test_a_port_beside_an_address_is_ignored(forwarded: str, client: str):
    assert ADDRESSES.find("10.0.0.1", forwarded) == client


@pytest.mark.parametrize(
    ("client", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("no:address", "no:address"),
    ],
)
def test_the_rate_limit_counts_ipv6_by_its_network(client: str, counted: str):
    assert ADDRESSES.counted(client) == counted
