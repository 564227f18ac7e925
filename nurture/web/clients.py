"""From which network a visitor's request comes, as far as the settings let us tell."""

from flask import request

from nurture.domain.client_network import find_client, network_of, read_networks
from nurture.web.pages import rt


def client_network() -> str | None:
    """The visitor's network, for limits only; None where nobody can tell (`domain.client_network.find_client`)."""
    forwarded = ",".join(request.headers.getlist("X-Forwarded-For"))
    client = find_client(request.remote_addr, forwarded, read_networks(rt().settings.trusted_proxies))
    return network_of(client) if client is not None else None
