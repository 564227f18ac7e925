"""A reader and a practice to fill letters with."""

from nurture.delivery.render import public_links
from nurture.letters.compiler import Edition
from nurture.letters.filling import Content, fill
from nurture.letters.practice import Practice, known_facts

BASE = "https://letters.example.org"
FACTS = known_facts(
    name="Dana Weber",
    credential="LCSW",
    license="L-1234",
    state="Oregon",
    fee="free",
    call_length="20 minutes",
    reply_days="3",
    postal_address="PO Box 12, Portland",
)
VALUES = Practice(FACTS).values() | {
    "reader": {"first_name": "Zoë", "signed_up_on": "2 March 2026"},
    "links": public_links(BASE) | {
        "unsubscribe": f"{BASE}/unsubscribe/TOKEN", "consultation": f"{BASE}/consultation?t=TOKEN&a=b",
        "confirm": f"{BASE}/confirm/TOKEN", "desk": f"{BASE}/desk/consultations/1",
    },
}  # fmt: skip


def a_sample(edition: Edition, **reader: str) -> Content:
    """The edition as one reader gets it."""
    return fill(edition, VALUES | {"reader": VALUES["reader"] | reader})
