"""What exports of other programs say of people."""

import pytest

from nurture.domain.list_status import (
    ColumnRole,
    ListStatus,
    UnknownStatus,
    find_columns,
    may_be_list_of_who_left,
    read_value,
    role_of,
)

ACTIVE, UNCONFIRMED = ListStatus.ACTIVE, ListStatus.UNCONFIRMED
UNSUBSCRIBED, BOUNCED, COMPLAINED = ListStatus.UNSUBSCRIBED, ListStatus.BOUNCED, ListStatus.COMPLAINED


def statuses(text: str) -> list[ListStatus]:
    """Of each row of a table with commas."""
    head, *rows = [line.split(",") for line in text.splitlines()]
    columns = find_columns(head, rows)
    return [columns.status_of(row) for row in rows]


@pytest.mark.parametrize(
    ("program", "text", "expected"),
    [
        ("Mailchimp, unsubscribed",
         "Email Address,First Name,UNSUB_TIME,UNSUB_CAMPAIGN_TITLE,UNSUB_REASON\na@x,A,2025-03-01 10:00:00,May,NORMAL\n"
         "b@x,B,2025-03-02 10:00:00,May,ABUSE\nc@x,C,2025-03-02 10:00:00,,N/A (Unsubscribed by admin)",
         [UNSUBSCRIBED, COMPLAINED, UNSUBSCRIBED]),
        ("Mailchimp, cleaned", "Email Address,MEMBER_RATING,CLEAN_TIME\na@x,2,2025-03-01 10:00:00", [BOUNCED]),
        ("Mailchimp, subscribed",
         "Email Address,MEMBER_RATING,OPTIN_TIME,OPTIN_IP,CONFIRM_TIME,CONFIRM_IP,TIMEZONE\n"
         "a@x,2,2025-03-01 10:00:00,192.0.2.1,2025-03-01 10:05:00,192.0.2.1,Europe/Berlin",
         [ACTIVE]),
        ("Kit", "email,status\na@x,active\nb@x,cancelled\nc@x,bounced\nd@x,complained\ne@x,inactive",
         [ACTIVE, UNSUBSCRIBED, BOUNCED, COMPLAINED, UNCONFIRMED]),
        ("listmonk",
         "email,status,subscription_status\na@x,enabled,confirmed\nb@x,enabled,unconfirmed\nc@x,enabled,unsubscribed\n"
         "d@x,blocklisted,confirmed\ne@x,disabled,confirmed",
         [ACTIVE, UNCONFIRMED, UNSUBSCRIBED, UNSUBSCRIBED, UNSUBSCRIBED]),
        ("Keila", "Email,First name,Last name,Status\na@x,A,A,active\nb@x,B,B,unsubscribed\nc@x,C,C,unreachable",
         [ACTIVE, UNSUBSCRIBED, BOUNCED]),
        ("Ghost",
         "id,email,name,subscribed_to_emails,email_disabled,created_at,deleted_at\n1,a@x,A,true,false,2024-01-01T00:00:00Z,\n"
         "2,b@x,B,false,false,2024-01-01T00:00:00Z,\n3,c@x,C,true,true,2024-01-01T00:00:00Z,\n"
         "4,d@x,D,true,0,2024-01-01T00:00:00Z,2024-05-01T00:00:00Z",
         [ACTIVE, UNSUBSCRIBED, UNSUBSCRIBED, UNSUBSCRIBED]),
        ("Brevo", "CONTACT ID,EMAIL,DOUBLE_OPT-IN,OPT_IN,emailBlacklisted,ADDED_TIME\n1,a@x,Yes,true,false,01-02-2024 10:00\n"
         "2,b@x,Yes,true,true,01-02-2024 10:00\n3,c@x,No,true,false,01-02-2024 10:00",
         [ACTIVE, UNSUBSCRIBED, UNCONFIRMED]),
        ("MailerLite", "Subscriber,Status,Subscribed,Unsubscribed,Opt-in IP\na@x,Active,2024-01-01 10:00:00,,192.0.2.1\n"
         "b@x,Unsubscribed,2024-01-01 10:00:00,2024-02-01 10:00:00,\nc@x,Junk,2024-01-01 10:00:00,,\nd@x,Bounced,,,\n"
         "e@x,Unconfirmed,,,",
         [ACTIVE, UNSUBSCRIBED, COMPLAINED, BOUNCED, UNCONFIRMED]),
        ("ActiveCampaign", "Email,Status\na@x,Active\nb@x,Unsubscribed\nc@x,Bounced\nd@x,Unconfirmed",
         [ACTIVE, UNSUBSCRIBED, BOUNCED, UNCONFIRMED]),
        ("Substack", "email,active_subscription,expiry,plan,email_disabled,created_at\na@x,false,,other,false,2024-01-01\n"
         "b@x,true,,yearly,true,2024-01-01",
         [ACTIVE, UNSUBSCRIBED]),
        ("SendGrid, bounces", "status,reason,email,created\n5.1.1,550 no such user,a@x,1700000000\n550,gone,b@x,1700000000",
         [BOUNCED, BOUNCED]),
        ("HubSpot", "Email,Unsubscribed from all email\na@x,true\nb@x,", [UNSUBSCRIBED, ACTIVE]),
        ("Shopify", "Email,Accepts Email Marketing\na@x,yes\nb@x,no", [ACTIVE, UNSUBSCRIBED]),
        ("Salesforce", "Email,Email Opt Out\na@x,1\nb@x,0", [UNSUBSCRIBED, ACTIVE]),
        ("plain", "mail,opt_out,bounced,do_not_mail\na@x,no,,\nb@x,yes,,\nc@x,,1,\nd@x,,,TRUE\ne@x,0,3 March 2025,",
         [ACTIVE, UNSUBSCRIBED, BOUNCED, UNSUBSCRIBED, BOUNCED]),
        ("a column by another name", "mail,Zustand\na@x,active\nb@x,unsubscribed", [ACTIVE, UNSUBSCRIBED]),
        ("no status at all", "mail,name,city\na@x,Ann,Left Bank\nb@x,Bob,Spam", [ACTIVE, ACTIVE]),
    ],
)  # fmt: skip
def test_each_program_s_export_is_understood(program: str, text: str, expected: list[ListStatus]) -> None:
    assert statuses(text) == expected, program


