"""Which addresses are in a network, in all the forms in which sockets give them."""

from __future__ import annotations

import pytest

from rdsproxy.frontend.networks import Networks, source_of


@pytest.mark.parametrize(
    ("peer", "admitted"),
    [
        ("10.1.2.3", True),
        ("10.2.0.0", False),
        ("::ffff:10.1.2.3", True),
        ("::ffff:10.2.0.0", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("fe80::1%eth0", True),
        ("", True),
    ],
)
def test_addresses(peer: str, admitted: bool) -> None:
    assert Networks(["10.1.0.0/16", "2001:db8::/32", "fe80::/10"]).admit(peer) is admitted


def test_without_networks_all_are_in() -> None:
    assert Networks([]).admit("10.2.0.0")


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
