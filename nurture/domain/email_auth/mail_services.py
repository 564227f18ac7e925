"""What is known of mail services: those that carry the letters, and those that give addresses away."""

import re
from dataclasses import dataclass

SENDGRID = "sendgrid"


@dataclass(frozen=True)
class Service:
    """A service that carries mail for domains of its customers."""

    name: str
    hosts: tuple[str, ...]
    """Its servers are at, or below, these names."""
    include: str = ""
    """What the list of a customer's domain draws in (SPF); empty: nothing, the service answers for its servers elsewhere."""
    selectors: tuple[str, ...] = ()
    """Under which its customers' keys stand (DKIM, RFC 6376 section 3.1)."""
    fixed: bool = False
    """Whether they are the same for every customer; otherwise they are where it puts them unless told otherwise."""
    target: str = ""
    """What the CNAME of a selector leads to, with {selector} and {domain}; empty: each customer is told something else."""
    where: str = ""
    """Where a customer is shown what to do."""


_SENDGRID = Service(
    "SendGrid", ("sendgrid.net", "sendgrid.com"), selectors=("s1", "s2"), fixed=True,
    where="Log in to SendGrid and open Settings, Sender Authentication, Authenticate Your Domain.",
)  # fmt: skip
"""Source: SendGrid's guide "How to set up domain authentication"."""
_SERVICES = (
    _SENDGRID,
    Service(
        "Google", ("gmail.com", "google.com", "googlemail.com"), "_spf.google.com", ("google",),
        where="Log in to Google's admin page and open Apps, Google Workspace, Gmail, Authenticate email.",
    ),
    Service(
        "Microsoft", ("office365.com", "outlook.com"), "spf.protection.outlook.com", ("selector1", "selector2"), fixed=True,
        where="Log in to security.microsoft.com and open Email authentication settings, DKIM.",
    ),
    Service(
        "Fastmail", ("fastmail.com", "messagingengine.com"), "spf.messagingengine.com", ("fm1", "fm2", "fm3"), fixed=True,
        target="{selector}.{domain}.dkim.fmhosted.com", where="Log in to Fastmail and open Settings, Domains.",
    ),
    Service(
        "Proton", ("protonmail.ch", "proton.me"), "_spf.protonmail.ch", ("protonmail", "protonmail2", "protonmail3"),
        fixed=True,
        where="Log in to Proton and open Settings, Domain names.",
    ),
)  # fmt: skip
"""As their help pages say; only Fastmail's and Proton's were read for this. The rest is found by its names, or not at all."""


def service_of(carrier: str) -> Service | None:
    """The service behind a mailer: `sendgrid`, or the host of an SMTP server; None if it is not one of those we know."""
    if carrier == SENDGRID:
        return _SENDGRID
    return next((one for one in _SERVICES if any(is_below(carrier, host) for host in one.hosts)), None)


def is_below(name: str, domain: str) -> bool:
    """Whether a name is a domain, or lies below it."""
    return name == domain or name.endswith(f".{domain}")


_FREE = frozenset(
    re.findall(
        r"\S+",
        """
    gmail.com googlemail.com aol.com icloud.com me.com mac.com msn.com live.com live.ca live.co.uk live.com.au live.de live.fr
    live.nl ymail.com rocketmail.com proton.me protonmail.com pm.me fastmail.com fastmail.fm hey.com tutanota.com tuta.com
    tuta.io mail.com email.com zohomail.com yandex.com yandex.ru mail.ru qq.com 163.com 126.com web.de t-online.de freenet.de
    posteo.de mailbox.org arcor.de orange.fr wanadoo.fr free.fr sfr.fr laposte.net libero.it virgilio.it tiscali.it bluewin.ch
    ziggo.nl btinternet.com sky.com virginmedia.com talktalk.net comcast.net att.net sbcglobal.net bellsouth.net verizon.net
    cox.net charter.net earthlink.net juno.com optonline.net rogers.com shaw.ca sympatico.ca telus.net bigpond.com
    optusnet.com.au xtra.co.nz naver.com rediffmail.com hushmail.com
        """,
    )
)
_FREE_EVERYWHERE = re.compile(r"(yahoo|hotmail|outlook|gmx)\.(com|net|[a-z]{2}|com?\.[a-z]{2})")


def gives_addresses_away(domain: str) -> bool:
    """Whether anybody can have an address there. Its owner says who may send from it, and we never may: Gmail, Yahoo and
    others quarantine or refuse what claims to come from them and does not ("Email sender guidelines" of Gmail: "Don't
    impersonate Gmail From: headers"; Yahoo publishes p=reject).
    """
    return domain in _FREE or _FREE_EVERYWHERE.fullmatch(domain) is not None
