"""The Jinja a letter may use: a sandbox, and on top of it a list of what is allowed.

The sandbox alone stops no resource bomb (its own documentation says so), hence the list: text, the known names, `if`,
comparisons, the `default` filter, and four macros that are worked out when a letter is published. No loops, no arithmetic,
no other calls.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from nurture.letters.source import Letter, LetterRefused
from nurture.settings import IN_LETTERS

NAMES: dict[str, frozenset[str]] = {
    "reader": frozenset({"first_name", "signed_up_on"}),
    "practice": frozenset(IN_LETTERS),
    "links": frozenset({
        "unsubscribe", "consultation", "home", "confirm", "desk", "sources", "picture", "questions", "doctor_list",
    }),
}  # fmt: skip
"""What a letter may ask for, as `reader.first_name`. Filling provides exactly these, and FRAME's."""

FRAME: dict[str, frozenset[str]] = {
    "look": frozenset({"color", "dark_color", "logo", "logo_width", "logo_height"}),
    "line": frozenset({"from_whom", "replies"}),
}
"""What only the layout around a letter asks for: the practice's look, and lines of the footer made from its facts."""

MACROS: dict[str, str] = {
    "cite": 'cite("berman-2000")',
    "button": 'button("Ask for a call", links.consultation)',
    "crisis": "crisis()",
    "aside": 'aside("A remark beside the text.")',
}
"""What may be called, alone between its brackets, and an example of each."""

