"""What to do when mail does not go out: in plain words, and a message to send on to whoever runs the service."""

from dataclasses import dataclass

from nurture.services.operations.dashboard import AttentionKind


@dataclass(frozen=True)
class Help:
    """A page about one trouble. `message` is for whoever runs the service, and may name commands."""

    heading: str
    means: str
    steps: tuple[str, ...]
    message: str


_NOTHING_LOST = "Nothing is lost: people can still sign up, and every letter that is due waits and goes out afterwards."
_NOBODY_TWICE = "There is no need to send anything by hand. Nobody misses a letter, and nobody gets one twice."

HELP = {
    AttentionKind.REFUSED: Help(
        "Your mail service refuses all mail",
        f"The service that carries your letters, SendGrid for example, refuses every one of them. "
        f"The desk's first page quotes its answer. {_NOTHING_LOST}",
        (
            "Wait half an hour, and look at the desk again: it is tried again by itself, and most refusals pass.",
            "See whether a message from your mail service lies in your own inbox: an unpaid bill, a limit, or a question.",
            "If it is still so after an hour, send the message below to whoever runs the service.",
            _NOBODY_TWICE,
        ),
        "nurture says that the mail service refuses all mail. `nurture sending status` shows its answer. SendGrid: "
        "401 or 403 is a wrong or revoked key, 429 a limit. SMTP: 535 is a wrong user or password, 550 or 553 at MAIL "
        "a sender's address that is not yours, 5.4.5 a limit. See “When sending stops” in docs/operations.md.",
    ),
    AttentionKind.CLOCK: Help(
        "Sending has stopped, to be safe",
        "The computer's clock, or what the service remembers of the letters, is not where it was. Before a letter could go out "
        f"at the wrong time, or a second time, it stopped. {_NOTHING_LOST}",
        (
            "Send the message below to whoever runs the service: a person has to look at it.",
            _NOBODY_TWICE,
        ),
        "nurture has stopped all sending because a clock jumped, or because the database is older than it was (a backup was "
        "restored). `nurture sending status` says which. See “When sending stops” in docs/operations.md before starting "
        "it again.",
    ),
    AttentionKind.SILENT: Help(
        "The part that sends letters is not running",
        f"The desk answers, but the part beside it that looks every few seconds for letters to send does not. {_NOTHING_LOST}",
        (
            "If somebody is just updating or restarting the service, wait five minutes, and look at the desk again.",
            "If it is still so, send the message below to whoever runs the service.",
            _NOBODY_TWICE,
        ),
        "nurture's scheduler is silent: no process has ticked lately. Is `nurture worker` (or `nurture serve` with its "
        "scheduler) running, and does it reach the database? `nurture tick --status` says when it last ticked. See “Health” in "
        "docs/operations.md.",
    ),
    AttentionKind.LATE: Help(
        "Some letters are late",
        f"They were due a while ago and have not left yet. Very many letters at once take their time. {_NOTHING_LOST}",
        (
            "Wait a quarter of an hour, and look at the desk again: they go out by themselves.",
            "If it is still so after an hour, send the message below to whoever runs the service.",
            _NOBODY_TWICE,
        ),
        "nurture's mail is late although its scheduler ticks and nothing stops it. `nurture tick --status` says how many are "
        "due and for how long; `job_failed` and `request_not_accepted` in the log say why. See “Health” in docs/operations.md.",
    ),
    AttentionKind.CONFIRMATIONS: Help(
        "Mails that ask to confirm wait for you",
        "Either far more people than usual signed up within an hour, or hardly anybody of those who did has confirmed. That "
        "can be good news, such as an article about you. It can also be somebody who types other people’s addresses into the "
        "form, and then each mail would annoy a stranger. People can still sign up; the page tells them that their mail comes "
        "later. Letters to everybody on the list go out as always.",
        (
            "Ask yourself whether something explains it: an article, a talk, a link that somebody shared.",
            "If so, press “Let them go on”: everybody who waits gets the mail at once.",
            "If nothing does, go on without those who wait. Whoever really wanted the letters can sign up again.",
            "After either press it is counted anew. If it stops again within hours, send the message below.",
        ),
        "nurture holds back confirmation mails: more than NURTURE_CONFIRMATIONS_PER_HOUR in an hour, or under 15 in 100 of at "
        "least 30 were answered. `confirmations_wait` in the log says which. If a program fills in the form, block it at the "
        "proxy, and see whether NURTURE_TRUSTED_PROXIES is set. See “Sign-ups by strangers” in docs/operations.md.",
    ),
    AttentionKind.NETWORKS: Help(
        "Visitors cannot be told apart",
        "The service is reached through another program, a proxy, and has not been told which. So it does not know where a "
        "visitor comes from, and cannot limit how many sign-ups come from one place. Everything else works as always.",
        ("Send the message below to whoever runs the service. It is one line to add.",),
        "nurture sits behind a proxy, and NURTURE_TRUSTED_PROXIES is not set, so sign-ups are not limited by network. Set it "
        "to the address that the proxy connects from, for example 127.0.0.1. See “Sign-ups by strangers” in "
        "docs/operations.md.",
    ),
}  # fmt: skip
"""What nobody at the desk can mend alone."""
