import string

import pytest

from churnops.app.shared.text import number, one_line, plain
from churnops.words import percent, words

ATTACKS = [
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![x](http://evil.example/x.png)",
    "$\\href{javascript:alert(1)}{x}$",
    ":red[alarm] :material/delete: :streamlit:",
    "https://evil.example www.evil.example someone@evil.example",
    "# heading\n\n- list\n1. one\n| a | b |\n|---|---|",
    "`code` ~~gone~~ **bold** _slanted_ &lt;b&gt; &#60;",
]


@pytest.mark.parametrize("text", ATTACKS)
def test_every_character_of_markup_is_escaped(text):
    shown = plain(text)

    assert "\n" not in shown
    for before, character in zip(" " + shown, shown, strict=False):
        if character in string.punctuation and character not in "\\,;?%":
            assert before == "\\", f"{character} is not escaped in {shown}"


@pytest.mark.parametrize("text", ["https://evil.example", "WWW.evil.example", "a@evil.example", ":streamlit:", "a->b"])
def test_links_and_arrows_are_prevented_although_escaped(text):
    undone = plain(text).replace("\\", "")

    assert text not in undone
    assert undone.replace("\u2060", "") == text


def test_letters_digits_and_accents_stay_as_they_are():
    assert plain("Zoë pays 12 €, état KS") == "Zoë pays 12 €, état KS"


def test_a_backslash_cannot_undo_the_escaping_after_it():
    assert plain("\\*") == "\\\\\\*"


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\r", "\u202e", "\u2028", "\u200b", "\ud800"])
def test_control_characters_become_blanks(character):
    assert one_line(f"a{character}b") == "a b"


@pytest.mark.parametrize("length", [301, 5000, 3_000_000])
def test_long_text_is_cut_and_marked_with_an_ellipsis(length):
    shown = one_line("x" * length)

    assert len(shown) == 300
    assert shown.endswith("…")


def test_text_behind_too_many_blanks_is_not_lost_silently():
    assert one_line(" " * 5000 + "x").endswith("…")


def test_names_become_words():
    assert words("number_vmail_messages") == "Number vmail messages"
    assert words("state=KS") == "State: KS"


@pytest.mark.parametrize(("share", "text"), [(0.0, "0 %"), (1.0, "100 %"), (1e-9, "less than 0.1 %"), (0.4996, "50 %")])
def test_shares_read_as_percent(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.1 + 0.2, "0.3"), (1e20, "100,000,000,000,000,000,000.0"[:-2]), (-4.0, "-4")]
)
def test_numbers_are_rounded_for_people(value, text):
    assert number(value) == text
