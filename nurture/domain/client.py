"""Who asks, from the outside: the network a client is in, and the browser it says it is."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


@dataclass(frozen=True)
class Client:
    """Who types a password or a code."""

    network: str = ""
    """As `client_network` says; tries of a client without one are not counted together."""
    device: str = ""
    """The id in the cookie of a browser in which somebody has logged in before, if it has one."""
    described: str = ""
    """Browser and system in words, such as `Firefox on Windows`."""

    def __repr__(self) -> str:
        """Nothing of it."""
        return "Client(‹sealed›)"


_IPV4_PREFIX, _IPV6_PREFIX = 24, 56


def client_network(address: str | None) -> str:
    """The network of a client: IPv4 /24, IPv6 /56, which is what one home or office gets.

    Empty for this machine's own addresses (a proxy, behind which everybody looks the same) and for what is no address.
    """
    try:
        found = ip_address(address or "")
    except ValueError:
        return ""
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    if found.is_loopback:
        return ""
    prefix = _IPV4_PREFIX if isinstance(found, IPv4Address) else _IPV6_PREFIX
    return str(ip_network(f"{found.compressed.partition('%')[0]}/{prefix}", strict=False))


_LONGEST_AGENT = 400
_BROWSERS = (
    ("Edg", "Edge"), ("OPR/", "Opera"), ("SamsungBrowser", "Samsung Internet"), ("Firefox/", "Firefox"), ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"), ("Chrome/", "Chrome"), ("Safari/", "Safari"),
)  # fmt: skip
_SYSTEMS = (
    ("iPhone", "an iPhone"), ("iPad", "an iPad"), ("Android", "Android"), ("Windows", "Windows"), ("CrOS", "ChromeOS"),
    ("Macintosh", "a Mac"), ("Linux", "Linux"),
)  # fmt: skip


def describe_device(user_agent: str) -> str:
    """Browser and system in words, from the browser's own header (RFC 9110 section 10.1.5); never anything it says itself."""
    said = user_agent[:_LONGEST_AGENT]
    browser = next((name for mark, name in _BROWSERS if mark in said), "")
    system = next((name for mark, name in _SYSTEMS if mark in said), "")
    return f"{browser or 'A browser'} on {system}" if system else browser
