"""Large amounts of what makes parsers slow or recursive: with quadratic time these tests would not end."""

from __future__ import annotations

import sys
import traceback

import pytest

from llmcli.documents.format_registry import find_format
from llmcli.documents.segments import join_segments, split_at_protected
from llmcli.errors import BadDocument

RECURSION_LIMIT = 500
"""Calls inside of calls that a parser may make; Python's own limit would need documents of twice the length."""
DEPTH = 4 * RECURSION_LIMIT
"""How often a unit occurs at most by default: often enough for an error where a parser is recursive."""
WORD = '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
CELLS = '<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
TEXT = '<text:text xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0">'
CUE, VTT = "1\n00:00:01,000 --> 00:00:02,000\n", "WEBVTT\n\n00:01.000 --> 00:02.000\n"
UNITS = {
    "plain": ["[", "`a``b```c ", "a@", "http://", "{{", "<a ", "%(", "a."],
    "markdown": ["[", "](b ", "`a``b```c ", "|a", "> ", "*a **a ", "<!-- a ", "\\", "![a", "[^a]", "$a"],
    "rst": [
        "*a ",
        "**a ",
        "`a ",
        "``a ",
        "- ",
        "- a\n",
        "a\n b\n",
        "== ==\na\n\n",
        ":a",
        "|a ",
        "-a",
        ".. a::\n",
        "a_",
        "::\n\n",
        "\\",
        "====\n",
        "[a",
        "a\n\n ",
    ],
    "html": ["<", "<!-- a", '<a href="x', "<a b='", "<pre>", "<div translate=no>", "&amp", "<script>", "<title>"],
    "srt": ["1\n", CUE + "a\n\n", "-->\n"],
    "vtt": ["WEBVTT\n\n", "-->\n"],
    "po": ['msgid "a"\n', "# a\n", '"a"\n', "#~ a\n", "\\"],
    "json": ["[", '{"a":', '"a', "{", '["a b",'],
    "yaml": ["[", "- ", "{a: ", "? ", "&a ", "#\n", "'", "*a\n", "!a "],
    "xliff": ["<", "<a>", "<!-- a ", "<a b='c'>", "&amp;", "<![CDATA[", "<!DOCTYPE a [", '<!ENTITY a "b">'],
    "android": ["<", "<a>", "<?a ", "&a;"],
    "strings": ['"', "/*", "/* a */", "// a\n", '"a"="b c";', "a", '"a', "\\", "a=", "{"],
    "stringsdict": ["<", "<plist>", "<plist><dict>"],
    "resx": ["<", "<root>", "<root><data>"],
    "qt": ["<", "<TS>", "<TS><message>"],
    "fluent": ["a = b c\n", "a = {", "# a\n", "a =\n", " .a = b\n", "\n", "{ $a ->\n [a] ", '"', "a = b\n "],
    "xcstrings": ["[", '{"strings":', '{"', "{"],
    "docx": ["<", "\x1c", "\x1ca\n", "\x1ca\n<a>", "<w:p>"],
    "pptx": ["<", "\x1ca\n<p>", "\x1ca\n<a:p>"],
    "xlsx": ["<", "\x1ca\n<sst>", "\x1ca\n<is>"],
    "odt": ["<", "\x1ca\n<a>", "\x1ca\n<p>"],
    "odp": ["<"],
    "epub": ["\x1ca\n<a/>", "<p/>"],
    "ods": ["<"],
    "properties": ["\\", "\\\n", "# a\n", "a ", "\\u"],
    "notebook": ["[", '{"cells":[', '{"cells":[{"source":["a b'],
}
FRAMES = [
    ("srt", CUE, "<i", "\n"), ("srt", CUE, "a b ", "\n"), ("srt", CUE, "1", "\n"), ("vtt", VTT, "<v ", "\n"),
    ("vtt", VTT, "&lt;", "\n"), ("po", 'msgid "', "%(a", '"\nmsgstr ""\n'), ("po", 'msgid "', '\\"', '"\nmsgstr ""\n'),
    ("json", '["', "\\n", '"]'), ("json", '["', "{a, plural, one {", '"]'), ("json", '["', "{", '"]'),
    ("json", '"', "{a, plural, one {b} other {c}}", '"'), ("json", '["', "<a ", '"]'), ("yaml", "a: |\n", "  b c\n", ""),
    ("yaml", "a: >\n", "  b c\n", ""), ("yaml", "a: ", "b ", "\n"), ("yaml", 'a: "', "b\\n", '"'), ("yaml", "a: ", "%{", ""),
    *(("xliff", f'<xliff version="{version}"><file>', unit, "</file></xliff>") for version, unit in [
        ("1.2", "<trans-unit><source>a b</source></trans-unit>"), ("2.0", "<unit><segment><source>a b</source></segment></unit>")]),
    ("xliff", '<xliff version="2.0"><file><unit>', "<segment><source>a b</source></segment>", "</unit></file></xliff>"),
    ("xliff", '<xliff version="1.2"><trans-unit><source>', '<g id="1">a</g> ', "</source></trans-unit></xliff>"),
    ("xliff", '<xliff version="1.2"><trans-unit><source>', "&lt;a ", "</source></trans-unit></xliff>"),
    ("xliff", '<xliff version="1.2"><trans-unit><source>a', "<!-- b -->", "</source></trans-unit></xliff>"),
    ("android", '<resources><string name="a">', "\\'", "</string></resources>"),
    ("android", '<resources><string name="a">a ', '"', "</string></resources>"),
    ("android", '<resources><string name="a"><![CDATA[', "<a ", "]]></string></resources>"),
    ("android", '<resources><plurals name="a">', '<item quantity="other">a b</item>', "</plurals></resources>"),
    ("strings", '"a" = "', "\\n", '";'), ("strings", '"a" = "b ', "%1$", '";'), ("strings", "", '/* a */ "a" = "b c";', ""),
    ("stringsdict", "<plist><dict>", "<key>a</key><string>b c</string>", "</dict></plist>"),
    ("stringsdict", "<plist>", "<dict><key>a</key>", "</plist>"),
    ("fluent", "a = ", "{ $b } c ", "\n"), ("fluent", "a = ", "\n b c", "\n"), ("fluent", "a = { $n ->\n", " [a] b c\n", " *[other] d\n}\n"),
    ("fluent", "a = b", "\n    .c = d e", "\n"), ("resx", "<root>", "<data><value>a b</value></data>", "</root>"), ("resx", "<root><data><value>", "{0 ", "</value></data></root>"),
    ("qt", "<TS><context>", "<message><source>a b</source><translation/></message>", "</context></TS>"),
    ("qt", "<TS><message numerus='yes'><source>a b</source><translation>", "<numerusform/>", "</translation></message></TS>"),
    ("xcstrings", '{"strings":{"a":{}', ',"b c":{}', "}}"), ("xcstrings", '{"strings":{"a":{"localizations":', '{"a":', "1}}}"),
    ("xcstrings", '{"strings":{"a":{"localizations":{"en":', '{"a":' * 60, "1" + "}" * 60 + "}}}}"),
    *(("docx", f"\x1cword/document.xml\n{WORD}<w:p>{before}", unit, f"{after}</w:p></w:document>") for before, unit, after in [
        ("", "<w:r><w:t>a b </w:t></w:r>", ""), ("", "<w:r><w:t>a</w:t><w:tab/></w:r>", ""), ("<w:r><w:t>", "a ", "</w:t></w:r>"), ("", "</w:p><w:p>", ""),
        ("", "<w:r><w:rPr><w:b/></w:rPr><w:t>a </w:t></w:r><w:r><w:t>b </w:t></w:r>", ""), ("", "<w:hyperlink><w:r><w:t>a</w:t></w:r></w:hyperlink>", ""),
        ("", '<w:bookmarkStart w:id="1"/>', ""), ("", '<w:bookmarkEnd w:id="1"/>', ""), ("", '<w:r><w:fldChar w:fldCharType="begin"/></w:r>', ""),
        ("", '<w:r><w:t>a</w:t><w:fldChar w:fldCharType="begin"/><w:instrText>TOC </w:instrText></w:r>', ""), ("<w:r><w:drawing>", '<docPr descr="A cat"/>', "</w:drawing></w:r>"),
        ("", '<w:bookmarkStart w:id="1"/><w:r><w:t>a</w:t></w:r><w:bookmarkEnd w:id="1"/>', ""), ("<w:r><w:t>", "&lt;g", "</w:t></w:r>"),
        ("", '<w:bookmarkStart w:id="1"/>', '<w:r><w:t>a</w:t></w:r><w:bookmarkEnd w:id="1"/>' * 100),
        ("", '<w:bookmarkStart w:id="1"/>', "<w:r><w:t>a</w:t></w:r>" + '<w:bookmarkEnd w:id="1"/>' * 1000),
        ('<w:r><w:fldChar w:fldCharType="begin"/></w:r>' * 1000, '<w:r><w:fldChar w:fldCharType="end"/></w:r>', "")]),
    ("docx", "", f"\x1cword/document.xml\n{WORD}<w:p><w:r><w:t>a b</w:t></w:r></w:p></w:document>", ""),
    *(("odt", f"\x1ca\n{TEXT}<text:p>", unit, "</text:p></text:text>") for unit in [
        "a ", "</text:p><text:p>a b", '<text:span text:style-name="a">a</text:span>b ', '<text:s text:c="9"/>', '<text:bookmark-start text:name="b"/>a', '<text:bookmark-end text:name="b"/>',
        "<text:note><text:p>a b</text:p></text:note>a ", "<text:a>a</text:a>"]),
    ("epub", "\x1ca\n", "<p>a b</p><script/>", ""),
    ("odt", f"\x1ca\n{TEXT}", '<style rsid="a"/>', "</text:text>"),
    ("xlsx", f"\x1ca\n{CELLS}", "<si><t>a b</t></si>", "</sst>"), ("xlsx", f"\x1ca\n{CELLS}<si>", "<r><rPr><b/></rPr><t>a b</t></r>", "</si></sst>"),
    ("xlsx", f"\x1ca\n{CELLS}<si><t>a b</t>", "<rPh/>", "</si></sst>"), ("properties", "a=", "\\u0041", "\n"), ("properties", "a=", "b {0} '", "\n"), ("markdown", "---\n", "[", "\n---\n"),
    ("notebook", '{"cells":[{"cell_type":"markdown","source":["', "a\\n", '"]}]}'), ("notebook", '{"cells":[{"cell_type":"markdown","source":["a"', ',"b c\\n"', "]}]}"),
    ("notebook", '{"cells":[{}', ',{"cell_type":"markdown","source":["# a b"]}', "]}"), ("notebook", '{"cells":[{"cell_type":"markdown","source":["', "[", '"]}]}'),
    ("notebook", '{"cells":[{"cell_type":"markdown","source":[""', ',""', ',"a b"]}]}'), ("notebook", '{"cells":[{"cell_type":"markdown","source":"', "\\n\\na", '"}]}'),
    ("asciidoc", "|===\n", "|a b", "\n|===\n"), ("asciidoc", "|===\n", "|a\n\n", "|===\n"), ("asciidoc", '[cols="' + "1a," * 99 + '1"]\n|===\n', "|a b\n", "|===\n"),
    ("asciidoc", "|===\n", "9.9+|a\n", "|===\n"), ("asciidoc", "|===\n", "9999*|a b\n", "|===\n"), ("asciidoc", "|===\na|\n", "* a b\n", "|===\n"), ("asciidoc", "|===\n|", "a b ", "\n|===\n"),
    *(("asciidoc", f"{sign}===\n", unit, f"\n{sign}===\n") for sign, unit in [(",", "a b,"), (",", '"a ""b",'), (",", '"'), (",", 'a"b,"'), (",", '"\n'), (":", "a\\:b:"), (":", "\\")]),
    ("asciidoc", "", "".join(f"{sign * size}\n" for size in range(4, 120) for sign in "=*_"), ""), ("asciidoc", "a ", "[", "]"), ("asciidoc", "footnote:[", "link:a[b ", "]"),
    ("properties", "a=", "\\u0041", "\n"), ("properties", "a=", "b {0} '", "\n"), ("markdown", "---\n", "[", "\n---\n"),
    ("markdown", "", "[x][y]", "\n\n[y]: z\n"), ("markdown", "", ">" * 1000 + " a\n", ""), ("markdown", "| a |\n|---|\n", "|", "\n"),
]  # fmt: skip
UNITS["asciidoc"] = [
    "*a ", "_a", "`a ", "``a ", "+a ", "#a ", "[.a]#b ", "{a ", "<<a,", "<<a,b>> ", "[[a", "((a ", "a:b[", "link:b[", "footnote:[a ", "https://a", "a:b.",
    '"`a ', "\\", "\\*a* ", "^a", "$$a", "* a\n", "- ", "a::\n", "a:: ", "====\n", "====\n****\n", "--\n", "|===\n", "|===\n|a\n", "[a]\n", ".a\n",
    ":a: b\n", "ab\n--\n", "= a\n", "////\n", "[[a]]", "+\n", "a +\n", "ifdef::a[]\n", "a\n//b\n", "<1> a\n",
]  # fmt: skip
UNITS["latex"] = [
    "{", "}", "{}", "{a ", "\\emph{", "\\emph{a} ", "\\footnote{a b", "\\section{", "\\section[", "\\item[", "\\foo[", "\\foo{", "\\begin{a}", "\\begin{verbatim}", "\\begin{equation}", "\\end{a}", "\\verb|a ",
    "$", "$a", "$$a", "\\(", "\\[", "%\n", "a %b\n", "a\n\n", "&", "\\\\", "\\\\[", "\\", "\\'", "\\'e", "#", "``", "~", "\\c ", "\\def\\a", "\\newcommand{", "\\LaTeX ", "\\hline ", "\\item a\n", "  \n", " ", "\\multicolumn{1}{", "\\lstinline[", "\\begin{document}", "a b\\\\ ",
]  # fmt: skip
FRAMES += [
    ("latex", "\\begin{tabular}{l}", "a b & ", "\\end{tabular}"), ("latex", "{" * 1000, "a b\n\n", "}" * 1000), ("latex", "", "{", "}" * DEPTH), ("latex", "\\begin{a}" * 1000, "}", ""),
    ("latex", "a ", "\\emph{b ", "}" * 4000), ("latex", "\\title{", "a b\n\n", "}\\begin{document}"), ("latex", "", "\\begin{document}\n", ""), ("latex", "a ", "$b$ ", ""), ("latex", "\\foo", "[a{b}", "]"),
    ("latex", "", "\\newcommand{\\a}[1]{", ""), ("latex", "", "\\newcommand{\\a}[1]{\\a{#1}}\\a{b c}", ""), ("latex", "\\newcommand{\\a}[9]{#1#2#3#4#5#6#7#8#9}\n", "\\a{b}{c}{d}{e}", ""),
    ("latex", "\\newcommand{\\a}[1]{#1}", "\\a{b c ", "}" * 4000), ("latex", "\\begin{itemize}", "\\item a b\n", "\\end{itemize}"), ("latex", "", "\\begin{verbatim*}{\\end{verbatim*}", ""), ("latex", "\\def\\a", "#1", "{b}"),
]  # fmt: skip
CASES = [(name, "", unit, "") for name, units in UNITS.items() for unit in units] + FRAMES


@pytest.fixture
def _low_recursion_limit():
    """Allow the test a few hundred calls inside of calls."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(len([*traceback.walk_stack(None)]) + RECURSION_LIMIT)
    yield
    sys.setrecursionlimit(usual)


@pytest.mark.usefixtures("_low_recursion_limit")
@pytest.mark.parametrize(
    ("characters", "times"), [(25_000, DEPTH), pytest.param(250_000, 250_000, marks=pytest.mark.stress)]
)
@pytest.mark.parametrize(("name", "before", "unit", "after"), CASES)
def test_large_documents_are_parsed(name, before, unit, after, characters, times):
    """It is split and joined, or refused, without recursion."""
    text = before + unit * min(characters // len(unit), times) + after
    try:
        segments = find_format("", "", name).split(text, "de")
    except BadDocument:
        return
    assert join_segments(text, segments, [None] * len(segments)) == text
    assert len(join_segments(text, segments, [segment.text for segment in segments])) > 0


def test_many_protected_texts_in_any_order():
    """A hundred thousand protected texts are found in reverse order."""
    wanted = [f"`{number}`" for number in range(100_000)]
    found = split_at_protected(" ".join(reversed(wanted)), wanted)
    assert [text for text, kept in found if kept] == wanted[::-1]
