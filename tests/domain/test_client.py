"""Who asks, as seen from the outside."""

import pytest

from nurture.domain.client import Client, client_network, describe_device


@pytest.mark.parametrize(
    ("address", "network"),
    [("198.51.100.7", "198.51.100.0/24"), ("198.51.100.255", "198.51.100.0/24"), ("2001:db8:1:2ff::9", "2001:db8:1:200::/56"),
     ("::ffff:198.51.100.7", "198.51.100.0/24"), ("fe80::1%eth0", "fe80::/56"), ("127.0.0.1", ""), ("127.8.9.1", ""),
     ("::1", ""), ("::ffff:127.0.0.1", ""), ("", ""), (None, ""), ("nonsense", ""), ("198.51.100.7, 127.0.0.1", "")],
)  # fmt: skip
def test_a_network_is_what_one_home_gets_and_this_machine_is_none(address: str | None, network: str) -> None:
    assert client_network(address) == network


@pytest.mark.parametrize(
    ("agent", "said"),
    [("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0", "Firefox on Windows"),
     ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605 (KHTML) Version/18 Safari/605", "Safari on a Mac"),
     ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36", "Chrome on Linux"),
     ("Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36", "Chrome on Android"),
     ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/130.0 Safari/537.36 Edg/130.0", "Edge on Windows"),
     ("curl/8.5", ""), ("", ""), ("<script>Windows", "A browser on Windows"), ("x" * 100_000 + "Firefox/1", "")],
)  # fmt: skip
def test_a_device_is_said_in_words_of_ours(agent: str, said: str) -> None:
    assert describe_device(agent) == said


def test_a_client_prints_as_nothing() -> None:
    assert "198" not in repr(Client("198.51.100.0/24", "0" * 32, "Firefox on Windows"))
