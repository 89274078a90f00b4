"""Which addresses are in a network, in all the forms in which Twisted gives them."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from rdsproxy.frontend.networks import Networks, source_of


@pytest.mark.parametrize(
    ("peer", "admitted"),
    [
        (IPv4Address("TCP", "10.1.2.3", 1), True),
        (IPv4Address("TCP", "10.2.0.0", 1), False),
        (IPv6Address("TCP", "::ffff:10.1.2.3", 1), True),
        (IPv6Address("TCP", "::ffff:10.2.0.0", 1), False),
        (IPv6Address("TCP", "2001:db8::1", 1), True),
        (IPv6Address("TCP", "2001:db9::1", 1), False),
        (IPv6Address("TCP", "fe80::1%eth0", 1), True),
        (UNIXAddress(None), True),
    ],
)
def test_addresses(peer: object, admitted: bool) -> None:
    assert Networks(["10.1.0.0/16", "2001:db8::/32", "fe80::/10"]).admit(peer) is admitted


def test_without_networks_all_are_in() -> None:
    assert Networks([]).admit(IPv4Address("TCP", "10.2.0.0", 1))


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("localhost", "localhost"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_whom_an_address_is_counted_for(host: str, source: str) -> None:
    assert source_of(host) == source
