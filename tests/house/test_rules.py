"""Rules about the code and its documents."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from nurture import log
from nurture.app import create_app
from nurture.cli.main import COMMANDS, cli
from nurture.resources import pack
from nurture.runtime import Runtime
from nurture.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = (ROOT / "docs" / "reference.md").read_text("utf-8")
MODULES = sorted(path for path in (ROOT / "nurture").rglob("*.py") if "migrations" not in path.parts)
BUILT_IN = {"static"}


def section(title: str) -> str:
    return REFERENCE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def first_cells(text: str) -> list[str]:
    return [row.split("|")[1].strip() for row in text.splitlines() if row.startswith("| `")]


def test_the_routes_are_the_documented_ones(rt: Runtime) -> None:
    found = {
        f"{method} {rule.rule}"
        for rule in create_app(rt).url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.endpoint not in BUILT_IN
    }
    documented = {cell.strip("`") for cell in first_cells(section("HTTP"))}
    assert documented == found


def test_the_settings_are_the_documented_ones() -> None:
    assert [cell.strip("`") for cell in first_cells(section("Environment"))] == [name.upper() for name in Settings.model_fields]


def commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        elif not command.hidden:  # an old name
            yield f"{prefix}{name}", command


def test_the_commands_are_the_documented_ones() -> None:
    table = section("Commands").split("| `nurture …`", 1)[1]
    assert {cell.strip("`") for cell in first_cells(table)} == {name for name, _ in commands(cli)}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_help_says_of_each_command_what_it_says_of_itself(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command
    assert (command.name, COMMANDS[name][1].rstrip(".")) == (name, command.get_short_help_str(limit=1000).rstrip("."))


@pytest.mark.parametrize(("name", "command"), list(commands(cli)))
def test_every_command_has_help_with_an_example_that_can_be_typed(name: str, command: click.Command) -> None:
    assert command.help
    assert command.epilog
    assert re.match(rf"Example:  nurture {name}\b", command.epilog)


def test_the_make_targets_are_the_documented_ones() -> None:
    table = section("Commands").split("| `nurture …`", 1)[0]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {cell.strip("`").removeprefix("make ") for cell in first_cells(table)} <= targets


def test_every_log_event_and_key_is_known() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text("utf-8")
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if isinstance(node.func.value, ast.Name) and node.func.value.id == "_log":
                (event,) = node.args
                assert isinstance(event, ast.Constant)
                assert isinstance(event.value, str)
                assert f"`{event.value!s}`" in operations, f"{event.value} is not in docs/operations.md"
                keys = {keyword.arg for keyword in node.keywords} - {"exc_info"}
                assert keys <= log.ALLOWED, f"{path.name}: {keys - log.ALLOWED} would be dropped"


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        (r"datetime\.now\(|utcnow", {"clock.py"}),
        (r"time\.time\(", {"clock.py", "ids.py"}),  # an id begins with the hour, for nothing but its place in an index
        (r"os\.environ|getenv", {"setting_sources.py", "failpoints.py"}),
        (r"^\s*(?:from|import) sendgrid\b", {"mailers/sendgrid/"}),
        (r"^\s*(?:from|import) apscheduler\b", {"scheduler.py"}),
        (r"^\s*(?:from|import) (?:celery|kombu|redis|amqp)\b", {"dispatch.py"}),
        (r"\.begin\(", {"services/", "delivery/", "store/core/database.py", "runtime.py"}),
        (r"\bprint\(", set()),
        (r"(?i)\bTODO\b|\bFIXME\b", set()),
    ],
)
def test_what_belongs_in_one_place_is_only_there(pattern: str, allowed: set[str]) -> None:
    for path in MODULES:
        name = path.relative_to(ROOT / "nurture").as_posix()
        if not any(name.startswith(place) for place in allowed):
            assert not re.search(pattern, path.read_text("utf-8"), re.MULTILINE), f"{pattern} in {name}"


def test_no_module_is_longer_than_it_should_be() -> None:
    lengths = {path.name: len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert max(lengths.values()) <= 600, lengths


def test_the_project_stands_alone() -> None:
    for path in [*ROOT.glob("*"), *(ROOT / "docs").rglob("*"), *(ROOT / "nurture").rglob("*"), *(ROOT / ".ci").rglob("*")]:
        if path.is_file() and path.suffix in {".py", ".md", ".toml", ".yaml", "", ".html"} and ".git" not in path.parts:
            assert "../sha" + "red" not in path.read_text("utf-8"), path


def test_the_rules_of_the_gate_are_documented_in_groups() -> None:
    """docs/letters.md names them as ranges: every rule there is lies in one of them, and no range ends beyond the rules."""
    table = (ROOT / "docs" / "letters.md").read_text("utf-8").split("## What is checked", 1)[1].split("\n## ", 1)[0]
    documented = set()
    for cell in re.findall(r"^\| ([CHST]\d\d[^|]*) \|", table, re.MULTILINE):
        ends = re.findall(r"([CHST])(\d\d)", cell)
        numbers = range(int(ends[0][1]), int(ends[-1][1]) + 1)
        documented |= {f"{ends[0][0]}{number:02}" for number in numbers}
    code = "".join(path.read_text("utf-8") for path in (ROOT / "nurture" / "letters" / "gate").glob("*.py"))
    data = pack().rules.read_text("utf-8")
    code += (ROOT / "nurture" / "letters" / "markup.py").read_text("utf-8")
    known = set(re.findall(r'"([HT]\d\d)"', code)) | set(re.findall(r"- id: ([CST]\d\d)", data))
    assert documented == known


def test_readme_names_the_two_commands_and_where_the_next_letter_is_decided() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for part in ("make run", "make test", "nurture/domain/timeline.py", "deliveries.due_at", "nurture/delivery/tick.py"):
        assert part in readme
