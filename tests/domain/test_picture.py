"""What letters, editions and mails call a picture."""

import pytest

from nurture.domain.picture import NAME, at_our_address, content_id, named_in, picture_id, shown_in

ONE, OTHER = picture_id(b"one"), picture_id(b"other")


def test_an_id_is_made_of_the_content_and_of_nothing_else() -> None:
    assert picture_id(b"one") == ONE
    assert ONE != OTHER
    assert len(ONE) == 32
    assert set(ONE) <= set("0123456789abcdef")


@pytest.mark.parametrize("name", ["synapse.png", "a.jpg", "two-nerve-cells-2.jpeg", "0_1.png"])
def test_what_a_picture_may_be_called(name: str) -> None:
    assert NAME.fullmatch(name)
    assert named_in(f"Text\n\n![What it shows](picture:{name})\n\n![again](picture:{name})") == {name}


@pytest.mark.parametrize("name", ["", "Synapse.png", "../a.png", ".png", "a.gif", "a b.png", "a/b.png", "x" * 70 + ".png"])
def test_what_it_may_not(name: str) -> None:
    assert not NAME.fullmatch(name)


def test_a_page_says_which_pictures_it_shows_each_once_and_in_order() -> None:
    page = f'<img src="cid:{content_id(OTHER)}"><img src="cid:{content_id(ONE)}"><img src="cid:{content_id(OTHER)}">'
    assert shown_in(page) == [OTHER, ONE]
    assert at_our_address(page) == f'<img src="/pictures/{OTHER}"><img src="/pictures/{ONE}"><img src="/pictures/{OTHER}">'


def test_a_reader_s_name_is_never_taken_for_a_picture() -> None:
    page = f"<p>Hello src=&#34;cid:{content_id(ONE)}&#34; cid:{content_id(ONE)}</p>"
    assert shown_in(page) == []
    assert at_our_address(page) == page
