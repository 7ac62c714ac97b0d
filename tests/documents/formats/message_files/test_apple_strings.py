"""Apple's .strings."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcli.documents.formats.message_files.apple_strings import FORMAT
from llmcli.documents.segments import join_segments
from llmcli.errors import BadDocument

REAL = (Path(__file__).parents[2] / "real" / "Localizable.strings").read_text(encoding="utf-8")


def test_the_strings_of_an_app():
    """Values are segments with the comments before them; printf's placeholders are protected."""
    segments = FORMAT.split(REAL, "de")
    assert [(s.path[0], s.text, s.note.partition("\n")[0]) for s in segments] == [
        ("a1.normalTitle", "Done", 'Class = "UIButton"; normalTitle = "Done"; ObjectID = "a1";'),
        ("Hello, %@!", "Hello, %@!", ""),
        ("count %1$lu %2$@", 'You have %1$lu files in "%2$@".\n50%% are new, isn\'t it?', "Shown below the list"),
        ("NSCameraUsageDescription", "Café needs\tthe camera.", ""),
        ("multi", "First line\nsecond line", ""),
        ("dict", "%#@files@ are ready", ""),
    ]
    marks = [[s.text[span.start : span.end] for span in s.protected] for s in segments]
    assert marks == [[], ["%@"], ["%1$lu", "%2$@", "%%"], [], [], ["%#@files@"]]


@pytest.mark.parametrize(
    ("value", "translation", "written"),
    [("a", 'x "y"\\', 'x \\"y\\"\\\\'), ("a\\nb", "x\ny", "x\\ny"), ("a\nb", "x\ny", "x\ny"), ("%@ a", "%@ 5%", "%@ 5%%"),
     (" a\\n", "x", " x\\n"), ("a", "x\u2028y", "x y"), ("caf\\U00e9", "x", "x")],
)  # fmt: skip
def test_escapes(value, translation, written):
    """Quotes, backslashes and line ends are escaped, unless the value has lines in the file."""
    text = f'"k" = "{value}";'
    (segment,) = FORMAT.split(text, "de")
    assert join_segments(text, [segment], [translation]) == f'"k" = "{written}";'


def test_what_cannot_be_decoded_stays():
    """Bytes of another encoding, and halves of a character."""
    assert FORMAT.split('"a" = "b \\351 c";\n"d" = "e \\Ud83d f";', "de") == []


def test_a_property_list_is_read_too():
    """Xcode writes it as well."""
    text = '<?xml version="1.0"?>\n<plist version="1.0"><dict><key>a</key><string>b &amp; c</string></dict></plist>'
    assert [(s.path, s.text) for s in FORMAT.split(text, "de")] == [(("a",), "b & c")]
    assert FORMAT.check(text) == ""
    assert FORMAT.check(text.replace("</dict>", "")) == "line 2: mismatched tag"


@pytest.mark.parametrize(
    ("text", "line", "detail"),
    [('"a" = "b"', 1, "missing at the end: ;"), ('"a" "b";', 1, 'unexpected "b"'), ('\n"a" = "b', 2, 'unexpected "b'), ("{ a = b; }", 1, "unexpected { a = b; }"),
     ('"a" = "b";\n/* c', 2, "unexpected /* c"), ('"a" =\n= "b";', 2, "unexpected =")],
)  # fmt: skip
def test_broken_strings_are_refused(text, line, detail):
    """With the line, as plutil does."""
    with pytest.raises(BadDocument) as refused:
        FORMAT.split(text, "de")
    assert (refused.value.line, refused.value.detail) == (line, detail)
    assert FORMAT.check(text) == f"line {line}: {detail}"
