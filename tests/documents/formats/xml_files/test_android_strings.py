"""Android's string resources."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcli.documents.formats.xml_files.android_strings import FORMAT
from llmcli.documents.segments import join_segments

REAL = (Path(__file__).parents[2] / "real" / "strings.xml").read_text(encoding="utf-8")
PLURALS = '<resources><plurals name="n">{}</plurals></resources>'


def string(content):
    return f'<resources><string name="a">{content}</string></resources>'


def put(content, translation):
    """Return the content of a string with its translation."""
    text = string(content)
    (segment,) = FORMAT.split(text, "fr")
    return join_segments(text, [segment], [translation]).removeprefix(string("X").partition("X")[0])[
        : -len("</string></resources>")
    ]


def test_the_resources_of_an_app():
    """As the phone shows them, with the comments before them; references and what is not translatable stay."""
    segments = FORMAT.split(REAL, "de")
    assert [("/".join(s.path), s.text) for s in segments] == [
        ("app_name", "My\\u0020App"),
        ("it", 'It\'s <b>%1$s</b>\'s turn:\n <xliff:g id="x" example="5 min">%2$s</xliff:g> left, 50%% done'),
        ("q", "It's quoted"),
        ("html", '<a href="x">Terms</a> &amp; more'),
        ("a/0", "One thing"),
        ("a/1", "Two things"),
        ("n/one", "%d song found."),
        ("n/other", "%d songs found."),
    ]
    assert segments[0].note == "Name of the app"
    assert [segments[1].text[s.start : s.end] for s in segments[1].protected] == [
        "<b>", "%1$s", "</b>", '<xliff:g id="x" example="5 min">%2$s</xliff:g>', "%%",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "translation", "written"),
    [("A b", 'it\'s "x" <y>\nz', "it\\'s \\\"x\\\" &lt;y> z".replace("y>", "y&gt;")), ("A\\nb", "x\ny", "x\\ny"), ("A b", "@x", "\\@x"),
     ("A b", "?x\\", "\\?x\\\\"), ("%d of b", "100% %d", "100%% %d"), ("A b", "100%", "100%"), ('"  A b"', "x'y", "\"  x\\'y\""),
     ("<![CDATA[A <b>b</b>]]>", "x & <b>y</b> ]]>", "<![CDATA[x & <b>y</b> ]]]]><![CDATA[>]]>"), ("\\n A b", "x", "\\n x"),
     ("A &#160; b", "x &#160;", "x &#160;"), ("caf\\u00e9 \\ud83d\\ude00", "x \\ud83d\\ude00", "x \\ud83d\\ude00")],
)  # fmt: skip
def test_escapes(content, translation, written):
    """Apostrophes, quotes, line ends and a first @ are escaped; a percent sign is doubled beside a placeholder."""
    assert put(content, translation) == written


def test_plural_forms_of_the_target_language():
    """CLDR's categories: Polish adds few and many before other, Japanese has other alone; failed ones get the source."""
    one, other = '<item quantity="one">%d song</item>', '<item quantity="other">%d songs</item>'
    text = PLURALS.format(one + "\n  " + other)
    segments = FORMAT.split(text, "pl")
    assert [(s.path[-1], s.text) for s in segments] == [
        ("one", "%d song"), ("few", "%d songs"), ("many", "%d songs"), ("other", "%d songs"),
    ]  # fmt: skip
    assert segments[1].note == "plural form for the numbers 2, 3, 4, 22, ..."
    done = join_segments(text, segments, ["%d a", "%d b", None, "%d d"])
    items = [("one", "a"), ("few", "b"), ("many", "songs"), ("other", "d")]
    assert done == PLURALS.format("\n  ".join(f'<item quantity="{form}">%d {words}</item>' for form, words in items))
    assert join_segments(text, FORMAT.split(text, "ja"), ["%d x"]) == PLURALS.format(
        '\n  <item quantity="other">%d x</item>'
    )
    assert join_segments(text, segments, [None] * 4) == text


def test_a_singular_without_its_number_is_no_source_for_other_numbers():
    """In Russian, "one" stands for 21 too."""
    text = PLURALS.format('<item quantity="one">One song</item><item quantity="other">%d songs</item>')
    assert [s.text for s in FORMAT.split(text, "ru")] == ["%d songs"] * 4
    assert [s.text for s in FORMAT.split(text, "de")] == ["One song", "%d songs"]
