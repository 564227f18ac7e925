"""Files that the program reads beside its code: letters, page templates and their data, static files, migrations.

In a checkout the templates lie in `templates/` beside the package, where people edit them; a wheel carries them inside the
package, as `nurture/templates/`.
"""

from pathlib import Path

from nurture.errors import NurtureError

PACKAGE = Path(__file__).resolve().parent
TEMPLATES = PACKAGE.parent / "templates" if (PACKAGE.parent / "pyproject.toml").is_file() else PACKAGE / "templates"

TEMPLATE_FOLDERS = (
    "desk", "desk/accounts", "desk/letters", "desk/operations", "desk/sequences", "desk/settings", "desk/subscribers",
    "letters", "letters/ketamine-and-talk-therapy", "mail", "outbox", "partials", "public",
)  # fmt: skip
PACKAGE_FOLDERS = ("store/migrations/versions", "web/static")


class ResourcesMissing(NurtureError):
    """The installation is incomplete: a folder of files that the program needs is not there."""

    exit_code = 2


def check() -> None:
    """Raise ResourcesMissing, naming the folders, unless every folder of files is there."""
    folders = [TEMPLATES / name for name in TEMPLATE_FOLDERS] + [PACKAGE / name for name in PACKAGE_FOLDERS]
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        raise ResourcesMissing(
            f"The installation is incomplete, these folders are missing: {', '.join(missing)}. Install the wheel again, or run "
            "the program from a complete checkout."
        )
