import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcli.tasks.plain import split_plain

TEXTS = st.text(alphabet="ab \t\n\r.-\u00a0\x0b\u2028\x85é1", max_size=40) | st.lists(
    st.sampled_from(["\r\n", "\n", "  ", "\t", "word", "two words.", "\r\n\r\n", " ", "\r"]), max_size=20
).map("".join)


def segments(text):
    return [piece.text for piece in split_plain(text) if piece.text]


@given(TEXTS)
def test_joining_gives_the_text_back(text):
    """Joined with their own texts, the pieces are the document."""
    assert "".join(piece.join(piece.text) for piece in split_plain(text)) == text


@given(TEXTS, st.integers(0, 40))
def test_parts_of_a_piece_give_it_back(text, place):
    """A piece cut into parts joins to the same as the whole one."""
    for piece in split_plain(text):
        if piece.text:
            parts = piece.parts([piece.text[:place], piece.text[place:]])
            assert "".join(part.join(part.text) for part in parts) == piece.join(piece.text)


@given(TEXTS)
def test_segments_have_no_outer_white_space(text):
    """A segment begins and ends with a visible character."""
    assert all(segment == segment.strip() for segment in segments(text))


def test_paragraphs_are_segments():
    """Each paragraph is a segment of its own, its lines together."""
    assert segments("One\ntwo.\n\n\nThree.\n") == ["One\ntwo.", "Three."]


@pytest.mark.parametrize("text", ["", "\n\n", "-----\n", "1,234.56\n\n***\n"])
def test_what_has_no_letters_is_not_translated(text):
    """White space, rules and numbers are no segments."""
    assert segments(text) == []


def test_common_indentation_is_laid_aside_and_put_back():
    """Lines of a paragraph lose their common indentation on the way and get it back, whatever their number."""
    (piece,) = split_plain("    one\n    two\n")
    assert piece.text == "one\ntwo"
    assert piece.join("eins\nzwei\ndrei") == "    eins\n    zwei\n    drei\n"


def test_windows_line_endings_are_put_back():
    """The model sees plain line feeds; the document gets its own line endings, in one-line paragraphs too."""
    first, second = split_plain("a\r\nb\r\n\r\nc\r\n")
    assert first.text == "a\nb"
    assert first.join("x\ny") == "x\r\ny\r\n\r\n"
    assert second.join("x\ny") == "x\r\ny\r\n"
