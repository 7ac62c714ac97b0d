import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcli.documents.formats import plain_text
from llmcli.documents.segments import join_segments

TEXTS = st.text(alphabet="ab \t\n\r.-\u00a0\x0b\u2028\x85é1`", max_size=40) | st.lists(
    st.sampled_from(["\r\n", "\n", "  ", "\t", "word", "two words.", "\r\n\r\n", " ", "\r"]), max_size=20
).map("".join)


def texts(text):
    return [segment.text for segment in plain_text.FORMAT.split(text, "de")]


@given(TEXTS)
def test_joining_restores_the_text(text):
    """Without translations the text does not change, and segments have visible characters at both ends."""
    segments = plain_text.FORMAT.split(text, "de")
    assert join_segments(text, segments, [None] * len(segments)) == text
    assert all(segment.text == segment.text.strip() for segment in segments)


def test_paragraphs_are_segments():
    """Each paragraph is one segment with all of its lines."""
    assert texts("One\ntwo.\n\n\nThree.\n") == ["One\ntwo.", "Three."]


@pytest.mark.parametrize("text", ["", "\n\n", "-----\n", "1,234.56\n\n***\n", "`code`\n\nhttps://a.example\n"])
def test_text_without_words_is_not_translated(text):
    """White space, rules, numbers, code and addresses alone are no segments."""
    assert texts(text) == []


def test_common_indentation_is_removed_and_restored():
    """Lines of a paragraph lose their common indentation for the model and get it back, whatever their number."""
    text = "    one\n    two\n"
    (segment,) = plain_text.FORMAT.split(text, "de")
    assert segment.text == "one\ntwo"
    assert join_segments(text, [segment], ["eins\nzwei\ndrei"]) == "    eins\n    zwei\n    drei\n"


def test_windows_line_endings_are_restored():
    """The model sees line feeds; the document gets its own line endings, also in one-line paragraphs."""
    text = "a\r\nb\r\n\r\nc\r\n"
    segments = plain_text.FORMAT.split(text, "de")
    assert segments[0].text == "a\nb"
    assert join_segments(text, segments, ["x\ny", "x\ny"]) == "x\r\ny\r\n\r\nx\r\ny\r\n"


def test_line_ends_of_classic_mac_os():
    """If lines end with CR alone, so do new ones; a preceding empty line is no indentation."""
    text = "\r  a\r"
    assert join_segments(text, plain_text.FORMAT.split(text, "de"), ["x\ny"]) == "\r  x\r  y\r"


def test_a_paragraph_stays_one_paragraph():
    """Empty lines in a translation would split it."""
    assert join_segments("one\n", plain_text.FORMAT.split("one\n", "de"), ["eins\n\n \nzwei"]) == "eins\nzwei\n"
