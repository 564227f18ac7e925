"""Templates: every one is used, every one that is used is there, and the desk's are in the rooms of their modules."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "templates"
PAGES = ("desk", "outbox", "partials", "public")
"""Folders of templates that pages are made of; those in `mail` are named by the kind of a mail."""

_NAME = re.compile(r"""["']((?:desk|outbox|partials|public)/[a-z_/{}]+\.html)["']""")


def _named(path: Path) -> set[str]:
    """The templates that a module or a template names. `{…}` in a name stands for whatever is there."""
    found = set()
    for name in _NAME.findall(path.read_text("utf-8")):
        matching = [one.relative_to(TEMPLATES).as_posix() for one in TEMPLATES.glob(re.sub(r"\{\w+\}", "*", name))]
        found |= set(matching or [name])
    return found


def _rendered() -> dict[Path, set[str]]:
    return {path: names for path in (ROOT / "nurture" / "web").rglob("*.py") if (names := _named(path))}


def test_every_template_that_is_named_is_there_and_every_template_is_named() -> None:
    there = {path.relative_to(TEMPLATES).as_posix() for folder in PAGES for path in (TEMPLATES / folder).rglob("*.html")}
    inner = [_named(path) for folder in PAGES for path in (TEMPLATES / folder).rglob("*.html")]
    assert set().union(*_rendered().values(), *inner) == there


def test_templates_of_the_desk_mirror_the_rooms_that_render_them() -> None:
    strays = {
        f"{path.name}: {name}"
        for path, names in _rendered().items()
        for name in names
        if name.startswith("desk/") and path.parent.parent.name == "desk" and name.split("/")[1] != path.parent.name
    }
    assert strays == set()
    assert not list((TEMPLATES / "desk").glob("*.html"))


def test_one_module_knows_where_the_files_of_a_pack_are() -> None:
    file = re.compile(r"""/ f?["'][^"'\n]*(?:packs|rules\.yaml|crisis-lines\.yaml|sources\.yaml)""")
    knowing = {path.name for path in (ROOT / "nurture").rglob("*.py") if file.search(path.read_text("utf-8"))}
    assert knowing == {"resources.py"}


def test_the_engine_does_not_name_the_subject() -> None:
    engine = [*(ROOT / "nurture").rglob("*.py"), *(ROOT / "nurture" / "web" / "static").iterdir()]
    engine += [path for path in TEMPLATES.rglob("*") if path.is_file() and "packs" not in path.relative_to(TEMPLATES).parts]
    naming = {path.name for path in engine if re.search(r"(?i)ketamine|talk therapy|depressi", path.read_text("utf-8"))}
    assert naming == set()
