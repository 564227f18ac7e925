"""The Jinja a letter may use: a sandbox, and on top of it a list of what is allowed.

The sandbox alone stops no resource bomb (its own documentation says so), hence the list: text, the known names, `if`,
comparisons, and the `default` filter. No loops, no arithmetic, no calls.
"""

from functools import lru_cache

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


def _environment(autoescape: bool) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(autoescape=autoescape, undefined=StrictUndefined, keep_trailing_newline=True)
    environment.globals.clear()
    return environment


HTML, PLAIN = _environment(True), _environment(False)
"""Two escapings: HTML parts escape values, subject and text do not (their values are cleaned in filling)."""


@lru_cache(maxsize=512)
def template(source: str, html: bool) -> Template:
    """A compiled template of an edition's part; compiled once per process."""
    return (HTML if html else PLAIN).from_string(source)


def check(source: str, file_name: str, first_line: int = 1) -> None:
    """Raise LetterRefused, naming the line and saying what to write, unless `source` keeps to the dialect."""
    try:
        tree = PLAIN.parse(source)
    except TemplateSyntaxError as error:
        place = f"{file_name}, line {error.lineno + first_line - 1}"
        raise LetterRefused(place, f"A part in curly brackets cannot be read: {error.message}.") from None
    for node in tree.find_all(nodes.Node):
        where = f"{file_name}, line {node.lineno + first_line - 1}"
        if isinstance(node, nodes.Filter) and node.name not in _FILTERS:
            raise LetterRefused(where, f"This letter uses `{node.name}`, which letters cannot.")
        if not isinstance(node, _ALLOWED):
            name = next(
                (node.node.name for _ in (0,) if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name)), ""
            )
            used = f"`{name}`" if name else _CALLED.get(type(node), f"`{type(node).__name__.lower()}`")
            raise LetterRefused(where, f"This letter uses {used}, which letters cannot.")
        if isinstance(node, nodes.Name) and node.name not in NAMES:
            known = ", ".join(f"{group}.{name}" for group in NAMES for name in sorted(NAMES[group]))
            raise LetterRefused(where, f"This letter asks for `{node.name}`, which does not exist. Known are: {known}.")
        if isinstance(node, nodes.Getattr):
            group = node.node.name if isinstance(node.node, nodes.Name) else ""
            if node.attr not in NAMES.get(group, ()):
                known = ", ".join(f"{group}.{name}" for name in sorted(NAMES.get(group, ())))
                raise LetterRefused(
                    where, f"`{group}.{node.attr}` does not exist. {f'Known are: {known}.' if known else ''}".strip()
                )
