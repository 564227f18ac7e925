"""Files that the program reads beside its code: the pack, page templates and their data, static files, migrations.

In a checkout the templates lie in `templates/` beside the package, where people edit them; a wheel carries them inside the
package, as `nurture/templates/`.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nurture.errors import NurtureError

PACKAGE = Path(__file__).resolve().parent
TEMPLATES = PACKAGE.parent / "templates" if (PACKAGE.parent / "pyproject.toml").is_file() else PACKAGE / "templates"
PACKS = TEMPLATES / "packs"

TEMPLATE_FOLDERS = (
    "desk", "desk/accounts", "desk/letters", "desk/operations", "desk/sequences", "desk/settings", "desk/subscribers",
    "mail", "outbox", "packs", "partials", "public",
)  # fmt: skip
PACKAGE_FOLDERS = ("store/migrations/versions", "web/static")


class ResourcesMissing(NurtureError):
    """The installation is incomplete: files that the program needs are not there."""

    exit_code = 2


@dataclass(frozen=True)
class Pack:
    """What an installation writes about, as files: its letters, their sources, the rules of their gate, whom to call, and what
    public pages say about the subject.
    """

    folder: Path

    @property
    def letters(self) -> Path:
        """The sequences, a folder each, named by its key."""
        return self.folder / "letters"

    def sequences(self) -> list[Path]:
        """The folders of the sequences."""
        return sorted(path for path in self.letters.iterdir() if path.is_dir())

    @property
    def rules(self) -> Path:
        """What the gate refuses and asks for (letters/gate/rules.py)."""
        return self.folder / "rules.yaml"

    @property
    def sources(self) -> Path:
        """What letters may cite (letters/registry.py)."""
        return self.folder / "sources.yaml"

    @property
    def crisis_lines(self) -> Path:
        """Whom to call, by country."""
        return self.folder / "crisis-lines.yaml"

    @property
    def texts(self) -> Path:
        """What public pages say about the subject (letters/pack_texts.py)."""
        return self.folder / "pages.yaml"

    def page(self, name: str) -> str | None:
        """The template of a whole page of the subject, as templates are named; None if this pack has no such page."""
        path = self.folder / "pages" / f"{name}.html"
        return path.relative_to(TEMPLATES).as_posix() if path.is_file() else None

    def missing(self) -> list[Path]:
        """What a pack must have and this one lacks."""
        files = [path for path in (self.rules, self.sources, self.crisis_lines, self.texts) if not path.is_file()]
        return files if self.letters.is_dir() else [self.letters, *files]


@cache
def pack() -> Pack:
    """The pack of this installation. Raises ResourcesMissing unless there is exactly one."""
    return only_pack(PACKS)


def only_pack(packs: Path) -> Pack:
    """The pack in a folder of packs. Raises ResourcesMissing unless there is exactly one."""
    found = sorted(path for path in packs.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ResourcesMissing(f"There must be exactly one pack in {packs}, and there are: {names}.")
    return Pack(found[0])


def check() -> None:
    """Raise ResourcesMissing, naming what is missing, unless every folder and the files of the pack are there."""
    folders = [TEMPLATES / name for name in TEMPLATE_FOLDERS] + [PACKAGE / name for name in PACKAGE_FOLDERS]
    missing = [folder for folder in folders if not folder.is_dir()]
    if PACKS.is_dir():
        missing += pack().missing()
    if missing:
        raise ResourcesMissing(
            f"The installation is incomplete, these are missing: {', '.join(map(str, missing))}. Install the wheel again, or "
            "run the program from a complete checkout."
        )
