"""A pack of another subject as the only one: pages and help texts speak of it, and of nothing else."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LETTER = """---
subject: {subject}
preheader: A letter about bread
wait: {wait}
reviewed-on: 2026-11-01
reviewed-by: Dana
---

Hello,

flour, water and salt.
"""
PAGES = """
topic: baking bread
disclaimer: No advice.
caution: Let the oven cool.
letter: {disclaimer: It is no advice., caution: Mind the crust.}
consent: {version: "1", who: the bakery, text: "I am 18 or over. I ask {who} to e-mail me about bread until I stop it."}
home:
  {title: Bread, description: About bread, lead: Slowly., what: Two letters, when: Weekly, order: First a welcome.,
   letters: [{title: Dough, text: It rises.}], plainly: [Bread is bread.], writer: written by a baker, limits: [Bread burns.]}
rhythm: {each: weekly, all: one letter a week}
consultation: [It is about bread.]
sources: {}
sheets: {}
"""
SCRIPT = """
import json, sys
from click.testing import CliRunner
from sqlalchemy import select
from nurture import runtime, settings
from nurture.app import create_app
from nurture.cli.main import cli
from nurture.services.letters import publishing
from nurture.store.core.schema import editions

rt = runtime.build(settings.load(), migrate=True)
publishing.load_shipped(rt)
client = create_app(rt).test_client()
paths = ["/", "/check-your-inbox", "/consultation", "/consultation/sent", "/pages/sources", "/read/bread", "/read/bread/dough"]
found = {path: client.get(path).text for path in paths}
found |= {path: str(client.get(path).status_code) for path in ("/pages/picture", "/pages/questions", "/pages/list")}
with rt.database.read() as db:
    found |= {f"{key}.{part}": text for key, *texts in db.execute(select(editions.c.step_key, editions.c.html, editions.c.text))
              for part, text in zip(("html", "text"), texts)}
for command in ("letters", "letters export", "letters sequences"):
    found[command] = CliRunner().invoke(cli, [*command.split(), "--help"]).output
rt.close()
json.dump(found, open(sys.argv[1], "w"))
"""


@pytest.fixture
def bakery(tmp_path: Path) -> dict[str, str]:
    """What an installation about bread shows, by address and command."""
    shutil.copytree(ROOT / "nurture", tmp_path / "nurture", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "templates", tmp_path / "templates", ignore=shutil.ignore_patterns("packs"))
    (tmp_path / "pyproject.toml").touch()
    pack = tmp_path / "templates" / "packs" / "bread"
    (pack / "letters" / "bread").mkdir(parents=True)
    (pack / "letters" / "bread" / "sequence.yaml").write_text("key: bread\ntitle: Bread\n", "utf-8")
    (pack / "letters" / "bread" / "00-welcome.md").write_text(LETTER.format(subject="Welcome", wait="at once"), "utf-8")
    (pack / "letters" / "bread" / "01-dough.md").write_text(LETTER.format(subject="Dough", wait="3 days"), "utf-8")
    (pack / "rules.yaml").write_text("{rules: [], required: [], agencies: []}", "utf-8")
    (pack / "sources.yaml").write_text("[]", "utf-8")
    (pack / "crisis-lines.yaml").write_text("[]", "utf-8")
    (pack / "pages.yaml").write_text(PAGES, "utf-8")
    places = {"PYTHONPATH": str(tmp_path), "NURTURE_INSTANCE_DIR": str(tmp_path / "instance")}
    env = os.environ | places | {"PYTHONDONTWRITEBYTECODE": "1"}
    run = [sys.executable, "-c", SCRIPT, str(tmp_path / "found.json")]
    done = subprocess.run(run, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads((tmp_path / "found.json").read_text("utf-8"))
    return found


def test_with_another_pack_no_page_or_help_text_names_the_first_subject(bakery: dict[str, str]) -> None:
    for where, text in bakery.items():
        for word in ("ketamine", "talk therapy", "depression", "medicine", "medical"):
            assert word not in text.lower(), f"{where}: {word}"
    assert "<h1>Bread</h1>" in bakery["/"]
    assert "I ask the bakery to e-mail me about bread" in bakery["/"]
    assert "flour, water and salt" in bakery["/read/bread/dough"]
    assert all("Mind the crust." in bakery[f"welcome.{part}"] for part in ("html", "text"))
    assert "letters export bread ./letters" in bakery["letters export"]
    assert {bakery[f"/pages/{name}"] for name in ("picture", "questions", "list")} == {"404"}
