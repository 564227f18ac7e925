"""The recipes of CONTRIBUTING.md, followed: toys are added to a copy of the service by editing the files that the recipes name
and no other, and there they must work (toys.py).
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("nurture", "templates", "docs", "tests", "pyproject.toml", "README.md", "Makefile", "CONTRIBUTING.md")
PAGES = ("sender", "practice", "look", "hours")

Edits = Mapping[str, tuple[tuple[str, str], ...]]
"""By file: what is added, each before a line that is there."""


def setting(name: str, arguments: str, kind: str = "checks.Line", default: str = '""') -> str:
    return f"    {name}: {kind} = {'setting' if kind != 'checks.Line' else '_setting'}({default}, {arguments})\n"


def toy(page: str) -> str:
    letters = ', letters="toy"' if page == "practice" else ""
    return setting(f"toy_{page}", f'"a toy of the page {page}", "Set it to words.", page="{page}", max_length=50{letters}')


SETTING: Edits = {
    "nurture/settings.py": (("    color: checks.Line = _setting(", "".join(map(toy, PAGES))),),
    "docs/reference.md": (("| `COLOR` |", "".join(f"| `TOY_{page.upper()}` | – | a toy |\n" for page in PAGES)),),
}
MAILER: Edits = {
    "nurture/mailers/ferry.py": (("", (ROOT / "tests" / "house" / "toy_mailer.py").read_text("utf-8")),),
    "nurture/mailer_registry.py": (
        ('    "smtp": RegisteredMailer(', '    "ferry": RegisteredMailer(("ferry_pier",)),\n'),
        (
            "    smtp_url: checks.SmtpUrl",
            setting("ferry_pier", '"a pier", "Build one.", page="mail"', "checks.Key | None", "None"),
        ),
    ),
    "docs/reference.md": (("| `SMTP_URL` |", "| `FERRY_PIER` | – | the pier of the ferry mailer |\n"),),
}
RECIPES = {"### Add a setting": (SETTING, 3), "### Add a mailer": (MAILER, 3)}
"""By the title in CONTRIBUTING.md: what is edited, and in how many files; those of a setting include the place that uses it."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the service with the toys."""
    folder = tmp_path_factory.mktemp("copy")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "journeys", "faults", "benchmarks")
            )
        else:
            shutil.copy(source, folder / name)
    for edits, _ in RECIPES.values():
        for path, additions in edits.items():
            for before, text in additions:
                file = folder / path
                old = file.read_text("utf-8") if file.exists() else ""
                assert old.count(before) == 1 or not old, f"{before!r} is in {path} {old.count(before)} times"
                file.write_text(old.replace(before, text + before) if before else text, "utf-8")
    return folder


def run(copy: Path, *arguments: str) -> None:
    done = subprocess.run(  # PYTHONPATH: the copy, wherever the service is installed
        [sys.executable, "-m", *arguments],
        cwd=copy,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(copy), "HOME": str(copy)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"


def test_toys_work_in_a_copy_in_which_only_the_files_of_the_recipes_were_edited(copy: Path) -> None:
    run(copy, "pytest", "-n", "0", "tests/house/toys.py")


RULES = "settings_are or log_event or belongs or longer or class or renamed or mailer or every_setting or empty_variable"


def test_what_tests_say_of_all_settings_and_modules_holds_of_the_toys(copy: Path) -> None:
    rules, names, settings = "tests/house/test_rules.py", "tests/house/test_names.py", "tests/test_settings.py"
    run(copy, "pytest", "-n", "0", rules, names, settings, "-k", RULES)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_names_each_file_that_was_edited_and_how_many_these_are(recipe: str) -> None:
    edits, stated = RECIPES[recipe]
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8").split(f"{recipe}\n", 1)[1].split("\n### ", 1)[0]
    for path in edits:
        assert f"`{path.replace('ferry', '<name>')}`" in text, path
    assert re.search(rf"^Files: {stated}\b", text, re.MULTILINE)
    assert len(edits) <= stated
