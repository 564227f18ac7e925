"""All tables. Each index says which query needs it.

Instants are UTC. Ids are 128 bits, hex in Python: an hour and random bits (nurture.ids). Personal values are encrypted
(nurture.encryption); every table that grows carries `subscriber_id`, so that it can be partitioned or distributed by it.
"""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from nurture.domain.consultation import RequestOrigin, RequestState
from nurture.domain.delivery import DeliveryKind, State
from nurture.domain.event import EventKind
from nurture.domain.sequence import EnrollmentState, PublicationState
from nurture.domain.subscriber import SubscriberState, Suppression
from nurture.store.core import desk_schema as desk_schema  # whoever wants all tables has these too
from nurture.store.core.columns import EncryptedColumn, Id, Instant, Word
from nurture.store.core.metadata import SERIAL, one_of, where
from nurture.store.core.metadata import metadata as metadata
from nurture.store.core.sign_up_schema import limit_counters as limit_counters
from nurture.store.core.sign_up_schema import link_requests as link_requests
from nurture.store.core.sign_up_schema import sign_ups as sign_ups

app_state = Table(
    "app_state", metadata,
    Column("key", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)  # fmt: skip
"""Facts about this installation: the key's fingerprint, the fast clock's origin."""

heartbeats = Table(
    "heartbeats", metadata,
    Column("name", String(40), primary_key=True),
    Column("at", Instant, nullable=False),
)  # fmt: skip
"""When a job last finished, in real time; /readyz reads the tick's."""

rate_limit = Table(
    "rate_limit", metadata,
    Column("name", String(40), primary_key=True),
    Column("next_at", Instant, nullable=False),
)  # fmt: skip
"""When the next mail of the whole fleet may leave, in real time (NURTURE_MAX_SENDS_PER_SECOND)."""

subscribers = Table(
    "subscribers", metadata,
    Column("id", Id, primary_key=True),
    Column("email_index", LargeBinary(32), nullable=False, unique=True),
    Column("email_encrypted", EncryptedColumn, nullable=False),
    Column("first_name_encrypted", EncryptedColumn),
    Column("time_zone", String(64), nullable=False),
    Column("plain_sender", Boolean),
    Column("state", Word(SubscriberState), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("confirmed_at", Instant),
    Column("left_at", Instant),
    one_of("state", SubscriberState),
    Index("ix_subscribers_unconfirmed", "created_at", **where("state = 'pending'")),  # retention
    Index("ix_subscribers_created_at", "created_at", "id", "state"),  # the list of people, page by page; its counts
    Index("ix_subscribers_left_at", "left_at", "confirmed_at", **where("state = 'unsubscribed'")),  # how long people stay
)  # fmt: skip
"""`plain_sender`: whether the reader chose the plainer sender's name at sign-up."""

consents = Table(
    "consents", metadata,
    Column("id", Id, primary_key=True),
    Column("subscriber_id", Id, ForeignKey("subscribers.id", ondelete="CASCADE"), nullable=False),
    Column("act", String(16), nullable=False),
    Column("wording", Text, nullable=False),
    Column("wording_version", String(20), nullable=False),
    Column("source", String(200), nullable=False),
    Column("at", Instant, nullable=False),
    Column("evidence_encrypted", EncryptedColumn),
    CheckConstraint("act IN ('given', 'confirmed', 'withdrawn', 'restored')", name="act_known"),
    Index("ix_consents_subscriber_id", "subscriber_id"),  # the reader's own record, erasure
    Index("ix_consents_act", "act", "at"),  # sign-ups over time
    Index("ix_consents_source", "act", "source", "subscriber_id", "at"),  # people by where they came from; how many, and when
)  # fmt: skip
"""Append-only: what was shown, what was answered, when, from where. `evidence_encrypted`: what the list of another program
says of when, and from which network address, somebody agreed, as JSON; erasing somebody deletes it."""

suppressions = Table(
    "suppressions", metadata,
    Column("email_index", LargeBinary(32), primary_key=True),
    Column("reason", Word(Suppression), nullable=False),
    Column("at", Instant, nullable=False),
    one_of("reason", Suppression),
)  # fmt: skip

sequences = Table(
    "sequences", metadata,
    Column("id", Id, primary_key=True),
    Column("key", String(80), nullable=False, unique=True),
    Column("title", String(200), nullable=False),
    Column("rules", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="0"),
)  # fmt: skip
"""`rules`: the text of sequence.yaml, kept byte for byte; nurture.letters.source reads it. `version` counts the changes of its
schedule: who saves one says which one they started from. 0: nobody in it can stand elsewhere than the plain order says."""

steps = Table(
    "steps", metadata,
    Column("sequence_id", Id, ForeignKey("sequences.id"), primary_key=True),
    Column("key", String(80), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("file_name", String(120), nullable=False),
    Column("source", Text, nullable=False),
    Column("wait", String(40), nullable=False),
    Column("edition_id", Id, nullable=False),
    Column("if_late", String(40)),
    Column("removed", Boolean, nullable=False, server_default=text("false")),
    UniqueConstraint("sequence_id", "position"),
)  # fmt: skip
"""One step is one letter. `source` is its file byte for byte; `edition_id` is what goes out now; `if_late` is what happens to
a letter that an outage delayed, in the words of its file. `removed`: taken out; it keeps its place, so that whoever got it last
goes on after it, and whoever is pinned to an earlier schedule still gets it."""

schedules = Table(
    "schedules", metadata,
    Column("id", Id, primary_key=True),
    Column("sequence_id", Id, ForeignKey("sequences.id"), nullable=False),
    Column("rules", Text, nullable=False),
    Column("steps", Text, nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("made_by", String(120), nullable=False),
    Column("version", Integer),
)  # fmt: skip
"""A sequence as it was before an edit, for readers whom the edit does not reach: the text of its rules, and as JSON each step's
key, wait, lateness and whether it was removed, in order. The letters themselves are the steps' current editions. With a
`version` it is no reader's: the sequence as it was at that version, kept to go back to. Real time."""

editions = Table(
    "editions", metadata,
    Column("id", Id, primary_key=True),
    Column("sequence_id", Id, ForeignKey("sequences.id"), nullable=False),
    Column("step_key", String(80), nullable=False),
    Column("subject", Text, nullable=False),
    Column("html", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("published_at", Instant, nullable=False),
    Column("source", Text),
    Column("published_by", String(120)),
    Column("number", Integer),
    Index("ix_editions_sequence_id_step_key", "sequence_id", "step_key"),  # history of a letter
)  # fmt: skip
"""Immutable published versions: finished subject, HTML and text templates, and the letter's file they were made of (empty in
editions older than the desk). `number`: the how-manieth of its letter, from 1; `published_at` may jump with the clock."""

images = Table(
    "images", metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(80), nullable=False, unique=True),
    Column("content", LargeBinary, nullable=False),
    Column("size", Integer, nullable=False),
    Column("subtype", String(8), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("alt", Text, nullable=False),
    Column("added_at", Instant, nullable=False),
    Column("added_by", String(120), nullable=False),
    Column("used_at", Instant, nullable=False),
    CheckConstraint("subtype IN ('png', 'jpeg')", name="subtype_known"),
)  # fmt: skip
"""Pictures of letters, as they travel: nothing in them but the picture. `id` is half of the SHA-256 of `content`, so that no
picture is here twice and none ever changes; `alt`: the words that stood for it when it came; `used_at`: when a letter was last
seen to show it. Real time."""

edition_images = Table(
    "edition_images", metadata,
    Column("edition_id", Id, ForeignKey("editions.id", ondelete="CASCADE"), primary_key=True),
    Column("image_id", Id, ForeignKey("images.id"), primary_key=True),
    Index("ix_edition_images_image_id", "image_id"),  # retention: whether any edition shows it
)  # fmt: skip
"""Which pictures an edition shows. While one does, the database keeps the picture."""

drafts = Table(
    "drafts", metadata,
    Column("sequence_id", Id, ForeignKey("sequences.id"), primary_key=True),
    Column("step_key", String(80), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("saved_at", Instant, nullable=False),
    Column("saved_by", Id),
    Column("after_step", String(80)),
)  # fmt: skip
"""A letter somebody works on, as a file. `version` counts its saves: who saves says which one they started from. `after_step`:
where a letter that is not published yet will stand; empty for the first place, nothing for the last. Real time."""

publications = Table(
    "publications", metadata,
    Column("id", SERIAL, primary_key=True),
    Column("sequence_key", String(80), nullable=False),
    Column("files", Text, nullable=False),
    Column("state", Word(PublicationState), nullable=False),
    Column("asked_at", Instant, nullable=False),
    Column("asked_by", String(120), nullable=False),
    Column("done", Integer, nullable=False, server_default="0"),
    Column("total", Integer, nullable=False, server_default="0"),
    Column("troubles", Text, nullable=False, server_default="[]"),
    Column("owner", String(120)),
    Column("lease_until", Instant),
    Column("finished_at", Instant),
    Column("partial", Boolean, nullable=False, server_default=text("false")),
    one_of("state", PublicationState),
    Index("ix_publications_waiting", "id", **where("state = 'checking'")),  # what is still to be tried
)  # fmt: skip
"""Letters on their way to becoming editions: `files` is the folder as JSON, tried on every living reader first. `done` of
`total` readers are through; `troubles` is a JSON list (domain.problem). `partial`: `files` are only the letters that change.
Real time; `owner` is at it until `lease_until`."""

enrollments = Table(
    "enrollments", metadata,
    Column("id", Id, primary_key=True),
    Column("subscriber_id", Id, ForeignKey("subscribers.id", ondelete="CASCADE"), nullable=False),
    Column("sequence_id", Id, ForeignKey("sequences.id"), nullable=False),
    Column("state", Word(EnrollmentState), nullable=False),
    Column("reason", String(40)),
    Column("anchor_at", Instant, nullable=False),
    Column("last_step", String(80)),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("paused_at", Instant),
    Column("schedule_id", Id),
    Column("next_step", String(80)),
    one_of("state", EnrollmentState),
    Index("ix_enrollments_subscriber_id", "subscriber_id"),  # a person's enrollments: leaving, coming back
    Index(  # one running enrollment for a person and sequence
        "uq_enrollments_running", "subscriber_id", "sequence_id", unique=True, **where("state IN ('active', 'paused')")
    ),
    Index("ix_enrollments_active", "sequence_id", "id", **where("state = 'active'")),  # an edit; plan: who has no next row
    Index("ix_enrollments_paused", "sequence_id", "id", **where("state = 'paused'")),  # an edit; the desk's list of who is held
    Index("ix_enrollments_standing", "subscriber_id", "state"),  # the list of people, by where they stand
    Index("ix_enrollments_place", "sequence_id", "last_step", "state", "subscriber_id"),  # the list's filters
    Index("ix_enrollments_funnel", "sequence_id", "last_step", "state", "reason", "started_at"),  # the numbers, in its groups
)  # fmt: skip
"""One reader in one sequence. `anchor_at`: from when the next wait counts (domain.timeline). `paused_at`: since when what is
left of the wait is frozen. `schedule_id`: the schedule they are pinned to; empty: the sequence as it is. `next_step`: where
they go on, if that is not simply after `last_step` (an edit changed the order)."""

deliveries = Table(
    "deliveries", metadata,
    Column("id", Id, primary_key=True),
    Column("kind", Word(DeliveryKind), nullable=False),
    Column("state", Word(State), nullable=False),
    Column("subscriber_id", Id, ForeignKey("subscribers.id", ondelete="CASCADE")),
    Column("email_index", LargeBinary(32)),
    Column("enrollment_id", Id, ForeignKey("enrollments.id", ondelete="CASCADE")),
    Column("step_key", String(80)),
    Column("edition_id", Id),
    Column("consultation_id", Id, ForeignKey("consultations.id", ondelete="SET NULL")),
    Column("login_link_id", Id, ForeignKey("login_links.id", ondelete="SET NULL")),
    Column("test_email_id", Id, ForeignKey("test_emails.id", ondelete="SET NULL")),
    Column("account_change_id", Id, ForeignKey("account_changes.id", ondelete="SET NULL")),
    Column("planned_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("batch_id", Id),
    Column("request_id", Id),
    Column("owner", String(120)),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("lease_until", Instant),
    Column("claimed_at", Instant),
    Column("marked_at", Instant),
    Column("sending_at", Instant),
    Column("accepted_at", Instant),
    Column("unknown_since", Instant),
    Column("provider_message", String(120)),
    Column("reason", String(200)),
    Column("created_at", Instant, nullable=False),
    one_of("kind", DeliveryKind),
    one_of("state", State),
    CheckConstraint("(kind = 'letter') = (enrollment_id IS NOT NULL AND step_key IS NOT NULL)", name="letter_has_step"),
    CheckConstraint(
        "(kind IN ('notice', 'login_link', 'test_email', 'account_change')) = (subscriber_id IS NULL)",
        name="mail_to_desk_has_no_subscriber",
    ),
    Index("ix_deliveries_due", "due_at", "id", **where("state = 'scheduled'")),  # claim
    Index("ix_deliveries_in_flight", "lease_until", **where("state IN ('claimed', 'sending')")),  # reconcile
    Index("ix_deliveries_attention", "state", **where("state IN ('unknown', 'held', 'failed')")),  # tick --status
    Index("ix_deliveries_subscriber_id", "subscriber_id"),  # leaving cancels; confirmations asked before
    Index("ix_deliveries_accepted_at", "accepted_at", **where("accepted_at IS NOT NULL")),  # mails sent in a span of time
    Index(  # and those that came back
        "ix_deliveries_returned", "accepted_at", "state", "step_key", "enrollment_id",
        **where("state IN ('bounced', 'dropped', 'complained')"),
    ),
    Index("ix_deliveries_consultation_id", "consultation_id", **where("consultation_id IS NOT NULL")),  # erasure
    Index("ix_deliveries_login_link_id", "login_link_id", **where("login_link_id IS NOT NULL")),  # retention
    Index("ix_deliveries_test_email_id", "test_email_id", **where("test_email_id IS NOT NULL")),  # what became of one
    Index("ix_deliveries_account_change_id", "account_change_id", **where("account_change_id IS NOT NULL")),  # retention
    Index("uq_deliveries_step", "enrollment_id", "step_key", unique=True, **where("enrollment_id IS NOT NULL")),
    # Claimed rows churn: room on the page and early vacuum keep the due index short (reference: queue-like tables).
    postgresql_with={"fillfactor": 80, "autovacuum_vacuum_scale_factor": 0.01},
)  # fmt: skip
"""The ledger: one row per mail to one person, whatever its kind. `planned_at` is what the timeline promised (UTC),
`due_at` when it is looked at next (later after a refusal). `batch_id`: the claim that holds it; `request_id`: the HTTP request
it entered, drawn anew for each, so that an answer or an event of an earlier one is told apart. `owner`: the process that
holds it. `marked_at`: when it was marked `sending` on the timeline, for the guards. `claimed_at`, `lease_until`, `sending_at`
and `unknown_since` are real time. `consultation_id` and the three after it: what
a mail is about; one that is empty where its kind needs it is of something that is gone."""

delivery_history = Table(
    "delivery_history", metadata,
    Column("id", SERIAL, primary_key=True),
    Column("delivery_id", Id, ForeignKey("deliveries.id", ondelete="CASCADE"), nullable=False),
    Column("subscriber_id", Id),
    Column("state", Word(State), nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", String(120), nullable=False),
    Column("reason", String(200)),
    Column("attempt", Integer, nullable=False),
    Column("request_id", Id),
    Index("ix_delivery_history_delivery_id", "delivery_id"),  # one delivery's story
    sqlite_autoincrement=True,
)  # fmt: skip
"""What the ledger's row cannot say itself: every move other than the plain way forward, and the attempt it ended.
The plain way (planned, claimed, sending, accepted) is in the row's own columns. Real time; `actor`: a process or a person."""

provider_events = Table(
    "provider_events", metadata,
    Column("id", SERIAL, primary_key=True),
    Column("provider_id", String(100), unique=True),
    Column("dedup_key", LargeBinary(16), nullable=False, unique=True),
    Column("kind", Word(EventKind), nullable=False),
    Column("delivery_id", Id),
    Column("request_id", Id),
    Column("subscriber_id", Id),
    Column("at", Instant, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("detail", String(80)),
    one_of("kind", EventKind),
    Index("ix_provider_events_delivery_id", "delivery_id"),  # one delivery's story, confirmed duplicates
    Index("ix_provider_events_received_at", "received_at"),  # retention
    sqlite_autoincrement=True,
)  # fmt: skip
"""What the provider reported, once each: `provider_id` is its own id, `dedup_key` a hash of message, type and time, for reports
that are repeated under a new id. No address. `subscriber_id` is empty for an orphan: a delivery this database does not know.
`delivery_id` is no foreign key: an event may be of another database. Real time."""

suppression_pushes = Table(
    "suppression_pushes", metadata,
    Column("id", Id, primary_key=True),
    Column("subscriber_id", Id, ForeignKey("subscribers.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("act", String(8), nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="0"),
    CheckConstraint("act IN ('add', 'remove')", name="act_known"),
    Index("ix_suppression_pushes_due_at", "due_at"),  # what is to be told the provider next
)  # fmt: skip
"""What the provider's own suppression list has not been told yet, the newest word per reader. Real time."""

send_blocks = Table(
    "send_blocks", metadata,
    Column("name", String(20), primary_key=True),
    Column("blocked_at", Instant),
    Column("until", Instant),
    Column("reason", String(200)),
    Column("actor", String(120)),
)  # fmt: skip
"""What stops all sending of the whole fleet: nothing is claimed or marked while a block is active. One row each, always there.
`until` empty: until a person opens it. Real time."""

consultations = Table(
    "consultations", metadata,
    Column("id", Id, primary_key=True),
    Column("subscriber_id", Id, ForeignKey("subscribers.id", ondelete="SET NULL")),
    Column("details_encrypted", EncryptedColumn, nullable=False),
    Column("state", Word(RequestState), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("changed_at", Instant),
    Column("origin", Word(RequestOrigin)),
    Column("email_index", LargeBinary(32)),
    Column("looked_up_at", Instant),
    one_of("state", RequestState),
    Index("ix_consultations_created_at", "created_at"),  # the desk's list
    Index("ix_consultations_subscriber_id", "subscriber_id"),  # erasure
    Index("ix_consultations_to_look_up", "created_at", **where("origin = 'form' AND looked_up_at IS NULL")),  # whom to ask
)  # fmt: skip
"""Requests for a call. `details_encrypted`: the answers as JSON, encrypted as one value. `subscriber_id`: who made it, where
that is proven; `email_index`: the blind index of the address that was typed, which proves nothing. `origin` is empty in
rows that a version without it wrote. `looked_up_at`: when it was looked whether the address is on the list (real time)."""