@pytest.mark.parametrize(
    "text",
    [
        "email,status\na@x,vip",
        "email,status\na@x,",
        "email,status\na@x,7",
        "email,opt_out\na@x,maybe",
        "email,subscribed\na@x,?",
    ],
)
def test_what_nobody_knows_is_never_guessed(text: str) -> None:
    with pytest.raises(UnknownStatus):
        statuses(text)


def test_how_somebody_agreed_is_found_beside_it() -> None:
    head = ["Email Address", "OPTIN_TIME", "OPTIN_IP", "CONFIRM_TIME", "CONFIRM_IP", "TIMEZONE", "LATITUDE"]
    row = ["a@x", "2025-03-01 10:00:00", "192.0.2.1", "2025-03-01 10:05:00", "192.0.2.2", "Europe/Berlin", "52.5"]
    assert find_columns(head, [row]).evidence_of(row) == {
        ColumnRole.ASKED: row[1], ColumnRole.ASKED_FROM: row[2], ColumnRole.CONFIRMED: row[3],
        ColumnRole.CONFIRMED_FROM: row[4], ColumnRole.ZONE: row[5],
    }  # fmt: skip
    mailerlite = find_columns(["Subscriber", "Subscribed"], [["a@x", "2024-01-01 10:00:00"]])
    assert mailerlite.evidence_of(["a@x", "2024-01-01 10:00:00"]) == {ColumnRole.ASKED: "2024-01-01 10:00:00"}
    assert mailerlite.evidence_of(["a@x", "yes"]) == {}


@pytest.mark.parametrize("name", ["Opt-Out", "OptOut_Date", "opted out", "E-mail opt out", "emailBlacklisted", "UNSUB_TIME"])
def test_names_are_read_however_they_are_written(name: str) -> None:
    assert role_of(name) is ColumnRole.LEFT


@pytest.mark.parametrize("name", ["state", "First Name", "active_subscription", "MEMBER_RATING", "city", ""])
def test_a_column_about_something_else_says_nothing(name: str) -> None:
    assert role_of(name) is None


@pytest.mark.parametrize("value", ["x" * 5_000, "2025-01-01" + "9" * 5_000, "a " * 3_000, "1" * 4_000])
def test_a_long_value_is_refused_at_once(value: str) -> None:
    with pytest.raises(UnknownStatus):
        read_value(ColumnRole.LEFT, value)


def test_a_list_that_only_a_person_can_tell_apart_is_not_guessed() -> None:
    assert may_be_list_of_who_left(["email", "created"])
    assert not may_be_list_of_who_left(["email", "name"])
