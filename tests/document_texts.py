"""Documents of every format, generated and handwritten, with hostile translations of their segments and a good one."""

from __future__ import annotations

import re

from hypothesis import strategies as st

NAMES = ("plain", "markdown", "html", "srt", "vtt", "po", "json", "yaml", "properties")

MARK = re.compile(r"\[#\d+\]")
GREEK = str.maketrans("abcdefghijklmnopqrstuvwxyz", "αβψδεφγηιξκλμνοπqρστθωςχυζ")


def greek(text):
    """Translate: replace letters outside of marks by others, without changing the length."""
    parts = re.split(f"({MARK.pattern})", text)
    return "".join(part if MARK.fullmatch(part) else part.lower().translate(GREEK) for part in parts)


WORDS = st.text(alphabet="abcé ü.,!?'\"-:;#()*_中文%", min_size=1, max_size=25)
LINES = {
    "plain": ["Some words here.", "  indented `code` and %s", "", "\t", "-----", "12.5", "é {name} http://a.b/c", "a\r", "x &amp; y&nbsp;z"],
    "markdown": [
        "# Heading", "## Other `code` ##", "Title {#id}", "===", "---", "Some *words* here", "two lines", "",
        "- item one", "* [ ] task `x`", "1. first", "   continued", "    indented code", "> quoted text", "> > deeper",
        "```python", "```", "~~~", "a | b", "--|--", "| x | `a\\|b` |", "|---|:-:|", "<div>Some text", "</div>",
        "<!-- comment -->", '[link](http://a.b "The title") end', "see [ref] and [text][ref]", "[ref]: /url 'Words'", '[text]: <u> "A \\"title\\" &amp; x"',
        "![alt text](x.png)", "text[^1] here", "[^1]: A note", "$x^2$ math", "$$", "hard break  ", "back\\", "***",
        "a \\* b \\[c\\] &amp; &nbsp; d", "<b>bold</b> word", "{{ var }} %s", "+ plus", ": def", "<https://a.b> auto",
        "> - nested *list*", ">   more", "\ttab", "[![alt](i.png)](u)", "`` a`b `` c", "unclosed ` tick [x](", "|",
        "> [!NOTE]", "[!tip]- A title", ":::note", ":::", ":class: x", '!!! note "A title"', "{: .class}", "[[_TOC_]]", "{% tag %}",
    ],
    "html": [
        "<p>Some words", "</p>", "<b>bold</b>", "<img alt='A cat' src=x>", '<a title="Some title" href=x>', "</a>", "text",
        "<pre>", "</pre>", "<code>x y</code>", "&amp; &lt;b&gt; &nbsp;", "<!-- note -->", "<div translate=no>", "<div translate=yes>", "<b translate=yes>", "</div>",
        "<script>var a;</script>", "<br>", "<ul><li>One<li>Two</ul>", "<title>Name</title>", "<textarea>Your words</textarea>", "<h1>Head</h1>", "<input placeholder='Type here'>",
        '<meta name="description" content="About">', "", "{{ x }}", "a < b", "<", "<p", "'", '"',
    ],
    "srt": [], "vtt": [], "po": [], "json": [],
    "yaml": [
        "key: Some words", "other: 'It''s here'", 'third: "Two \\n words"', "nested:", "  inner: Hello %{name}", "- item text",
        "  - inner item", "lit: |", "  literal text", "    more", "", "fold: >-", "  folded text", "num: 5", "yes: no",
        "flow: {a: some words, b: [x, y z]}", "# comment", "anchor: &a anchored", "ref: *a", "multi: plain text", "  continued",
        "---", "date: 2020-01-01", "? complex", ": value words",
    ],
    "properties": [
        "key=Some words", "other: It''s {0}", "# comment", "! note", "long = one \\", "   two", "esc=caf\\u00e9 \\n x", "", "word",
        "tab\\ key=va\\=lue", "empty=", "  lead = x y ", "q='{'name'}' {1}",
    ],
}  # fmt: skip
CUES = st.lists(
    st.sampled_from(
        ["Hello there", "<i>Slanted</i> words", "- One", "- Two", "{\\an8}Up here", "<v Bob>Hi &amp; you", "12", "...", "&lt;x"]
    ),
    min_size=1, max_size=3,
)  # fmt: skip
NEWLINES = st.sampled_from(["\n", "\n", "\r\n", "\r"])


