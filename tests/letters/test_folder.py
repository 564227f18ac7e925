"""What lies in a folder of letters is a part of the sequence, is refused by name, or is none of its business."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from nurture.letters.source import LetterRefused, read_folder
from tests.letters.test_source import folder as folder
from tests.letters.test_source import write


@pytest.mark.parametrize(
    "name",
    [
        "01-history (1).md", "Copy of 01-history.md", "01-history copy.md", "01-history - Copy.md", "01-history.md~",
        ".01-history.md.swp", ".#01-history.md", "#01-history.md#", ".~lock.01-history.md#", "01-history.MD",
        "01-history.md.bak", "01-history.md.txt", "01-history.markdown", "01_history.md", "01 history.md",
        "Copy (2) of 01-history.md",
        "sequence.yml", "sequence (1).yaml", "Copy of sequence.yaml", "sequence.yaml~", ".sequence.yaml.swp", "Sequence.YAML",
    ],
)  # fmt: skip
def test_what_looks_like_a_part_is_refused_by_name(folder: Path, name: str) -> None:
    write(folder, "01-history.md", "02-other.md")
    write(folder, name)
    with pytest.raises(LetterRefused) as refused:
        read_folder(folder)
    assert refused.value.where == str(folder / name)
    assert "take it away" in refused.value.advice.lower()


@pytest.mark.parametrize("name", ["01-history-copy.md", "01-history(1).md", "1-another.md", "001-another.md", "07-History.md"])
def test_two_letters_of_one_number_or_name_are_refused(folder: Path, name: str) -> None:
    write(folder, "01-history.md", "02-other.md")
    write(folder, name)
    with pytest.raises(LetterRefused) as refused:
        read_folder(folder)
    assert name in refused.value.where or "01-history.md" in str(refused.value)


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "notes.md",
        "notes-02.md",
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
        "._01-history.md",
        "LICENSE",
        "plan.xlsx",
    ],
)
def test_what_is_no_part_is_let_alone(folder: Path, name: str) -> None:
    write(folder, "01-history.md")
    write(folder, name)
    (folder / "pictures").mkdir()
    (folder / ".git").mkdir()
    assert [letter.file_name for letter in read_folder(folder)[1]] == ["01-history.md"]


def test_a_letter_that_is_no_file_is_refused_without_a_traceback(folder: Path) -> None:
    write(folder, "01-history.md")
    (folder / "02-other.md").mkdir()
    with pytest.raises(LetterRefused, match="no file that can be read"):
        read_folder(folder)
    (folder / "02-other.md").rmdir()
    (folder / "02-other.md").symlink_to(folder / "nowhere.md")
    with pytest.raises(LetterRefused, match="no file that can be read"):
        read_folder(folder)


def test_lint_ends_with_one_line_that_names_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nurture.cli.main import cli

    monkeypatch.setenv("NURTURE_INSTANCE_DIR", str(folder / "instance"))
    write(folder, "01-history.md", "01-history (1).md")
    found = CliRunner().invoke(cli, ["letters", "lint", str(folder)])
    assert found.exit_code == 1
    assert "01-history (1).md: This looks like a copy of a letter" in found.output
