"""Ids are random and say nothing; every refusal has one base."""

import re

from nurture.words import new_id


def test_an_id_is_128_bits_as_lower_case_hex() -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", new_id())


def test_ids_do_not_repeat_and_do_not_follow_one_another() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert sorted(ids) != ids
    assert all(len({found[place] for found in ids}) == 16 for place in range(32))  # no digit is constant