@st.composite
def _subtitles(draw, vtt):
    newline = draw(NEWLINES)
    rows = ["WEBVTT", ""] if vtt else []
    for number, cue in enumerate(draw(st.lists(CUES, min_size=1, max_size=5)), 1):
        mark = "." if vtt else ","
        rows += [str(number)] if not vtt or draw(st.booleans()) else []
        rows += [f"00:00:0{number}{mark}000 --> 00:00:0{number}{mark}900", *cue, ""]
        rows += ["NOTE for you -", ""] if vtt and draw(st.booleans()) else []
    return draw(st.sampled_from(["", "\ufeff"])) + newline.join(rows)


_STRINGS = st.sampled_from(
    [
        "Some words",
        "Hello %s, {name}",
        "50%% of %d\\n",
        'It\'s \\"quoted\\"',
        "a <b>bold</b> {{x}} word",
        "Fish &amp; chips &#8212; &nbsp;now",
        "caf\\u00e9 \\\\ x",
        "{n, plural, one {# item} other {# items}}",
        "12",
        " lead and trail ",
    ]
)


@st.composite
def _po(draw):
    newline = draw(NEWLINES)
    rows = ['msgid ""', 'msgstr ""', '"Content-Type: text/plain; charset=UTF-8\\n"', ""] if draw(st.booleans()) else []
    for number in range(draw(st.integers(0, 5))):
        source = draw(_STRINGS).replace("\\u00e9", "é").replace("Some", f"Some{number}")
        rows += draw(
            st.sampled_from(
                [[], ["# note"], ["#, fuzzy", '#| msgid "old"'], ["#, c-format"], ['#~ msgid "x"', '#~ msgstr ""']]
            )
        )
        rows += [f'msgctxt "c{number}"', f'msgid "{source}"']
        if draw(st.booleans()):
            rows += [f'msgid_plural "{source}"', 'msgstr[0] ""', 'msgstr[1] ""']
        else:
            rows += [f'msgstr "{draw(st.sampled_from(["", source]))}"']
        rows += draw(st.sampled_from([[], [""]]))
    return newline.join(rows)


@st.composite
def _json(draw):
    import json

    texts = _STRINGS.map(
        lambda text: text.replace('\\"', '"').replace("\\n", "\n").replace("\\u00e9", "é").replace("\\\\", "\\")
    )
    value = st.recursive(
        texts | st.none() | st.booleans() | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b c", "@a", 'd"e']), inner, max_size=4)
        ),
        max_leaves=10,
    )
    return json.dumps(draw(value), ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 2, "\t"])))


@st.composite
def _lines(draw, name):
    rows = draw(
        st.lists(
            st.sampled_from(LINES[name]) | WORDS if name in {"plain", "markdown"} else st.sampled_from(LINES[name]),
            max_size=14,
        )
    )
    newline = draw(NEWLINES)
    return newline.join(rows) + draw(st.sampled_from(["", newline]))


def documents(name):
    """Return a strategy for documents of a format; for line formats not all are well-formed."""
    special = {"srt": _subtitles(vtt=False), "vtt": _subtitles(vtt=True), "po": _po(), "json": _json()}
    return special[name] if name in special else _lines(name)


HOSTILE = st.lists(
    st.sampled_from(
        ["word", "Wort", "\n", "\n\n", " ", "  \n", "\t", "'", '"', '"""', "|", "```", "`", "~~~", "#", "# ", "## x", "- ", "* ", "+ ",
         "1. ", "> ", "<div>", "<b>", "</p>", "<!--", "-->", "]]>", "\\", "\\\\", "\\n", "[", "]", "](", "](x)", "[x]: /u", "[^1]: ", "![",
         "$", "$$", "$1$", "---", "===", "***", "===\n", "{", "}", "{#id}", ":", ": ", " #", ",", "&", "&amp;", "&#", "!", "=", "%", "%%",
         "\0", "\x07", "\x0b", "\x0c", "\r", "\x85", "\u2028", "\ufeff", "\ud800", "é", "中文", "\U0001f600", "00:00:01,000 --> 00:00:02.000", "WEBVTT",
         "NOTE", "msgid", 'msgstr ""', "true", "2020-01-01", "null", "@", "?", "x" * 200, "a b " * 60, "\xa0", "--|--", "|---|---|",
         ":::", "!!!", "???", "[TOC]", "{: x}", "[!x]", "(x)=", "{{< x >}}"]),
    min_size=0, max_size=9,
).map("".join)  # fmt: skip
