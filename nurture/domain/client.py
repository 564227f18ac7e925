"""Who asks, from the outside: the network a client is in, and the browser it says it is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Client:
    """Who types a password or a code."""

    network: str = ""
    """As `client_network.network_of` says; tries of a client without one are not counted together."""
    device: str = ""
    """The id in the cookie of a browser in which somebody has logged in before, if it has one."""
    described: str = ""
    """Browser and system in words, such as `Firefox on Windows`."""

    def __repr__(self) -> str:
        """Nothing of it."""
        return "Client(‹sealed›)"


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
