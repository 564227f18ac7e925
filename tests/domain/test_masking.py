"""What whoever holds a link may see of a person."""

from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.masking import mask_address, mask_name, mask_telephone


def test_enough_stays_to_recognize_ones_own() -> None:
    assert mask_name("Zoë") == "Z•••"
    assert mask_name("") == ""
    assert mask_address("robin.quill@example.co.uk") == "r•••@e•••.uk"
    assert mask_telephone("+1 503 555 0142") == "•••42"


@given(st.text(min_size=1, max_size=100))
def test_a_masked_name_does_not_even_say_how_long_it_is(name: str) -> None:
    assert mask_name(name) == f"{name[0]}•••"


@given(st.text("abc.+", min_size=2, max_size=64), st.text("abcd-", min_size=2, max_size=60))
def test_a_masked_address_holds_two_letters_and_the_last_label(local: str, host: str) -> None:
    assert mask_address(f"{local}@{host}.example") == f"{local[0]}•••@{host[0]}•••.example"
