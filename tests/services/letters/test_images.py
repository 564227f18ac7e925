"""Pictures of letters, from a file somebody chose to the mail that carries them, and until nothing shows them any more."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, event, select
from sqlalchemy.exc import IntegrityError

from nurture.delivery import image_cache
from nurture.domain.picture import LONGEST_TEXT, content_id, picture_id
from nurture.domain.user import Role
from nurture.ids import ImageId, StepKey
from nurture.letters.authoring import Parts
from nurture.letters.compiler import compile_letter
from nurture.letters.filling import fill
from nurture.letters.image_processing import develop
from nurture.letters.image_rules import DECORATIVE
from nurture.letters.source import LetterRefused, read_letter
from nurture.runtime import ProcessState, Runtime
from nurture.services.accounts import accounts
from nurture.services.accounts.accounts import Account
from nurture.services.addresses import parse_address
from nurture.services.letters import drafts, images, previews, publishing
from nurture.services.letters.images import KEPT, NotAdded
from nurture.services.operations import retention
from nurture.services.subscribers import detail
from nurture.store.core import schema
from nurture.store.core.schema import deliveries, edition_images
from nurture.store.letters import images as stored
from tests.clocks import ManualClock
from tests.people import a_subscriber, inbox, run_tick
from tests.pictures import ALT, a_picture, drawing, photograph, transparent

KEY, WELCOME, HISTORY = "ketamine-and-talk-therapy", StepKey("welcome"), StepKey("history")


@pytest.fixture
def me(rt: Runtime) -> Account:
    who = accounts.add(rt, parse_address("dana@example.org"), "Dana", Role.OWNER)
    return next(one for one in accounts.everyone(rt) if one.id == who)


def draft_with(rt: Runtime, me: Account, *lines: str, step: StepKey = WELCOME) -> int:
    """Each line as a paragraph behind the first one; returns the draft's version."""
    now = drafts.open_letter(rt, KEY, step)
    title, rest = now.letter.body.split("\n\n", 1)
    body = "\n\n".join([title, *lines, rest])
    return drafts.save(rt, KEY, step, Parts(now.letter.subject, now.letter.preheader, body), now.version, me.id).version


def publish(rt: Runtime, me: Account, step: StepKey = WELCOME) -> None:
    drafts.publish(rt, KEY, step, drafts.open_letter(rt, KEY, step).version, me)
    assert publishing.work(rt)
    assert publishing.under_way(rt)[0].troubles == ()


def there(rt: Runtime, name: str) -> bool:
    return name in images.known(rt, f"picture:{name}")


def test_a_photograph_is_taken_in_small_and_named_by_its_words(rt: Runtime) -> None:
    made = a_picture(rt, photograph(1600, 1200))
    assert made.name == "two-nerve-cells-and-the-narrow-gap.jpg"
    found = images.content(rt, made.id)
    assert found is not None
    content, subtype = found
    assert (subtype, len(content), picture_id(content)) == ("jpeg", made.size, made.id)
    assert b"Secret" not in content
    assert images.known(rt, f"![x](picture:{made.name})") == {made.name: made}


def test_the_same_picture_again_is_the_one_that_is_here_and_another_gets_a_name_of_its_own(rt: Runtime) -> None:
    one = a_picture(rt)
    assert a_picture(rt, alt="Other words") == one
    other = a_picture(rt, drawing(color="#7a1f1f"))
    assert other.name == one.name.replace(".png", "-2.png")
    assert a_picture(rt, transparent(), alt="大脑").name == "picture.png"


