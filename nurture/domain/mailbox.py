"""Which spellings of an address reach one mailbox: only for limits. Who somebody is, is decided by the whole address."""

_DOTS_IGNORED = frozenset({"gmail.com", "googlemail.com"})
"""Gmail Help, "Dots don't matter in Gmail addresses". Google Workspace domains do mind dots."""
_MARKS_IGNORED = frozenset({"proton.me", "protonmail.com", "protonmail.ch", "pm.me"})
"""Proton Mail ignores dots, hyphens and underscores in a user name (Proton support, "Addresses and aliases")."""
_SAME_DOMAIN = {
    "googlemail.com": "gmail.com",  # Gmail Help, "Gmail in the UK and Germany"
    "protonmail.com": "proton.me", "protonmail.ch": "proton.me", "pm.me": "proton.me",  # Proton support, "pm.me addresses"
    "me.com": "icloud.com", "mac.com": "icloud.com",  # Apple Support, "About your @icloud.com, @me.com, and @mac.com addresses"
    "ya.ru": "yandex.ru", "yandex.com": "yandex.ru", "yandex.by": "yandex.ru", "yandex.kz": "yandex.ru",  # Yandex Mail Help
}  # fmt: skip


def mailbox_of(address: str) -> str:
    """The mailbox that a canonical address (lower case, domain as A-label) belongs to, as far as spelling tells.

    What follows a “+” is left out at every provider: RFC 5233 names it the usual separator, and Gmail, Outlook, iCloud,
    Fastmail, Proton, Yandex and most mail servers deliver to what stands before it. Dots and other marks are left out only
    where a provider says that it ignores them.
    """
    local, _, domain = address.rpartition("@")
    local = local.partition("+")[0] or local
    if domain in _DOTS_IGNORED:
        local = local.replace(".", "") or local
    elif domain in _MARKS_IGNORED:
        local = local.translate(str.maketrans("", "", ".-_")) or local
    return f"{local}@{_SAME_DOMAIN.get(domain, domain)}"
