from __future__ import annotations

from pathlib import Path

import pytest

from llmcli.documents.formats.markup import html_format
from llmcli.documents.formats.markup.html_tokenizer import tokenize_html
from llmcli.documents.segments import join_segments

PAGE = (Path(__file__).parents[2] / "real" / "page.html").read_text(encoding="utf-8")


def texts(text):
    return [segment.text for segment in html_format.FORMAT.split(text, "de")]


def test_a_page_with_everything():
    """Text, titles, alternative texts and descriptions are read; scripts, code and untranslatable elements are not."""
    assert texts(PAGE) == [
        "Fish & chips",
        'The best "fish" in town',
        "Menu",
        'Our <b>fish</b> comes from <a href="/sea" title="About the sea">the sea</a>,<br>and costs 5&nbsp;€.',
        "Cod",
        'Eel <img src="eel.png" alt="An eel">',
        'Run <code>make fish</code> or ask <span class="notranslate">Captain</span> {{ name }}.',
        "Order now",
        "Your name",
        'It is "you"',
        "Salt",
        "Vinegar",
    ]  # fmt: skip


def test_tags_and_code_inside_text_are_protected():
    """Tags are protected one by one, an untranslatable element as a whole, words in attributes not."""
    (segment,) = html_format.FORMAT.split(
        '<p>See <a title="A &amp; b" href=x>it</a> <code>c <b>d</b></code>.</p>', "de"
    )
    assert segment.text == 'See <a title="A & b" href=x>it</a> <code>c <b>d</b></code>.'
    assert [segment.text[s.start : s.end] for s in segment.protected] == [
        '<a title="', '" href=x>', "</a>", "<code>c <b>d</b></code>",
    ]  # fmt: skip


def test_tags_around_the_whole_are_left_out():
    """The translator of a line that is bold as a whole sees no tags."""
    assert texts("<p> <b><i>All of it</i></b><br></p>") == ["All of it"]
    assert texts("<p><b>Some</b> of it</p>") == ["<b>Some</b> of it"]


def test_words_are_escaped():
    """A translation can neither insert tags nor end an attribute."""
    text = '<p>One <img alt="two" src=x> three</p>'
    segments = html_format.FORMAT.split(text, "de")
    joined = join_segments(text, segments, ['a <b> & <img alt="it\'s "so"" src=x> c'])
    assert joined == '<p>a &lt;b&gt; &amp; <img alt="it&#x27;s &quot;so&quot;" src=x> c</p>'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('<img alt="A cat"><img alt="A dog">', ["A cat", "A dog"]),
        ("<p translate=no>a<b>b</b><p>c<div translate=no>d<div>e</div>f</div>g", ["c", "g"]),
        (
            "<div translate=no>a<p translate=yes>b <b>c</b><p>d</p></p>e<i translate=''>f</i></div>g",
            ["b <b>c</b>", "d", "f", "g"],
        ),
        ("<div translate=no><div translate=yes>a<div translate=no>b</div>c</div>d</div>e", ["a", "c", "e"]),
        ("<pre>a</pre>b", ["b"]),
        ("<textarea>a <b></textarea>b", ["a <b>", "b"]),
        ("<textarea>a\nb</textarea>c", ["c"]),
        ("<title>a <b> c</title>", ["a <b> c"]),
        ("<!-- a -->b<!-- c", ["b"]),
        ("a < b", ["a < b"]),
        ("<p>a<p", ["a"]),
        ("<ul><li>a<li>b</ul>", ["a", "b"]),
        ("5&nbsp;&shy;", []),
        ("<?php a ?>b<% c %>", ["b"]),
        ("<input type=text value='a'><button>b</button>", ["b"]),
        ("<img alt='a", []),
    ],
)
def test_constructs_as_browsers_read_them(text, found):
    """Each construct, as browsers read it."""
    assert texts(text) == found


def test_headings_are_the_path():
    """A segment knows the headings above it."""
    segments = html_format.FORMAT.split("<h1>A</h1><h2>B</h2>c<h2>D</h2>e<h1>F</h1>", "de")
    assert [s.path for s in segments] == [(), ("A",), ("A", "B"), ("A",), ("A", "D"), ()]


def test_tokens_are_the_text():
    """Nothing is lost between tokens, also in broken markup."""
    for text in (PAGE, "<a b='c", "</>", "<!-->x", "<![CDATA[a]]>b", "<script>a</scrip>", '<a b="c>d" e>f', "<3"):
        assert "".join(text[token.start : token.end] for token in tokenize_html(text)) == text


@pytest.mark.parametrize("text", ["a<b c='d", "<p>a<!-- b", "<script>a"])
def test_a_missing_end_is_reported(text):
    """The check names the line of a tag or comment without an end."""
    assert html_format.FORMAT.check(text)
    assert html_format.FORMAT.check(PAGE) == ""


@pytest.mark.parametrize(
    ("page", "text", "written"),
    [
        ("<p><ruby>東<rp>(</rp><rt>とう</rt><rp>)</rp></ruby>は</p>", "東は", "<p>Tokyo</p>"),
        ("<p>は <ruby><rb>東<rt>と</ruby></p>", "は 東", "<p>Tokyo</p>"),
        ("<p><b><ruby>東<rt><i>と</i></rt>京<rt>き</rt></ruby></b></p>", "東京", "<p><b>Tokyo</b></p>"),
        ('<p><ruby translate="no">東<rt>と</rt></ruby> は</p>', '<ruby translate="no">東<rt>と</rt></ruby> は', None),
        ("<p>は <rt>と</p>", "は", "<p>Tokyo</p>"),
    ],
)
def test_a_translation_has_no_reading(page, text, written):
    """Ruby text says how to read the words below it: a translator gets these alone."""
    (segment,) = html_format.FORMAT.split(page, "en")
    assert segment.text == text
    assert html_format.FORMAT.join(page, [segment], [text]) == page
    assert written is None or html_format.FORMAT.join(page, [segment], ["Tokyo"]) == written


def test_quotation_marks_of_a_template_end_no_attribute():
    """What a template engine replaces stays in one piece; a brace alone is a character."""
    text = """<p title="{{ name|default:"no name" }}" class='{% if a == 'b' %}c{% endif %}'>Words</p>"""
    assert [s.text for s in html_format.FORMAT.split(text, "de")] == ["Words"]
    assert texts('<p title="a {{ b" id="c">Words</p>') == ["a {{ b", "Words"]
