"""What cannot be taken from `.env` is named by file and line, and nothing of a value is said."""

from pathlib import Path

import pytest

from nurture.settings import SettingRefused, load, read_sources


@pytest.fixture(autouse=True)
def _an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def refused(tmp_path: Path, content: str | bytes) -> list[str]:
    """What is said of a file, line by line, without its path."""
    path = tmp_path / ".env"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingRefused) as raised:
        load()
    lines = str(raised.value).splitlines()
    assert all(line.startswith(f"{path}:") for line in lines), lines
    assert "hunter2" not in str(raised.value)
    return [line.removeprefix(f"{path}:") for line in lines]


def test_a_file_of_many_faults_names_each_with_its_line(tmp_path: Path) -> None:
    found = refused(
        tmp_path,
        "NURTURE_FROM_NAME=Dana #1\n"
        "NURTURE_POSTAL_ADDRESS=12 Oak St #4, Portland, OR 97201, USA\n"
        "NURTURE_FORM_NAME=misspelt\n"
        "NURTURE_PRACTICE_NAME='t Huis\n",
    )
    assert [line.split(":")[0] for line in found] == ["1", "2", "3", "4"]
    assert "NURTURE_FROM_NAME is cut off at “ #”" in found[0]
    assert "NURTURE_POSTAL_ADDRESS is cut off at “ #”" in found[1]
    assert "NURTURE_FORM_NAME is not a setting. Did you mean NURTURE_FROM_NAME?" in found[2]
    assert "NURTURE_PRACTICE_NAME cannot be read: its value begins with a quote (')" in found[3]


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ("\n\nNURTURE_FROM_NAME=Dana Müller\n".encode("cp1252"), 3, "NURTURE_FROM_NAME holds a letter that is not UTF-8"),
        (b"NURTURE_FROM_NAME=Da\0na\n", 1, "NURTURE_FROM_NAME holds a NUL character"),
        ("NURTURE_FROM_NAME=Dana\n".encode("utf-16"), 1, "The file is UTF-16. Save it as UTF-8."),
        ("NURTURE_FROM_NAME=Dana\n".encode("utf-16-le"), 1, "The file is UTF-16. Save it as UTF-8."),
        ("A=1\nNURTURE_FROM_NAME Dana\n", 2, "NURTURE_FROM_NAME cannot be read"),
        ("NURTURE_FROM_NAME\n", 1, "NURTURE_FROM_NAME has no “=”"),
        ("SECRET=1\nhunter2\n", 2, "The line has no “=”"),
        ("hunter2 and more\n", 1, "The line cannot be read"),
        ("NURTURE_SECRET_KEY='hunter2\n", 1, "NURTURE_SECRET_KEY cannot be read: its value begins with a quote"),
        ('NURTURE_SMTP_URL="smtp://a:hunter2@b" x\n', 1, "NURTURE_SMTP_URL cannot be read"),
        ("NURTURE_SMTP_URL=smtp://a:b #hunter2@c\n", 1, "NURTURE_SMTP_URL is cut off"),
        ("NURTURE_COLOR= #1f5f5b\n", 1, "NURTURE_COLOR is cut off"),
        ("NURTURE_BATCH_SIZE=5\n# x\nNURTURE_BATCH_SIZE=6\n", 3, "NURTURE_BATCH_SIZE is set in line 1 already"),
        ('NURTURE_FROM_NAME="Dana\nNURTURE_REPLY_TO="a@b.org\n', 1, "NURTURE_FROM_NAME"),
        ('NURTURE_FROM_NAME="Dana\nNURTURE_COLOR=#1f5f5b\nA="\n', 1, "NURTURE_FROM_NAME"),
        ("NURTURE_FROM_NAME=Dana ${NOBODY}\n", 1, "NURTURE_FROM_NAME holds “${…}”"),
        ("export NURTURE_FORM_NAME=Dana\n", 1, "NURTURE_FORM_NAME is not a setting"),
        ("NURTURE_WHATEVER=1\n", 1, "NURTURE_WHATEVER is not a setting. The names are in docs/reference.md"),
    ],
)
def test_each_kind_of_line_that_cannot_be_taken(tmp_path: Path, content: str | bytes, line: int, said: str) -> None:
    found = refused(tmp_path, content)[0]
    assert found.startswith(f"{line}: {said}")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("NURTURE_FROM_NAME=Dana\n", "Dana"),
        ("\ufeffNURTURE_FROM_NAME=Dana\r\n", "Dana"),
        ("export NURTURE_FROM_NAME=Dana\n", "Dana"),
        ("NURTURE_FROM_NAME = Dana \n", "Dana"),
        ('NURTURE_FROM_NAME="Dana #1"  # a comment\n', "Dana #1"),
        ("NURTURE_FROM_NAME='Dana \"Dee\" Weber'\n", 'Dana "Dee" Weber'),
        ('NURTURE_FROM_NAME="Dana \\"Dee\\" Weber"\n', 'Dana "Dee" Weber'),
        ("NURTURE_FROM_NAME=Dana#1\n", "Dana#1"),
        ("NURTURE_FROM_NAME=Dana van 't Huis\n", "Dana van 't Huis"),
        ("# NURTURE_FROM_NAME=x\n\nNAME=Dana\nNURTURE_FROM_NAME=${NAME}\n", "Dana"),
        ("NURTURE_FROM_NAME=${NOBODY:-Dana}\n", "Dana"),
        ("POSTGRES_PASSWORD=a #b\nNURTURE_FROM_NAME=Müller\n", "Müller"),
        ("nurture_from_name=Dana\n", "Dana"),
    ],
)
def test_what_python_dotenv_reads_is_read_as_it_does(tmp_path: Path, content: str, name: str) -> None:
    (tmp_path / ".env").write_bytes(content.encode())
    assert load().from_name == name


def test_a_wrong_value_names_file_and_line(tmp_path: Path) -> None:
    found = refused(tmp_path, "# first\nNURTURE_BATCH_SIZE=5000\nNURTURE_SECRET_KEY=hunter2\n")
    assert found[0].startswith("3: NURTURE_SECRET_KEY is set, which is refused")
    assert found[1].startswith("2: NURTURE_BATCH_SIZE is '5000', which is refused")


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(SettingRefused, match=r"\.env cannot be read \(is a directory\)"):
        load()


def test_a_link_whose_file_is_gone_is_an_error(tmp_path: Path) -> None:
    """A secret that is not mounted leaves such a link: without this, every setting silently takes its default."""
    (tmp_path / ".env").symlink_to(tmp_path / "not-mounted")
    with pytest.raises(SettingRefused, match=r"\.env cannot be read \(the link points to .*not-mounted, which is not there\)"):
        load()


def test_every_value_knows_where_it_was_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("NURTURE_BATCH_SIZE=10\n\nNURTURE_FROM_NAME=Dana\nNURTURE_COLOR=\n")
    monkeypatch.setenv("NURTURE_BATCH_SIZE", "20")
    found = read_sources()
    assert {name: (source.value, source.line) for name, source in found.items()} == {
        "batch_size": ("20", 0),
        "from_name": ("Dana", 3),
    }
    assert found["from_name"].file == str(tmp_path / ".env")


def test_bytes_of_the_environment_that_are_not_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NURTURE_SECRET_KEY", "hunter2" * 6 + "\udce4")
    with pytest.raises(SettingRefused, match=r"^NURTURE_SECRET_KEY holds a value that is not UTF-8"):
        load()
