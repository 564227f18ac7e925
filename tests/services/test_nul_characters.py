"""U+0000 by every way in that is no form: PostgreSQL stores none, so it is refused with a sentence, or read as U+FFFD."""

import io
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from sqlalchemy import func, select, update

from nurture import runtime
from nurture.app import create_app
from nurture.cli.main import cli
from nurture.ids import new_id
from nurture.resources import pack
from nurture.runtime import Runtime
from nurture.services.operations import backup as backups
from nurture.services.operations import restore as restores
from nurture.services.operations.archive import Archive
from nurture.store.core.schema import editions, provider_events, sequences, subscribers
from tests.conftest import SECRET, settings_for
from tests.desk import csrf, enter
from tests.people import a_subscriber
from tests.servers.postgres import Postgres
from tests.servers.sendgrid_events import Signer, body, entry

KEY = "ketamine-and-talk-therapy"


def run(rt: Runtime, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.setenv("NURTURE_DATABASE_URL", rt.database.url.render_as_string(hide_password=False))
    monkeypatch.setenv("NURTURE_INSTANCE_DIR", str(rt.settings.instance_dir))
    monkeypatch.setenv("NURTURE_SECRET_KEY", SECRET)
    return CliRunner().invoke(cli, arguments)


def is_refused(result: Result) -> bool:
    """In a sentence, and not by an exception that nobody expected."""
    return result.exit_code != 0 and isinstance(result.exception, SystemExit) and "Traceback" not in result.output


@pytest.mark.parametrize("cell", ["a\0nn@example.org", '"a\0nn@example.org"', "ann@example.org,A\0nn"], ids=ascii)
def test_a_list_of_people_is_refused(
    client: FlaskClient, rt: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cell: str
) -> None:
    file = tmp_path / "people.csv"
    file.write_text(f"email,name\n{cell}\n", "utf-8")
    said = run(rt, monkeypatch, "subscribers", "import", str(file), "--where", "a paper form, 12 March")
    assert is_refused(said)
    assert "Save as" in said.output
    enter(client, rt)
    form: dict[str, Any] = {"csrf": csrf(client, "/desk/account/"), "file": (io.BytesIO(file.read_bytes()), "people.csv")}
    answer = client.post("/desk/people/import/", data=form, content_type="multipart/form-data")
    assert answer.status_code == 422
    assert "Save as" in answer.text
    with rt.database.read() as db:
        assert not db.scalar(select(func.count()).select_from(subscribers))


FILES = {
    "in the text": ("01-history.md", "\n\nHello", "\n\nHel\0lo"),
    "in the subject": ("01-history.md", "subject: .*", 'subject: "a\\\\0b"'),
    "in the preheader": ("01-history.md", "preheader: .*", 'preheader: "a\\\\0b"'),
    "in the wait": ("01-history.md", "wait: .*", 'wait: "3 days\\\\0"'),
    "in a name": ("01-history.md", "subject: ", '"a\\\\0b": c\nsubject: '),
    "in who reviewed it": ("01-history.md", "reviewed-by: .*", 'reviewed-by: "a\\\\0b"'),
    "in a source": ("01-history.md", "sources:.*", 'sources: [{text: "a\\\\0b", url: "https://example.org"}]\nmore:'),
    "in the title": ("sequence.yaml", "title: .*", 'title: "a\\\\0b"'),
    "in the key": ("sequence.yaml", "key: .*", 'key: "a\\\\0b"'),
    "in the file": ("sequence.yaml", "title: .*", "title: a\0b"),
    "in a rule": ("sequence.yaml", "title: ", 'when-in-doubt: "hold\\\\0"\ntitle: '),
    "half a surrogate in the title": ("sequence.yaml", "title: .*", 'title: "a\\\\ud800b"'),
    "half a surrogate in the key": ("sequence.yaml", "key: .*", 'key: "a\\\\ud800b"'),
}


@pytest.mark.parametrize("name", FILES)
def test_a_folder_of_letters_is_refused_or_taken_without_it(
    rt: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    file, pattern, with_it = FILES[name]
    folder = tmp_path / "letters"
    shutil.copytree(pack().letters / KEY, folder)
    text = (folder / file).read_text("utf-8")
    spoiled = re.sub(pattern, with_it, text, count=1) if re.search(pattern, text) else text.replace("\n---\n", "\n---\n\0", 1)
    assert spoiled != text
    (folder / file).write_text(spoiled, "utf-8")
    for more in ([], ["--background"]):
        said = run(rt, monkeypatch, "letters", "import", str(folder), *more)
        assert is_refused(said) or (said.exit_code == 0 and name == "in a name"), (said.output, said.exception)
    if said.exit_code:
        assert file in said.output
    with rt.database.read() as db:
        assert not [subject for subject in db.scalars(select(editions.c.subject)) if "\0" in subject]


FIELDS = (
    "event", "email", "sg_event_id", "sg_message_id", "smtp-id", "nurture_delivery_id", "nurture_request_id", "reason", "type",
    "bounce_classification", "status", "response", "useragent", "ip", "category", "url",
)  # fmt: skip


def test_reports_are_taken_and_nothing_of_them_is_lost(rt: Runtime) -> None:
    signer = Signer()
    rt.settings = rt.settings.model_copy(update={"sendgrid_webhook_key": signer.public})
    client = create_app(rt).test_client()
    a_subscriber(rt)
    whole = [entry("bounce", type="bounce", email="ada@example.com", nurture_delivery_id=new_id())]
    bounce = {"event": "bounce", "type": "bounce", "email": "ada@example.com"}
    odd = [bounce | {field: "a\0b", "timestamp": 1_700_000_000 + number} for number, field in enumerate(FIELDS)]
    odd += [{"a\0b": "c", **entry("dropped", reason="Bounced Address\0")}]
    raw = body(whole + odd)
    assert rb"\u0000" in raw
    for sent in (raw, raw.replace(rb"\u0000", b"\0")):
        answer = client.post(
            "/webhooks/sendgrid/events", data=sent, headers=signer.headers(sent, str(int(rt.clock.real_now().timestamp())))
        )
        assert answer.status_code in ((204,) if sent is raw else (204, 400)), answer.text
    with rt.database.read() as db:
        assert db.scalar(select(func.count()).select_from(provider_events)) == len(whole + odd)


def test_a_backup_that_holds_one_can_be_restored_into_postgresql(
    sqlite_template: Path, tmp_path: Path, postgres: Postgres
) -> None:
    """On SQLite, earlier versions stored what was typed."""
    shutil.copy(sqlite_template, tmp_path / "old.db")
    old = runtime.build(settings_for(tmp_path, f"sqlite:///{tmp_path / 'old.db'}"))
    with old.database.begin() as db:
        db.execute(update(sequences).values(title="a\0b"))
    backups.create_backup(old, tmp_path / "file")
    old.close()
    name = f"target_{new_id()}"
    postgres.create(name)
    target = settings_for(tmp_path / "new machine", postgres.url(name))
    restores.restore(target, Archive(tmp_path / "file"))
    new = runtime.build(target)
    with new.database.read() as db:
        assert db.scalars(select(sequences.c.title)).all() == ["a\ufffdb"]
    new.close()
    postgres.drop(name)