@pytest.mark.parametrize(
    ("content", "alt", "field", "why"),
    [
        (b"", ALT, "file", "is empty"),
        (b"<svg/>", ALT, "file", r"no PNG or JPEG picture\. Please choose a photograph or drawing"),
        (drawing()[:300], ALT, "file", "is broken"),
        (drawing(), "  ", "alt", "say what it shows, or that it is only decoration"),
        (drawing(), "a picture", "alt", "does not say what it shows"),
        (drawing(), "IMG_2041.jpeg", "alt", "does not say what it shows"),
        (drawing(), "A cell of {{ reader.first_name }}", "alt", "leave out the curly brackets"),
        (drawing(), "x" * (LONGEST_TEXT + 1), "alt", "at most 250 characters; these are 251"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_in_says_what_to_do(rt: Runtime, content: bytes, alt: str, field: str, why: str) -> None:
    with pytest.raises(NotAdded, match=why) as refused:
        a_picture(rt, content, alt)
    assert refused.value.field == field


@pytest.mark.parametrize("alt", [ALT, DECORATIVE, "A [box] of `pills` & <b>bold</b> *x* \\ {y} #1"])
def test_words_come_out_of_a_letter_as_they_went_in(rt: Runtime, alt: str) -> None:
    made = a_picture(rt)
    letter = read_letter("01-a.md", f"---\nsubject: x\n---\n{images.as_markdown(made, alt)}\n")
    content = fill(compile_letter(letter, known={made.name: made}), previews.values(rt))
    assert ("[Picture: " in content.text) == (alt != DECORATIVE)
    assert alt == DECORATIVE or f"[Picture: {alt}]" in content.text


def test_a_letter_carries_its_picture_and_the_one_before_it_none(rt: Runtime, me: Account) -> None:
    before = a_subscriber(rt)
    run_tick(rt)
    made = a_picture(rt, photograph(1600, 1200))
    draft_with(rt, me, images.as_markdown(made, ALT))
    publish(rt, me)
    after = a_subscriber(rt)
    run_tick(rt)
    old, new = inbox(rt, before)[-1], inbox(rt, after)[-1]
    assert old.pictures() == {}
    (part,) = [part for part in new.message.walk() if part["Content-ID"]]
    assert part["Content-ID"] == f"<{content_id(made.id)}>"
    assert f'src="cid:{content_id(made.id)}"' in new.part("html")
    assert f"[Picture: {ALT}]" in new.part("plain")
    found = images.content(rt, made.id)
    assert found is not None
    assert part.get_payload(decode=True) == found[0]
    assert 'src="data:image/jpeg;base64,' in new.page()


def test_a_mail_carries_only_what_its_own_reader_is_shown(rt: Runtime, me: Account) -> None:
    named, other = a_picture(rt), a_picture(rt, transparent(), "A line from corner to corner")
    lines = images.as_markdown(named, ALT), images.as_markdown(other, "A line from corner to corner")
    draft_with(rt, me, "{% if reader.first_name %}", lines[0], "{% else %}", lines[1], "{% endif %}")
    publish(rt, me)
    robin, nobody = a_subscriber(rt), a_subscriber(rt, first_name="")
    run_tick(rt)
    assert list(inbox(rt, robin)[-1].pictures()) == [content_id(named.id)]
    assert list(inbox(rt, nobody)[-1].pictures()) == [content_id(other.id)]


@pytest.fixture
def reads(rt: Runtime) -> Iterator[list[str]]:
    """The statements that read a picture's content."""
    said: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        if "images.content" in statement:
            said.append(statement)

    event.listen(rt.database.engine, "before_cursor_execute", note)
    yield said
    event.remove(rt.database.engine, "before_cursor_execute", note)


def test_a_process_reads_a_picture_once_for_all_mails_and_remembers_only_so_much(
    rt: Runtime, me: Account, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = a_picture(rt)
    draft_with(rt, me, images.as_markdown(made, ALT))
    publish(rt, me)
    for _ in range(2):
        for _ in range(5):
            a_subscriber(rt)
        run_tick(rt)
    assert len([mail for mail in inbox(rt) if mail.pictures()]) == 10
    assert len(reads) == 1
    monkeypatch.setattr(image_cache, "MOST_KEPT", made.size)
    other = a_picture(rt, transparent(), "A line from corner to corner")
    pages = [f'src="cid:{content_id(picture.id)}"' for picture in (made, other)]
    with rt.database.read() as db:
        assert image_cache.load_images(rt, db, pages).keys() == {made.id, other.id}, "what is asked for is all there"
        assert sum(len(kept.content) for kept in rt.process_state.image_cache.values()) <= made.size
        rt.process_state = ProcessState()
        assert image_cache.load_images(rt, db, ["<p>No picture</p>"]) == {}
        assert image_cache.load_images(rt, db, [f'src="cid:picture-{"0" * 32}"']) == {}


def test_an_edition_keeps_its_picture_and_a_mail_of_then_still_shows_it(rt: Runtime, me: Account) -> None:
    made = a_picture(rt)
    draft_with(rt, me, images.as_markdown(made, ALT))
    publish(rt, me)
    reader = a_subscriber(rt)
    run_tick(rt)
    now = drafts.open_letter(rt, KEY, WELCOME)
    bare = now.letter.body.replace(images.as_markdown(made, ALT), "Words instead.")
    drafts.save(rt, KEY, WELCOME, Parts(now.letter.subject, now.letter.preheader, bare), now.version, me.id)
    publish(rt, me)
    with rt.database.begin() as db:
        assert list(db.scalars(select(edition_images.c.image_id))) == [made.id]
        assert stored.forget(db, rt.clock.real_now() + timedelta(days=400)) == 0
        delivery = db.execute(
            select(deliveries.c.id).where(deliveries.c.subscriber_id == reader.id, deliveries.c.kind == "letter")
        ).scalars().first()  # fmt: skip
    assert f'src="/pictures/{made.id}"' in detail.as_read(rt, reader.id, delivery).html  # type: ignore[arg-type]
    with pytest.raises(IntegrityError), rt.database.begin() as db:
        db.execute(delete(schema.images))
    old = drafts.editions(rt, KEY, WELCOME)[1]
    drafts.put_back(rt, KEY, WELCOME, old.id, drafts.open_letter(rt, KEY, WELCOME).version, me.id)
    assert not drafts.review(rt, drafts.open_letter(rt, KEY, WELCOME).letter).refused


def test_a_picture_goes_thirty_days_after_the_last_draft_that_showed_it(rt: Runtime, me: Account, clock: ManualClock) -> None:
    made, unused = a_picture(rt), a_picture(rt, transparent(), "A line from corner to corner")
    version = draft_with(rt, me, images.as_markdown(made, ALT))
    clock.advance(days=29)
    retention.retain(rt)
    assert there(rt, made.name)
    assert there(rt, unused.name)
    clock.advance(days=2)
    retention.retain(rt)
    assert there(rt, made.name), "a draft shows it"
    assert not there(rt, unused.name)
    drafts.discard(rt, KEY, WELCOME, version)
    clock.advance(days=29)
    retention.retain(rt)
    assert there(rt, made.name), "it may be put back"
    clock.advance(days=2)
    retention.retain(rt)
    assert not there(rt, made.name)
    assert timedelta(days=30) == KEPT


def test_a_letter_sent_to_oneself_carries_the_picture_of_the_draft(rt: Runtime, me: Account) -> None:
    made = a_picture(rt)
    draft_with(rt, me, images.as_markdown(made, ALT))
    previews.send_to_self(rt, [drafts.open_letter(rt, KEY, WELCOME).letter], me)
    run_tick(rt)
    assert list(inbox(rt)[-1].pictures()) == [content_id(made.id)]


def test_a_letter_with_a_picture_that_nobody_may_see_is_not_published(rt: Runtime, me: Account) -> None:
    draft_with(rt, me, "![A cell](https://example.org/x.png)")
    now = drafts.open_letter(rt, KEY, WELCOME)
    look = drafts.review(rt, now.letter)
    (remark,) = [one for one in look.remarks if one.finding.rule == "T19"]
    assert remark.stops
    assert remark.line == 3
    assert remark.fix is not None
    assert look.refused == "", "said once, beside its line"
    with pytest.raises(drafts.DraftRefused, match="must be changed"):
        drafts.publish(rt, KEY, WELCOME, now.version, me)
    draft_with(rt, me, '{{ aside("![A cell](https://example.org/x.png)") }}', step=HISTORY)
    assert drafts.review(rt, drafts.open_letter(rt, KEY, HISTORY).letter).stops


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def with_picture(rt: Runtime, folder: Path, content: bytes, name: str = "synapse.png", alt: str = ALT) -> Path:
    publishing.export_folder(rt, KEY, folder)
    (folder / "pictures").mkdir(exist_ok=True)
    (folder / "pictures" / name).write_bytes(content)
    letter = folder / "01-history.md"
    letter.write_text(letter.read_text("utf-8") + f"\n![{alt}](picture:{name})\n", "utf-8")
    return folder


def test_letters_and_their_pictures_come_out_byte_for_byte_as_they_went_in(rt: Runtime, tmp_path: Path) -> None:
    folder = with_picture(rt, tmp_path / "in", develop(photograph(1600, 1200)).content, "a-photo.jpg")
    (folder / "pictures" / "leaf.png").write_bytes(drawing())
    letter = folder / "02-how-it-may-work.md"
    letter.write_text(letter.read_text("utf-8") + "\n![decorative](picture:leaf.png)\n", "utf-8")
    loaded = publishing.load_folder(rt, folder)
    assert loaded and loaded.published == 2
    publishing.export_folder(rt, KEY, tmp_path / "out")
    assert files(tmp_path / "out") == files(folder)
    again = publishing.load_folder(rt, tmp_path / "out")
    assert again and again.published == 0
    shutil.rmtree(tmp_path / "out" / "pictures")
    assert publishing.load_folder(rt, tmp_path / "out"), "pictures that are here need no file"


def test_a_picture_of_a_folder_is_made_fit_and_the_same_file_again_changes_nothing(rt: Runtime, tmp_path: Path) -> None:
    folder = with_picture(rt, tmp_path / "in", photograph(1600, 1200), "a-photo.jpg")
    publishing.load_folder(rt, folder)
    publishing.export_folder(rt, KEY, tmp_path / "out")
    assert b"Secret" not in (tmp_path / "out" / "pictures" / "a-photo.jpg").read_bytes()
    again = publishing.load_folder(rt, folder)
    assert again and again.published == 0


def test_the_scheduler_publishes_a_folder_with_pictures(rt: Runtime, tmp_path: Path) -> None:
    publishing.ask(rt, with_picture(rt, tmp_path, drawing()))
    assert publishing.work(rt)
    assert publishing.under_way(rt)[0].troubles == ()
    assert there(rt, "synapse.png")


@pytest.mark.parametrize(
    ("content", "name", "alt", "why"),
    [
        (b"<svg/>", "synapse.png", ALT, r"pictures/synapse\.png: This picture is no PNG or JPEG picture\. Save it anew"),
        (b"\xff\xd8\xff" + bytes(15_000_001), "synapse.jpg", ALT, "is larger than 15 MB"),
        (drawing(), "Synapse.PNG", ALT, "no picture of this name here"),
        (drawing(), "synapse.png", "", r"01-history\.md, line \d+: picture:synapse\.png: .* would not know what it shows"),
    ],
)  # fmt: skip
def test_a_folder_with_a_picture_that_cannot_be_used_changes_nothing(
    rt: Runtime, tmp_path: Path, content: bytes, name: str, alt: str, why: str
) -> None:
    with pytest.raises(LetterRefused, match=why):
        publishing.load_folder(rt, with_picture(rt, tmp_path, content, name, alt))
    assert not there(rt, name)
    assert len(publishing.under_way(rt)) == 1, "nothing was asked for besides what came with the service"


def test_a_name_never_comes_to_mean_another_picture(rt: Runtime, tmp_path: Path) -> None:
    publishing.load_folder(rt, with_picture(rt, tmp_path / "one", drawing()))
    with pytest.raises(LetterRefused, match=r"pictures/synapse\.png: .* such as synapse-2\.png, and write it into the letter"):
        publishing.load_folder(rt, with_picture(rt, tmp_path / "two", drawing(color="#7a1f1f")))
    with pytest.raises(LetterRefused, match=r"pictures/other\.png: .* here already as synapse\.png"):
        publishing.load_folder(rt, with_picture(rt, tmp_path / "three", drawing(), "other.png"))
    found = images.content(rt, images.known(rt, "picture:synapse.png")["synapse.png"].id)
    assert found == (drawing(), "png")


def test_no_name_leads_out_of_the_folder(rt: Runtime, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(drawing())
    folder = tmp_path / "in"
    publishing.export_folder(rt, KEY, folder)
    for name in ("../../secret.png", "..", "/etc/passwd", "..%2f..%2fsecret.png"):
        assert images.beside(folder, [f"![A cell](picture:{name})"]) == {}


def test_there_is_no_picture_of_another_id(rt: Runtime) -> None:
    assert images.content(rt, ImageId("0" * 32)) is None
