"""Ids are random but for their hour, and say nothing of anybody; every refusal has one base."""

import re
import time

from nurture.ids import new_id


def test_an_id_is_128_bits_as_lower_case_hex() -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", new_id())


def test_ids_do_not_repeat_and_do_not_follow_one_another() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert sorted(ids) != ids
    assert all(len({found[place] for found in ids}) == 16 for place in range(6, 32))  # no digit of the random part is constant


def test_ids_of_one_hour_lie_together() -> None:
    hours = {int(new_id()[:6], 16) for _ in range(100)}
    assert max(hours) - min(hours) <= 1
    assert abs(min(hours) * 3600 - time.time()) < 2 * 3600
