from llmcli.documents.text_cleaning import (
    LineNormalizer,
    clean_translation,
    collapse_whitespace,
    detect_newline,
    remove_empty_lines,
)


def test_control_characters_are_removed():
    """Control characters are removed from a translation; all line ends become LF."""
    assert clean_translation("a\0\x1b\ufeff\ud800b\r\nc\u2028d") == "ab\nc\nd"


def test_added_lines_end_like_those_of_the_document():
    """With mixed line ends CRLF is used; a lone CR ends lines only if there is no LF."""
    assert [detect_newline(text) for text in ("a", "a\nb", "a\r\nb\nc", "a\rb", "a\rb\nc")] == [
        "\n",
        "\n",
        "\r\n",
        "\r",
        "\n",
    ]


def test_white_space_is_collapsed():
    """No-break spaces stay."""
    assert collapse_whitespace("a \n\tb\u00a0: c") == "a b\u00a0: c"
    assert remove_empty_lines("a  \n\n  b") == "a\nb"


def test_a_translation_has_no_more_line_ends_than_its_source():
    """Line ends become blanks if the source has none; extra empty lines become line ends."""
    assert LineNormalizer("one")("a\nb") == "a b"
    normalize = LineNormalizer("one\n\ntwo\nthree")
    assert normalize("a\n\nb") + normalize("\n\nc\nd") == "a\n\nb\nc\nd"


def test_line_ends_of_a_translation_are_those_of_its_source():
    """CRLF in a value means something to the program that shows it."""
    assert LineNormalizer("one\r\ntwo")("a\nb\n\nc") == "a\r\nb\r\nc"
    assert LineNormalizer("one\r\n\r\ntwo")("a\r\n\r\nb") == "a\r\n\r\nb"
    assert LineNormalizer("one\rtwo")("a\nb") == "a\rb" and LineNormalizer("one\ntwo")("a\r\nb") == "a\nb"