_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.Name, nodes.Getattr, nodes.Const, nodes.Not, nodes.And,
    nodes.Or, nodes.Compare, nodes.Operand, nodes.CondExpr, nodes.Filter,
)  # fmt: skip
_FILTERS = frozenset({"default", "d"})
_CALLED: dict[type[nodes.Node], str] = {
    nodes.For: "loops",
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


MOST_LEVELS = 40
"""Of parts in curly brackets within one another. Python, which they become, ends at 100 levels of `if` and 200 of brackets."""
_MOST_BRACKETS = 20
_MOST_WORDS = 200
"""Of one part: names, texts and signs. Jinja reads them by calling itself, and Python ends at 1,000 calls."""


HTML, PLAIN = _environment(True), _environment(False)
"""Two escapings: HTML parts escape values, subject and text do not (their values are cleaned in filling)."""


@lru_cache(maxsize=512)
def template(source: str, html: bool, color: str = "", in_the_dark: str = "") -> Template:
    """A compiled template of an edition's part; compiled once per process.

    The practice's colors stand in dozens of places and are the same for everybody: they are put in before compiling.
    """
    if color:
        for old_or_new, value in (
            ("color", color), ("dark_color", in_the_dark), ("colour", color), ("colour_in_the_dark", in_the_dark),
        ):  # fmt: skip
            source = source.replace(f"{{{{ look.{old_or_new} }}}}", value)
    return (HTML if html else PLAIN).from_string(source)


def render(source: str, html: bool, values: Mapping[str, Mapping[str, str]]) -> str:
    """A part filled with values. Raises jinja2.TemplateError."""
    look = values.get("look")
    found = template(source, html, look["color"], look["dark_color"]) if look else template(source, html)
    # `Template.new_context` would merge the globals, of which there are none.
    return "".join(found.root_render_func(found.environment.context_class(found.environment, {**values}, None, {})))


def parse(source: str) -> nodes.Template:
    """A template as a tree that is shallow enough for whatever is done with it. Raises TemplateSyntaxError."""
    _check_words(source)
    try:
        tree = PLAIN.parse(source)
    except (RecursionError, ValueError):  # ValueError: a number of thousands of digits
        raise TemplateSyntaxError("it is far too long", 1) from None
    for _, _, line, level in _walk(tree, 1):
        if level > MOST_LEVELS:
            raise TemplateSyntaxError(f"it is more than {MOST_LEVELS} levels deep; write one part after another", line)
    return tree


def _check_words(source: str) -> None:
    """Raise TemplateSyntaxError where one part in curly brackets is too long, or too deep in brackets, to be read at all."""
    words = brackets = 0
    for line, kind, value in PLAIN.lex(source):
        if kind in ("variable_begin", "block_begin"):
            words = brackets = 0
        elif kind not in ("data", "whitespace"):
            words += 1
            brackets += (value in ("(", "[", "{")) - (value in (")", "]", "}"))
        if words > _MOST_WORDS or brackets > _MOST_BRACKETS:
            raise TemplateSyntaxError("it is far too long", line)


def _walk(node: nodes.Node, line: int, level: int = 0) -> Iterator[tuple[nodes.Node, nodes.Node, int, int]]:
    """Every node below one, with its parent, its line, and how deep it lies; a few kinds have no line and stand where their
    parts do. What lies deeper than MOST_LEVELS is left out.
    """
    for child in node.iter_child_nodes():
        here = child.lineno or next((inner.lineno for inner in child.find_all(nodes.Node) if inner.lineno), line)
        yield node, child, here, level
        if level <= MOST_LEVELS:
            yield from _walk(child, here, level + 1)


def _known(group: str, names: Mapping[str, frozenset[str]]) -> str:
    """The names of a group, or of all groups if there is none of that name."""
    groups = [group] if group in names else list(names)
    return ", ".join(f"{found}.{name}" for found in groups for name in sorted(names[found]))


Known = Mapping[str, Mapping[str, str]]
"""What is known of some groups: their values by name; one that is missing is empty. Of a group that is missing, nothing."""


def truth(test: nodes.Node, known: Known) -> bool | None:
    """What the known values decide about a condition; None: nothing."""
    match test:
        case nodes.Getattr(node=nodes.Name(name=group), attr=name) if group in known:
            return bool(known[group].get(name))
        case nodes.Const():
            return bool(test.value)
        case nodes.Not():
            inner = truth(test.node, known)
            return None if inner is None else not inner
        case nodes.And() | nodes.Or():
            decides = isinstance(test, nodes.Or)
            both = [truth(test.left, known), truth(test.right, known)]
            return decides if decides in both else None if None in both else not decides
    return None


def replaces_empty(default: nodes.Filter) -> bool:
    """Whether a `default` shows something else for an empty value, too: `default("there", true)`. Without it, it replaces
    nothing at all: every name has a value.
    """
    given = [*default.args[1:], *(pair.value for pair in default.kwargs if pair.key == "boolean")]
    return any(isinstance(each, nodes.Const) and bool(each.value) for each in given)


@dataclass(frozen=True)
class MissingValue:
    """Something a letter shows although it is empty. `part`: subject, preheader, or line (of the body); `line`: of its file."""

    part: str
    line: int
    group: str
    name: str


def missing_values(letter: Letter, known: Known) -> list[MissingValue]:
    """What a letter that keeps to the dialect shows although it is empty, each once a line; of the known groups.

    A condition that the known values do not decide may come out either way.
    """
    parts = (
        ("subject", letter.subject, letter.head_line("subject") or 1),
        ("preheader", letter.preheader, letter.head_line("preheader") or 1),
        ("line", letter.body, letter.body_line),
    )
    found = [
        MissingValue(part, line + first - 1, group, name)
        for part, source, first in parts
        for group, name, line in _holes(parse(source), known, 1)
    ]
    return list(dict.fromkeys(found))


def cited(source: str) -> Iterator[tuple[str, int]]:
    """What a checked text cites, each with its line."""
    for _, node, line, _ in _walk(parse(source), 1):
        if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name == "cite":
            yield from ((_given(name), line) for name in node.args)


def _holes(node: nodes.Node, known: Known, line: int) -> Iterator[tuple[str, str, int]]:
    line = node.lineno or line
    arms: list[tuple[nodes.Node, Sequence[nodes.Node]]]
    match node:
        case nodes.If():
            arms = [(node.test, node.body), *((arm.test, arm.body) for arm in node.elif_), (nodes.Const(True), node.else_)]
        case nodes.CondExpr():
            arms = [(node.test, [node.expr1]), (nodes.Const(True), [node.expr2] if node.expr2 else [])]
        case nodes.Filter(node=nodes.Expr() as value) if replaces_empty(node):
            arms = [(value, [value]), (nodes.Const(True), node.args[:1])]
        case nodes.Getattr(node=nodes.Name(name=group), attr=name):
            if group in known and not known[group].get(name):
                yield group, name, line
            return
        case _:
            arms = [(nodes.Const(True), list(node.iter_child_nodes()))]
    for test, shown in arms:
        decided = truth(test, known)
        if decided is not False:
            for part in shown:
                yield from _holes(part, known, line)
        if decided:
            return


@dataclass(frozen=True)
class Macro:
    """A call of one of MACROS with what it was given; a link stands there as the Jinja that asks for it."""

    name: str
    given: tuple[str, ...]


def macro(piece: str) -> Macro | None:
    """The macro a checked `{{ }}` calls; None if it calls none."""
    for call in parse(piece).find_all(nodes.Call):
        if isinstance(call.node, nodes.Name):
            return Macro(call.node.name, tuple(_given(arg) for arg in call.args))
    return None


def _given(arg: nodes.Expr) -> str:
    return f"{{{{ links.{arg.attr} }}}}" if isinstance(arg, nodes.Getattr) else str(arg.as_const())


def _check_macro(call: nodes.Call, parent: nodes.Node, where: str, macros: bool) -> None:
    name = call.node.name if isinstance(call.node, nodes.Name) else ""
    if name not in MACROS or not macros:
        raise LetterRefused(where, f"This letter uses {f'`{name}`' if name else 'calls'}, which {_PLACES[name in MACROS]}.")
    texts = [isinstance(arg, nodes.Const) and isinstance(arg.value, str) and bool(arg.value.strip()) for arg in call.args]
    fits = {
        "cite": bool(texts) and all(texts),
        "crisis": not texts,
        "aside": texts == [True],
        "button": len(texts) == 2 and texts[0] and _is_target(call.args[1]),
    }[name]
    if not fits or call.kwargs or call.dyn_args or call.dyn_kwargs:
        raise LetterRefused(where, f"`{name}` cannot be used like this. Write {{{{ {MACROS[name]} }}}}.")
    if not isinstance(parent, nodes.Output):
        raise LetterRefused(where, f"`{name}` stands alone between its brackets: {{{{ {MACROS[name]} }}}}.")


_PLACES = {False: "letters cannot", True: "only the text of a letter can"}


def _is_target(arg: nodes.Node) -> bool:
    """Whether a button may lead there: one of the links, or a web address."""
    if isinstance(arg, nodes.Getattr):
        return isinstance(arg.node, nodes.Name) and arg.node.name == "links"
    return isinstance(arg, nodes.Const) and str(arg.value).startswith("https://")


def check(
    source: str, file_name: str, first_line: int = 1, *, macros: bool = False, names: Mapping[str, frozenset[str]] = NAMES
) -> None:
    """Raise LetterRefused, naming the line and saying what to write, unless `source` keeps to the dialect.

    `macros`: whether it may call MACROS; `names`: what it may ask for.
    """
    try:
        tree = parse(source)
    except TemplateSyntaxError as error:
        place = f"{file_name}, line {error.lineno + first_line - 1}"
        why = str(error.message).replace("Jinja was looking for the following tags", "Expected is one of").rstrip(".")
        raise LetterRefused(place, f"A part in curly brackets cannot be read: {why}.") from None
    for parent, node, line, _ in _walk(tree, 1):
        where = f"{file_name}, line {line + first_line - 1}"
        if isinstance(node, nodes.Call):
            _check_macro(node, parent, where, macros)
            continue
        if isinstance(parent, nodes.Call) and isinstance(node, nodes.Name):
            continue  # the name of a macro, checked with its call
        if isinstance(node, nodes.Filter) and node.name not in _FILTERS:
            raise LetterRefused(where, f"This letter uses `{node.name}`, which letters cannot.")
        if not isinstance(node, _ALLOWED):
            used = _CALLED.get(type(node), f"`{type(node).__name__.lower()}`")
            raise LetterRefused(where, f"This letter uses {used}, which letters cannot.")
        if isinstance(node, nodes.Name) and (node.name not in names or not isinstance(parent, nodes.Getattr)):
            wrong = "is only the beginning of a name" if node.name in names else "does not exist"
            raise LetterRefused(
                where, f"This letter asks for `{node.name}`, which {wrong}. Known are: {_known(node.name, names)}."
            )
        if isinstance(node, nodes.Getattr):
            group = node.node.name if isinstance(node.node, nodes.Name) else ""
            if node.attr not in names.get(group, ()):
                name = f"{group}.{node.attr}" if group else f"….{node.attr}"
                raise LetterRefused(where, f"`{name}` does not exist. Known are: {_known(group, names)}.")
