"""A reader and a practice to fill letters with."""

from nurture.delivery.render import public_links
from nurture.letters.compiler import Edition
from nurture.letters.filling import Content, fill
from nurture.letters.practice import Facts, Practice

BASE = "https://letters.example.org"
FACTS = Facts("Dana Weber", "LCSW", "L-1234", "Oregon", "free", "20 minutes", "", "3", "PO Box 12, Portland")
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
