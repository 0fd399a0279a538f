"""Spellings of choices: a choice always means itself, and no spelling means two choices."""

from hypothesis import given
from hypothesis import strategies as st

from churnops.schema import Column
from churnops.spelling import plain

TEXTS = st.text(min_size=1, max_size=12)


@given(st.lists(TEXTS, min_size=1, max_size=8, unique=True))
def test_each_choice_means_itself_and_a_spelling_means_one(choices: list[str]):
    column = Column(name="plan", kind="category", choices=tuple(choices))
    for choice in choices:
        assert column.choice(choice) == choice
        other = column.choice(f" {choice.swapcase()}")
        assert other is None or plain(other) == plain(choice.swapcase())


@given(TEXTS)
def test_a_plain_spelling_is_its_own_plain_spelling(text: str):
    assert plain(plain(text)) == plain(text)


@given(st.integers(-(10**12), 10**12))
def test_whole_floats_have_the_spelling_of_the_integer(number: int):
    assert plain(f"{number}.0") == plain(f" {number}") == str(number)
