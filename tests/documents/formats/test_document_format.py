import pytest

from llmcli.documents.format_registry import format_names, load_format
from llmcli.documents.formats.document_format import line_lead, separate_block
from llmcli.documents.segments import Segment


def segment(text, words, kind="paragraph"):
    start = text.index(words)
    return Segment(start, start + len(words), words, str, kind=kind)


@pytest.mark.parametrize(
    ("attribute", "names"),
    [
        ("streams", {"plain"}),
        ("is_keyed", {"json", "yaml", "properties", "android", "strings", "stringsdict", "resx", "fluent"}),
        ("can_interleave", {"plain", "markdown", "html", "srt", "vtt", "rst", "asciidoc", "latex"}),
        ("holds_both_languages", {"po", "xliff", "xcstrings", "qt"}),
    ],
)
def test_properties_of_the_formats(attribute, names):
    """Formats of messages are not written piece by piece, and hold one language or have fields for two."""
    assert {name for name in format_names() if getattr(load_format(name), attribute)} == names


@pytest.mark.parametrize(
    ("name", "kind", "separator"),
    [
        ("plain", "paragraph", "\r\n\r\n  "),
        ("plain", "cell", " / "),
        ("vtt", "cue", "\r\n"),
        ("html", "paragraph", "<br>"),
        ("html", "cell", " / "),
        ("markdown", "heading", "\r\n\r\n  "),
        ("markdown", "item", "\r\n\r\n  "),
        ("markdown", "attribute", " / "),
    ],
)
def test_the_separator_of_two_languages(name, kind, separator):
    """A block is followed by a block in the same place; inline text stays on its line."""
    text = "a\r\n- words\r\n"
    assert load_format(name).bilingual_separator(text, segment(text, "words", kind)) == separator


def test_a_quotation_is_continued():
    """A block in a quotation gets a blank line of the quotation before its translation."""
    text = "> - words"
    assert line_lead(text, segment(text, "words")) == "> - "
    assert separate_block(text, "> - ") == "\n>\n>   "


def test_only_a_catalogue_merges_an_earlier_translation():
    """Other formats hold one language: their text is the source's."""
    assert load_format("plain").merge_earlier("alt", "new") == "new"
    new = 'msgid "a"\nmsgstr ""\n'
    assert 'msgstr "b"' in load_format("po").merge_earlier('msgid "a"\nmsgstr "b"\n', new)


def test_the_root_of_a_rails_file_is_replaced():
    """The only root of a YAML file becomes the target language if it is the source language."""
    yaml = load_format("yaml")
    assert yaml.replace_language("en:\n  a: b\n", yaml.split("en:\n  a: b\n", "de"), "en", "de") == "de:\n  a: b\n"
    assert yaml.replace_language("fr:\n  a: b\n", yaml.split("fr:\n  a: b\n", "de"), "en", "de") == "fr:\n  a: b\n"
    assert load_format("plain").replace_language("en: a", [], "en", "de") == "en: a"
