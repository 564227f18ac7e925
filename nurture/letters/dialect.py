"""The Jinja a letter may use: a sandbox, and on top of it a list of what is allowed.

The sandbox alone stops no resource bomb (its own documentation says so), hence the list: text, the known names, `if`,
comparisons, and the `default` filter. No loops, no arithmetic, no calls.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from nurture.letters.source import LetterRefused

NAMES: dict[str, frozenset[str]] = {
    "reader": frozenset({"first_name", "signed_up_on"}),
    "practice": frozenset({"name", "postal_address"}),
    "links": frozenset({"unsubscribe", "consultation", "home", "confirm", "desk"}),
}
"""What a letter may ask for, as `reader.first_name`. Filling provides exactly these."""

_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.Name, nodes.Getattr, nodes.Const, nodes.Not, nodes.And,
    nodes.Or, nodes.Compare, nodes.Operand, nodes.CondExpr, nodes.Filter,
)  # fmt: skip
_FILTERS = frozenset({"default", "d"})
_CALLED = {
    nodes.For: "loops",
    nodes.Call: "calls",
    nodes.Macro: "macros",
    nodes.Assign: "`set`",
    nodes.Include: "`include`",
}


class _Environment(ImmutableSandboxedEnvironment):
    def getattr(self, obj: Any, attribute: str) -> Any:
        """A value of a group, at once: the sandbox comes to it too, after it has raised and caught an exception."""
        if type(obj) is dict and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


def _environment(autoescape: bool) -> ImmutableSandboxedEnvironment:
    environment = _Environment(autoescape=autoescape, undefined=StrictUndefined, keep_trailing_newline=True)
    environment.globals.clear()
    return environment


HTML, PLAIN = _environment(True), _environment(False)
"""Two escapings: HTML parts escape values, subject and text do not (their values are cleaned in filling)."""


@lru_cache(maxsize=512)
def template(source: str, html: bool) -> Template:
    """A compiled template of an edition's part; compiled once per process."""
    return (HTML if html else PLAIN).from_string(source)


def render(source: str, html: bool, values: dict[str, dict[str, str]]) -> str:
    """A part filled with values. Raises jinja2.TemplateError."""
    found = template(source, html)
    return "".join(found.root_render_func(found.new_context(values, shared=True)))  # shared: there are no globals to merge


def _walk(node: nodes.Node, line: int) -> Iterator[tuple[nodes.Node, nodes.Node, int]]:
    """Every node below one, with its parent and its line; a few kinds have no line and stand where their parts do."""
    for child in node.iter_child_nodes():
        here = child.lineno or next((inner.lineno for inner in child.find_all(nodes.Node) if inner.lineno), line)
        yield node, child, here
        yield from _walk(child, here)


def _known(group: str) -> str:
    """The names of a group, or of all groups if there is none of that name."""
    groups = [group] if group in NAMES else list(NAMES)
    return ", ".join(f"{found}.{name}" for found in groups for name in sorted(NAMES[found]))


def check(source: str, file_name: str, first_line: int = 1) -> None:
    """Raise LetterRefused, naming the line and saying what to write, unless `source` keeps to the dialect."""
    try:
        tree = PLAIN.parse(source)
    except TemplateSyntaxError as error:
        place = f"{file_name}, line {error.lineno + first_line - 1}"
        why = str(error.message).replace("Jinja was looking for the following tags", "Expected is one of").rstrip(".")
        raise LetterRefused(place, f"A part in curly brackets cannot be read: {why}.") from None
    except (RecursionError, ValueError):
        raise LetterRefused(file_name, "A part in curly brackets is far too long.") from None
    for parent, node, line in _walk(tree, 1):
        where = f"{file_name}, line {line + first_line - 1}"
        if isinstance(node, nodes.Filter) and node.name not in _FILTERS:
            raise LetterRefused(where, f"This letter uses `{node.name}`, which letters cannot.")
        if not isinstance(node, _ALLOWED):
            called = node.node if isinstance(node, nodes.Call) else None
            used = _CALLED.get(type(node), f"`{type(node).__name__.lower()}`")
            used = f"`{called.name}`" if isinstance(called, nodes.Name) else used
            raise LetterRefused(where, f"This letter uses {used}, which letters cannot.")
        if isinstance(node, nodes.Name) and (node.name not in NAMES or not isinstance(parent, nodes.Getattr)):
            wrong = "is only the beginning of a name" if node.name in NAMES else "does not exist"
            raise LetterRefused(where, f"This letter asks for `{node.name}`, which {wrong}. Known are: {_known(node.name)}.")
        if isinstance(node, nodes.Getattr):
            group = node.node.name if isinstance(node.node, nodes.Name) else ""
            if node.attr not in NAMES.get(group, ()):
                name = f"{group}.{node.attr}" if group else f"….{node.attr}"
                raise LetterRefused(where, f"`{name}` does not exist. Known are: {_known(group)}.")
