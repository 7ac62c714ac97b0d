"""Splitting text: nothing is lost, pieces fit, and cuts are where readers expect them."""

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcli.documents.text_cutting import cut_text, split_paragraphs, split_sentences

TEXTS = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from(
            [
                "word",
                "two words ",
                "End. ",
                'Said "so."  ',
                "\n",
                "\r\n",
                "\r",
                "\n\n",
                " \t",
                "。",
                "日本語",
                "e\u0301",
                "👩\u200d👧",
                "🇫🇷",
            ]
        ),
        max_size=60,
    ).map("".join),
)


@given(TEXTS)
def test_paragraphs_lose_nothing(text):
    """The joined paragraphs equal the text, and none is empty."""
    pieces = split_paragraphs(text)
    assert "".join(pieces) == text
    assert all(pieces)


@given(TEXTS)
def test_sentences_lose_nothing(text):
    """The joined sentences equal the text, and none is empty."""
    pieces = split_sentences(text)
    assert "".join(pieces) == text
    assert all(pieces)


@given(TEXTS, st.integers(min_value=1, max_value=40))
def test_passages_lose_nothing_and_fit(text, limit):
    """For any text and limit the joined passages equal the text, and each fits."""
    pieces = list(cut_text(text, lambda piece: len(piece) <= limit))
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= limit for piece in pieces)


@given(TEXTS, st.integers(min_value=1, max_value=40))
def test_passages_are_filled(text, limit):
    """No two neighbours at paragraph borders would fit together: filling is greedy."""
    pieces = list(cut_text(text, lambda piece: len(piece) <= limit))
    units = split_paragraphs(text)
    if all(len(unit) <= limit for unit in units):
        greedy, last = [], ""
        for unit in units:
            if last and len(last) + len(unit) > limit:
                greedy.append(last)
                last = ""
            last += unit
        assert pieces == [*greedy, *([last] if last else [])]


@given(
    st.lists(
        st.sampled_from(["a\u0301", "🇫🇷", "👩\u200d👧", "👍🏽", "\u1112\u1161\u11ab", "x", "❤\ufe0f"]), max_size=30
    ).map("".join)
)
def test_characters_stay_whole(text):
    """A passage never begins with an extension of the previous character, as long as one character fits."""
    pieces = list(cut_text(text, lambda piece: len(piece) <= 5))
    for before, piece in itertools.pairwise(pieces):
        assert unicodedata.category(piece[0]) not in {"Mn", "Me", "Mc"}
        assert piece[0] not in "\u200d🏽\u1161\u11ab"
        assert not before.endswith("\u200d")
        assert before.count("🇫") == before.count("🇷")


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("a", ["a"]),
        ("a\n\nb", ["a\n\n", "b"]),
        ("a\nb\n\n\n c\n", ["a\nb\n\n\n", " c\n"]),
        ("\n\na\r\n \t\r\nb", ["\n\na\r\n \t\r\n", "b"]),
        ("\n \n", ["\n \n"]),
    ],
)
def test_a_paragraph_keeps_the_blank_lines_after_it(text, pieces):
    """Blank lines, also with blanks in them, belong to the paragraph before; leading ones to the first."""
    assert split_paragraphs(text) == pieces


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("One. Two!  Three", ["One. ", "Two!  ", "Three"]),
        ('He said "no." She left.', ['He said "no." ', "She left."]),
        ("Pi is 3.14 now.", ["Pi is 3.14 now."]),
        ("一つ。二つ！三つ", ["一つ。", "二つ！", "三つ"]),
        ("Title\nText. More", ["Title\n", "Text. ", "More"]),
    ],
)
def test_sentences_end_where_readers_end_them(text, pieces):
    """Full stops with blanks after them, CJK marks without, and line ends; not the points in numbers."""
    assert split_sentences(text) == pieces


def test_cuts_prefer_the_coarsest_border():
    """Paragraphs first, then lines, sentences, words, characters."""
    text = "One two. Three four.\nLine two\n\nNext"
    cuts = {
        limit: next(cut_text(text, lambda piece, limit=limit: len(piece) <= limit)) for limit in (34, 31, 25, 15, 6, 2)
    }
    assert cuts == {
        34: "One two. Three four.\nLine two\n\n",
        31: "One two. Three four.\nLine two\n\n",
        25: "One two. Three four.\n",
        15: "One two. ",
        6: "One ",
        2: "On",
    }


def test_a_limit_below_one_character_is_an_error():
    """A limit below one code point neither loops nor loses text."""
    with pytest.raises(ValueError, match="single code point"):
        list(cut_text("ab", lambda piece: not piece))


def test_fits_is_called_rarely():
    """The number of calls grows with the logarithm of the units in a piece, not with their number."""
    asked = []

    def fits(piece):
        asked.append(len(piece))
        return len(piece) <= 40_000

    pieces = list(cut_text("word and word.\n\n" * 10_000, fits))
    assert len(pieces) == 4
    assert len(asked) < 4 * 2 * 14 + 4
    assert sum(asked) < 4 * 14 * 80_000 + 160_000


@pytest.mark.parametrize("text", ["." * 200_000, " " * 200_000, "。" * 200_000, '."' * 100_000, "\r" * 200_000])
def test_splitting_is_linear(text):
    """Long runs of possible borders are split quickly: no pattern backtracks over them."""
    assert "".join(cut_text(text, lambda piece: len(piece) <= 50_000)) == text
    assert "".join(split_sentences(text)) == text
