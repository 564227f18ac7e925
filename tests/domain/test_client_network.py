"""Whose X-Forwarded-For counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.client_network import find_client, network_of, read_networks

PROXIES = read_networks("10.0.0.0/8, 127.0.0.1, fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "client"),
    [
        ("203.0.113.9", "", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "10.0.0.1", "203.0.113.9"),
        ("127.0.0.1", "", "", None),
        ("::1", "198.51.100.1", "", None),
        ("172.18.0.2", "198.51.100.1", "", None),
        ("172.18.0.2", "", "", "172.18.0.2"),
        ("127.0.0.1", "198.51.100.1", "127.0.0.1", "198.51.100.1"),
        ("127.0.0.1", "1.2.3.4, 198.51.100.1", "127.0.0.1", "198.51.100.1"),
        ("127.0.0.1", "1.2.3.4, 198.51.100.1, 10.1.2.3", "127.0.0.1,10.0.0.0/8", "198.51.100.1"),
        ("127.0.0.1", "1.2.3.4, unknown, 10.1.2.3", "127.0.0.1,10.0.0.0/8", None),
        ("127.0.0.1", "198.51.100.1:4711", "127.0.0.1", "198.51.100.1"),
        ("127.0.0.1", "[2001:db8::7]:4711", "127.0.0.1", "2001:db8::7"),
        ("127.0.0.1", "", "127.0.0.1", None),
        ("127.0.0.1", "", "10.0.0.0/8", None),
        ("::ffff:203.0.113.9", "", "", "203.0.113.9"),
        (None, "", "", None),
        ("", "", "10.0.0.0/8", None),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_no_proxy(
    peer: str | None, forwarded: str, trusted: str, client: str | None
) -> None:
    found = find_client(peer, forwarded, read_networks(trusted))
    assert (str(found) if found else None) == client


@given(st.text(max_size=60))
def test_what_a_client_makes_up_never_moves_it(made_up: str) -> None:
    forwarded = f"{made_up}, 198.51.100.1" if made_up else "198.51.100.1"
    assert str(find_client("10.0.0.7", forwarded, PROXIES)) == "198.51.100.1"
    assert str(find_client("203.0.113.9", made_up, PROXIES)) == "203.0.113.9"


@given(st.ip_addresses())
def test_a_network_holds_its_address_and_is_as_wide_as_limits_say(address: object) -> None:
    (network,) = read_networks(network_of(address))  # type: ignore[arg-type]
    assert address in network
    assert network.prefixlen == (24 if network.version == 4 else 56)
