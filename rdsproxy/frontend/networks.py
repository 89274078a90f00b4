"""Which addresses an endpoint lets in, as a security group does in front of RDS Proxy."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


class Networks:
    """Networks in CIDR notation; without any, all addresses are in. Raises `ValueError` for what is not a network."""

    def __init__(self, cidrs: Sequence[str]) -> None:
        self._networks = [ip_network(cidr) for cidr in cidrs]

    def admit(self, host: str) -> bool:
        """Tell whether a connection from this address is let in.

        Unix sockets, which have none, always are: their file's mode is who may connect.
        """
        if not self._networks or not host:
            return True
        address = _address(host)
        return any(address in network for network in self._networks)


def source_of(host: str) -> str:
    """Give whom to count what comes from an address for: an IPv4 address, or the /64 network of an IPv6 one.

    That is the least that anybody is given: one machine has as many addresses in it as it wants. Names are themselves.
    """
    if ":" not in host:
        return host
    address = _address(host)
    if isinstance(address, IPv6Address):
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)


def is_loopback(host: str) -> bool:
    """Tell whether it is this machine that speaks to itself, by the address that it does so with."""
    return host in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "localhost")


def _address(host: str) -> IPv4Address | IPv6Address:
    address = ip_address(host)
    # How a socket for both families shows a client that came by IPv4.
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
