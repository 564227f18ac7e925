"""From which network a request comes: whose X-Forwarded-For counts, and how much of an address is one client."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MOST_HOPS = 20
_PRIVATE = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10")))
"""RFC 1918, RFC 6598, RFC 4193 and link-local addresses, as containers and load balancers have them."""
_IPV4_BITS, _IPV6_BITS = 24, 56
"""One network for limits. A customer usually gets a /56 or more of IPv6 (RIPE-690 section 4.2); a /24 is the smallest IPv4
block that is routed by itself."""


@lru_cache(maxsize=8)
def read_networks(text: str) -> tuple[Network, ...]:
    """Addresses and networks (CIDR) separated by commas. Raises ValueError."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def _address(text: str) -> Address | None:
    """An address as it stands in X-Forwarded-For, perhaps with a port; IPv4 inside IPv6 counts as IPv4."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _is_one_of(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def find_client(peer: str | None, forwarded_for: str, trusted: Sequence[Network]) -> Address | None:
    """Who sent a request that came from `peer`; None where nobody can tell.

    Each proxy adds the address it was called from at the end of X-Forwarded-For, so it is read from its end, as far as the
    addresses are trusted proxies: what stands further left may be made up. Without `trusted`, a peer on this machine is a
    proxy that nobody has told us about, and so is one in a private network that sends the header.
    """
    client = _address(peer or "")
    if client is None:
        return None
    if not trusted:
        return None if client.is_loopback or (forwarded_for and _is_one_of(client, _PRIVATE)) else client
    for said in reversed(forwarded_for.split(",")[-_MOST_HOPS:]):
        if not _is_one_of(client, trusted):
            break
        before = _address(said)
        if before is None:
            return None
        client = before
    return None if _is_one_of(client, trusted) or client.is_loopback else client


def network_of(client: Address) -> str:
    """The network of an address that limits count: IPv4 /24, IPv6 /56."""
    bits = _IPV4_BITS if client.version == 4 else _IPV6_BITS
    return str(ip_network((client, bits), strict=False))
