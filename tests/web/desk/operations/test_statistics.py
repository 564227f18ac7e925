"""The numbers page: drawn, with its tables, and nothing in it that points to one person."""

import re
from itertools import pairwise
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update

from nurture.domain.delivery import State
from nurture.domain.rounding import rounded
from nurture.runtime import Runtime
from nurture.services.addresses import parse_address
from nurture.services.operations import statistics
from nurture.services.operations.statistics import Range
from nurture.services.subscribers import consultations, unsubscribe
from nurture.services.subscribers.unsubscribe import Exit
from nurture.store.core.schema import deliveries
from nurture.web.desk.operations import charts
from nurture.web.desk.operations.charts import Bar, ReferenceLine
from tests.clocks import ManualClock
from tests.desk import enter
from tests.people import a_subscriber, due, run_tick, sign_up


@pytest.fixture
def desk(client: FlaskClient, rt: Runtime) -> FlaskClient:
    enter(client, rt)
    return client


def crowd(rt: Runtime, clock: ManualClock) -> None:
    """Seven have had the welcome, and six of them a letter more; five of those left after it, and one asked for a call."""
    readers = [a_subscriber(rt) for _ in range(7)]
    sign_up(rt)
    run_tick(rt)
    first, *others = readers
    unsubscribe.unsubscribe(rt, first.id, Exit.PAGE)
    at = due(rt, others[0])
    assert at
    clock.at = at
    run_tick(rt)
    for reader in others[:5]:
        unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    email = others[5].email
    asked = consultations.ConsultationRequest("Robin", email, "Oregon", "email", "", False, "Tuesdays")
    consultations.request_consultation(rt, asked, parse_address(email), others[5].id)


def test_the_counts_behind_the_page_are_right(rt: Runtime, clock: ManualClock) -> None:
    crowd(rt, clock)
    found = statistics.load(rt, Range.MONTH, ZoneInfo("UTC"))
    assert (sum(b.asked for b in found.buckets), sum(b.confirmed for b in found.buckets), found.began) == (8, 7, 7)
    ((_, steps),) = found.funnels
    assert [(step.sent, step.left, step.asked) for step in steps] == [(7, 1, 0), (6, 5, 1), *[(0, 0, 0)] * 4]
    assert found.stays == (1, 5, 0, 0, 0, 0)
    assert found.sources == (("/", 8),)
    assert found.mail.sent == 1 + 7 + 6
    clock.advance(days=200)
    assert statistics.load(rt, Range.MONTH, ZoneInfo("UTC")).mail.sent == 0
    for back in (Range.YEAR, Range.ALL):
        older = statistics.load(rt, back, ZoneInfo("America/New_York"))
        assert (sum(b.asked for b in older.buckets), older.stays) == (8, found.stays)


def test_bars_cover_the_whole_time_without_a_gap(rt: Runtime, clock: ManualClock) -> None:
    sign_up(rt)
    zone = ZoneInfo("Europe/Berlin")
    for days, back, bars in (
        (0, Range.ALL, 1),
        (0, Range.MONTH, 6),
        (0, Range.QUARTER, 13),
        (0, Range.YEAR, 12),
        (900, Range.ALL, 10),
    ):
        clock.advance(days=days)
        buckets = statistics.load(rt, back, zone).buckets
        assert len(buckets) == bars, back
        for one, following in pairwise(buckets):
            assert (following.first - one.last).days == 1
        assert buckets[0].first <= clock.at.astimezone(zone).date() <= buckets[-1].last
    assert sum(each.asked for each in buckets) == 1


def test_nothing_small_is_told_not_even_by_a_difference(desk: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    crowd(rt, clock)
    enter(desk, rt)
    page = desk.get("/desk/numbers?back=30-days").text
    assert "<strong>10</strong> asked for the letters, <strong>5</strong> confirmed." in page
    cells = re.findall(r"<t[dh][^>]*>([^<]+)</t[dh]>", page)
    people = [cell for cell in cells if cell.isdigit() and cell != "14"]  # 14: mails, which are no people
    assert people
    assert all(int(cell) % 5 == 0 for cell in people)
    assert "fewer than 5" in cells


def test_a_whole_that_is_small_has_no_drawing(desk: FlaskClient, rt: Runtime) -> None:
    for _ in range(4):
        a_subscriber(rt)
    run_tick(rt)
    page = desk.get("/desk/numbers").text
    assert "Too few people for a drawing." in page
    assert '<svg class="chart"' in page  # of mails, which are no people
    assert 'id="came-title"' not in page
    assert 'id="sources-title"' not in page
    assert 'id="funnel-welcome-title"' not in page


@pytest.mark.parametrize(("state", "heading"), [(State.BOUNCED, "Mail that came back"), (State.COMPLAINED, "Reported as spam")])
def test_what_mail_services_mind_is_measured_against_their_limits(
    desk: FlaskClient, rt: Runtime, state: State, heading: str
) -> None:
    readers = [a_subscriber(rt) for _ in range(10)]
    run_tick(rt)
    chosen = select(deliveries.c.id).where(deliveries.c.subscriber_id.in_([each.id for each in readers[:5]]))
    with rt.database.begin() as db:
        db.execute(update(deliveries).where(deliveries.c.id.in_(chosen), deliveries.c.kind == "letter").values(state=state))
    page = desk.get("/desk/numbers").text
    part = page.split(f">{heading}</h2>", 1)[1].split("</section>", 1)[0]
    assert "<strong>50.00 %</strong> of 10 mails" in part
    assert "Above what Gmail wants to see" in part
    assert "With fewer than 1,000 mails" in part


def test_an_empty_page_says_so(desk: FlaskClient) -> None:
    for back in ("30-days", "90-days", "year", "all", "nonsense"):
        page = desk.get(f"/desk/numbers?back={back}")
        assert page.status_code == 200
        assert "Nobody asked for the letters in this time." in page.text
        assert "No mail went out in this time." in page.text


def test_charts_are_wellformed_named_and_hold_no_style() -> None:
    places = [
        Bar(label, (rounded(count), rounded(count // 2))) for label, count in (("<b>", 3), ("June & July", 140), ("x", 0))
    ]
    drawn = [
        charts.bars("a", "Title <i>", "Said", places), charts.rows("b", "Title <i>", "Said", places, ["one"]),
        charts.gauge("c", "Title <i>", "Said", 0.002, [ReferenceLine(0.001, "0.1 %"), ReferenceLine(0.003, "0.3 %")]),
        charts.bars("d", "Title <i>", "Said", []), charts.gauge("e", "Title <i>", "Said", 0.9, [ReferenceLine(0.02, "2 %")]),
    ]  # fmt: skip
    for markup in drawn:
        root = ElementTree.fromstring(markup)
        assert root.get("role") == "img"
        named = (root.get("aria-labelledby") or "").split()
        assert [root[0].get("id"), root[1].get("id")] == named
        assert root[0].text == "Title <i>"
        assert "style" not in markup
        for each in root.iter("rect"):
            assert float(each.get("width", "0")) >= 0
            assert 0 <= float(each.get("x", "0")) + float(each.get("width", "0")) <= 440.1
    assert "few" in drawn[0]
    assert 'class="bar level-1"' in drawn[2]
    assert 'class="bar level-2"' in drawn[4]


def test_the_top_of_a_scale_is_round_and_not_far_off() -> None:
    for most in (1, 3, 7, 12, 95, 101, 12_345):
        top = charts.nice(most)
        assert most <= top <= max(2, 2 * most)
        assert top % 2 == 0
