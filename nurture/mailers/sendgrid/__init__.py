"""SendGrid: sending, its signed events, its suppression lists and the domains it signs for."""

from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import urlsplit

from nurture.domain.email_auth.mail_services import SENDGRID
from nurture.mailers.base import Mailer
from nurture.mailers.description import ASKS_TO_WAIT, LIMIT_REACHED, FieldsRefused, MailerDescription, MailerField
from nurture.setting_values import ValueRefused, header_value
from nurture.settings import Settings, as_text


class SendGridDescription(MailerDescription):
    """How the desk offers it, and what its answers mean."""

    title = "SendGrid"
    says = "A mail service. It says what became of each letter."
    hint = (
        "There, under Settings, API Keys, make a key with “Restricted access”, “Mail Send” and “Suppressions”. Do not use "
        "SendGrid for patients: it offers no agreement for health data (HIPAA)."
    )
    fields = (
        MailerField(
            "sendgrid_api_key",
            "The key",
            "It begins with SG. and is kept encrypted.",
            "It is kept encrypted. Leave it empty to keep the one that is here.",
            if_empty="Please paste the key. SendGrid shows it once, when it is made.",
            max_length=300,
            is_secret=True,
        ),
        MailerField(
            "sendgrid_webhook_key",
            "The key that signs reports",
            "There, under Settings, Mail Settings, Event Webhook: add the address {base_url}/webhooks/sendgrid/events, switch "
            "on “Signed Event Webhook”, and copy its key. Then the desk knows what arrived.",
            optional=True,
            max_length=400,
        ),
    )
    meanings = (
        LIMIT_REACHED,
        (r"^401\b", "SendGrid does not know this key. Please copy all of it, or make a new one there."),
        (
            r"^403\b",
            "SendGrid knows this key, but does not let it send. Give the key the right “Mail Send”, and check that your "
            "sender address, or its domain, is verified there.",
        ),
        ASKS_TO_WAIT,
        (
            r"^400\b.*\bfrom\b",
            "SendGrid does not take mail from your sender address. Please check it on the page “Sender”.",
        ),
        (
            r"^400\b.*\bto\b",
            "The mail service refused this mail. Most often it does not know your sender address as yours.",
        ),
        (r"no connection to SendGrid", "SendGrid cannot be reached from here. Whoever hosts this service can tell why."),
        (
            r"from SendGrid",
            "SendGrid did not say whether it took the mail. Look into your inbox; if nothing has come, try again.",
        ),
    )

    def create(self, settings: Settings, real_now: Callable[[], datetime]) -> Mailer:
        """With the key and the host of the settings."""
        from nurture.mailers.sendgrid.mailer import SendGrid  # here: it loads SendGrid's library

        return SendGrid(as_text(settings.sendgrid_api_key), settings.sendgrid_host, real_now)

    def host(self, settings: Settings) -> str:
        """That of its API."""
        return urlsplit(settings.sendgrid_host).hostname or ""

    def carrier(self, settings: Settings) -> str:
        """Whatever the host of the API is, SendGrid signs."""
        return SENDGRID

    def check_values(self, changes: Mapping[str, str]) -> None:
        """Both keys, as SendGrid shows them."""
        from nurture.mailers.sendgrid.events import WebhookKeyRefused, read_keys

        if changes.get("sendgrid_webhook_key"):
            try:
                read_keys(changes["sendgrid_webhook_key"])
            except WebhookKeyRefused:
                wrong = "This is not the key SendGrid shows. Copy all of it."
                raise FieldsRefused({"sendgrid_webhook_key": wrong}) from None
        if changes.get("sendgrid_api_key"):
            try:
                header_value(changes["sendgrid_api_key"])
            except ValueRefused:
                wrong = "A key has no spaces, line breaks or accented letters. Please copy all of it, and nothing else."
                raise FieldsRefused({"sendgrid_api_key": wrong}) from None


DESCRIPTION = SendGridDescription()
