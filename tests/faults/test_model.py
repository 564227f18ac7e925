"""What the protocol rules out, by visiting every state it can get into; and that the search would see it if it did not."""

from pathlib import Path

import pytest

from nurture.domain.delivery import MOVES, State
from tests.faults.model import MISTAKES, NOT_SAFE, PROVEN, SAFE, search, shortest_ways, table, ways

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"


def told(way: tuple[str, ...] | None) -> str:
    return "\n" + "\n".join(f"{number:3}. {label}" for number, label in enumerate(way or (), 1))


@pytest.mark.parametrize("world", SAFE)
def test_nothing_is_sent_twice_lost_forgotten_or_sent_to_somebody_who_left(world: str) -> None:
    found = search(SAFE[world])
    for what, way in ways(found).items():
        assert way is None, f"{what}:{told(way)}"
    assert found.states > 1000, "a search this small has not looked at much"


@pytest.mark.parametrize("world", NOT_SAFE)
def test_what_resend_trusts_in_is_really_needed(world: str) -> None:
    found = search(NOT_SAFE[world])
    assert found.duplicate is not None
    assert found.after_leaving is None, told(found.after_leaving)
    assert found.forgotten is None, told(found.forgotten)
    assert (found.lost is not None) == ("guesses" in world), told(found.lost)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_planted_mistake_is_found(mistake: str) -> None:
    assert any(ways(search(MISTAKES[mistake])).values()), "the search does not see it"


def test_a_plain_job_queue_sends_twice_seven_steps_after_the_mail_is_planned() -> None:
    found = search(MISTAKES["a silent lease on a request is retried (plain job queue)"])
    assert found.duplicate == (
        "PLAN",
        "CLAIM", "MARK", "POST accepted",
        "RECLAIM lease runs out",
        "CLAIM", "MARK", "POST accepted",
    )  # fmt: skip


BY_A_PERSON = {(State.FAILED, State.CANCELLED), (State.HELD, State.CANCELLED)}
"""Giving a mail up: the end of it, by decision of somebody who sees it. In the model it stays before their eyes instead."""


def test_model_and_ledger_know_the_same_moves() -> None:
    model = {move for variant in (SAFE | NOT_SAFE | MISTAKES).values() for move in search(variant).moves}
    ledger = {(a, State.ACCEPTED if b in PROVEN else b) for a in State if a not in PROVEN for b in MOVES[a]}
    assert ledger - model == BY_A_PERSON, "a move of the ledger that the model does not make"
    assert model <= ledger
    assert all(MOVES[state] <= PROVEN for state in PROVEN), "what the provider has is never sent again"


def test_the_page_for_operators_shows_what_the_model_finds() -> None:
    page = DOCS.read_text("utf-8")
    assert table() in page, f"docs/reliability.md is not up to date; put in:\n{table()}"
    assert shortest_ways() in page, f"docs/reliability.md is not up to date; put in:\n{shortest_ways()}"
