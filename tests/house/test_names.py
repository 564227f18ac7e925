"""Names: each class has one, what was renamed stays renamed, and what is documented exists."""

import ast
import io
import re
import tokenize
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path for path in (ROOT / "nurture").rglob("*.py") if "migrations" not in path.parts)

RENAMED = """
    Became Choices CrowdRefused Doubt Entered FactsRefused Fleet Gate Given Guards Here Hole Kept KeyRefused LedgerStanding
    Listed Lists Living Lost Mailed Memory MovedSince Named Names Newcomer Nobody Office Open Outlook Patience PictureId Plans
    Present Said Sealed Sealer Shown Shut Standing Taken Told TooManyTries Tray Trial Tried Tries Trouble Unreadable Waiting
    What Whereabouts Wire _Course add_trial album became carry count_living do_wait doubts_looked_at forget_trials go_on guards
    heal hold_open holes_of is_held_up lasting leafing ledger_standing needs_live open_ open_batch open_sealer patience peek
    plan_trials poke put_away remove_trials sealer sealing shut_gates sort_out table_of_bytes trial_place trials_of vigil wall
    about_id about_kind act_people bidx edition_pictures email_bidx email_sealed first_name_sealed own_name proved_at
    send_requests test_email_statuses twin
"""
"""Names of earlier versions that said too little, or one of several things."""


def test_no_two_modules_have_a_class_of_one_name() -> None:
    places = defaultdict(set)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].add(path.relative_to(ROOT).as_posix())
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_what_was_renamed_stays_renamed() -> None:
    renamed = frozenset(RENAMED.split())
    assert len(renamed) >= 60
    for path in MODULES:
        tokens = tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline)
        found = {token.string for token in tokens if token.type == tokenize.NAME} & renamed
        assert not found, path


def test_every_documented_log_event_is_logged() -> None:
    table = (ROOT / "docs" / "operations.md").read_text("utf-8").split("\n## Log events", 1)[1].split("\n## ", 1)[0]
    documented = {
        name for row in table.splitlines() if row.startswith("| `") for name in re.findall(r"`([a-z_]+)`", row.split("|")[1])
    }
    code = "".join(path.read_text("utf-8") for path in MODULES)
    assert documented
    assert {name for name in documented if f'"{name}"' not in code} == set()
