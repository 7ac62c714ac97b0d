"""Documents of every format, generated and handwritten, with hostile translations of their segments and a good one."""

from __future__ import annotations

import functools
import re

from hypothesis import strategies as st

NAMES = (
    "plain", "markdown", "html", "srt", "vtt", "po", "json", "yaml", "properties", "xliff", "android", "strings", "stringsdict", "xcstrings",
    "rst", "resx", "qt", "fluent", "docx", "pptx", "xlsx", "odt", "odp", "ods", "epub", "notebook", "asciidoc", "latex",
)  # fmt: skip

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
    "rst": [
        "A Title", "=======", "-------", "====", "* * *", "Some *words* and **more**", "two `phrase`_ lines here", "", "",
        "- item one", "  continued", "  - nested :ref:`one <two>`", "1. first", "(a) second", "#. third", "    indented text", "term : class", "text::",
        "::", ".. note:: Take care", ".. note::", "   inside words", "   :class: x", ".. code-block:: python", "   :caption: Words here", ".. unknown::",
        ".. image:: x.png", "   :alt: Some words", ".. [1] A note", ".. _target: x", ".. |s| replace:: words", "| verse line", ":field: body text",
        "-a, --all  Option text", "+---+", "| a |", "===  ===", ">>> code", "see [1]_ and |s| ``code`` `a <http://b.c>`_ x_", "a \\* b\\ c", "*", "`", "``", "Uncle``d",
        ".. versionadded:: 1.0 New words", ".. admonition:: A title", "..", "-- Someone", "\ttab text", "A. Person wrote", "x" * 30,
    ],
    "srt": [], "vtt": [], "po": [], "json": [], "xliff": [], "android": [], "strings": [], "stringsdict": [], "xcstrings": [], "resx": [], "qt": [], "fluent": [], "docx": [], "pptx": [], "xlsx": [], "odt": [], "odp": [], "ods": [], "epub": [], "notebook": [],
    "asciidoc": [
        "= Title", ":attr: words here", ":description: Some words", "== Section *one*", "=== Deeper ===", "A setext title", "--------------", "Some *words* and _more_", "two `code` lines here", "", "",
        "* item one", "** nested +", "- [x] done", "+", ". first", "1. second", "<1> callout", "term:: text", "other term::", "  indented text", "[NOTE]", "[source]", "[verse]", "[.lead]#marked#",
        "[[id]]", ".A caption", "----", "....", "====", "****", "____", "--", "|===", "|cell one |cell two", "a|* list", "2+^|wide", "!===", "++++", "////", "// comment", "NOTE: Take care",
        "image::x.png[Some words,20]", "include::x[]", "ifdef::a[]", "endif::[]", "'''", "see <<id,the words>> and <<id>> {attr} x^2^", "https://a.b[The link] link:c[words, role=x] footnote:[A *note*]",
        '"`quoted`" and **b**old ((term))', "\\*not\\* and \\{x}", "a + b *", "_", "`", "``", "[", "]", '"text"', "-- Someone", "> quoted", "hard break +", "kbd:[A] a::b", "*", "One sentence here.",
        "```python", "```", '[%header,cols="1,1a"]', "\ttab text", "x" * 30,
    ],
    "latex": [
        "\\section{A title}\\label{a}", "\\section[Short]{A \\emph{long} title}", "Some \\textbf{bold} words", "two~lines of $x^2$ here", "", "", "% a comment", "words % comment", "\\begin{itemize}",
        "\\item One thing", "\\item[Label] two", "\\end{itemize}", "\\begin{tabular}{ll}", "Name & Value \\\\ \\hline", "\\end{tabular}", "\\begin{equation} x \\end{equation}", "\\[ y = 2 \\]", "see \\cite{a}, \\LaTeX{} and \\LaTeX\\ too",
        "50\\% of \\$5 \\& caf\\'e \\c{c} \\ss{} \\ldots", "``quoted'' --- dash", "\\footnote{A \\textit{note}}", "{\\bf old} style", "{grouped words}", "\\verb|x{| code", "\\begin{verbatim}", "some words {", "\\end{verbatim}",
        "\\begin{document}", "\\end{document}", "\\title{The title}", "\\newcommand{\\x}[1]{words #1}", "\\caption{A caption}", "\\href{http://a.b}{The link} there", "\\noindent Text", "\\unknown{words} here", "a \\\\ b", "\\\\[2pt] c",
        "\\begin{theorem}[Name]", "\\end{theorem}", "}", "{", "$", "\\", "&", "#1", "\\( z \\) z", "\\begin{frame}{A frame}", "\\end{frame}", "\\multicolumn{2}{c}{Wide words}", "x" * 30, "word", "\\textcolor{red}{Red words}",
    ],
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
        "Set `{x}` in [the docs](u) **now**\\n\\n- one",
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


JSON_VALUES = st.recursive(
    _STRINGS.map(
        lambda text: text.replace('\\"', '"').replace("\\n", "\n").replace("\\u00e9", "é").replace("\\\\", "\\")
    )
    | st.none()
    | st.booleans()
    | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b c", "@a", 'd"e', "x_one", "x_other", "x_few"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@st.composite
def _json(draw):
    import json

    return json.dumps(
        draw(JSON_VALUES), ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 2, "\t"]))
    )


XML_TEXTS = st.lists(
    st.sampled_from(
        ["Some words", "Hello %1$s", " and ", "\n    ", "&amp; &lt;b&gt;bold&lt;/b&gt;", "&#160;", "&#233;t&#xE9;", "{name}", "50%%", "a > b",
         "<!-- c -->", "<![CDATA[<i>x & y</i>]]>", "it's", "{n, plural, one {# item} other {# items}}", "12"]
    ),
    min_size=1, max_size=4,
).map("".join)  # fmt: skip
INLINE = {
    "xliff": ['<g id="1">a word</g>', '<g id="5"><x id="6"/></g>', '<x id="2"/>', '<bpt id="3">&lt;b></bpt>', '<ept id="3">&lt;/b></ept>', "<ph id='4'>{0}</ph>"],
    "android": ["<b>bold</b>", "\\'", '\\"', '"', "\\n", "\\u0020", '<xliff:g id="a">%d</xliff:g>', "<br/>"],
    "resx": ["{0}", "{1:N0}", "{{x}}", "&quot;"],
    "qt": ["%1", "%n", "%L2", "&amp;File", '<byte value="x1b"/>'],
    "stringsdict": ["%lu", "%#@a@", "%%", "&quot;"],
}  # fmt: skip


@functools.cache
def _xml_content(name):
    """Return a strategy for the content of an element, mostly well-formed."""
    return st.lists(st.sampled_from(INLINE[name]) | XML_TEXTS, min_size=1, max_size=5).map("".join)


@st.composite
def _xliff(draw):
    newline = draw(NEWLINES)
    content, state = _xml_content("xliff"), st.sampled_from(["", ' state="new"', ' state="final"', ' state="initial"'])
    rows = ['<?xml version="1.0"?>', "<!-- x -->"] if draw(st.booleans()) else []
    if draw(st.booleans()):
        language = draw(st.sampled_from(["", ' target-language="pl"', ' target-language="de"']))
        rows += [f'<xliff version="1.2"><file original="a"{language}><body>']
        for number in range(draw(st.integers(0, 4))):
            no = draw(st.sampled_from(["", "", ' translate="no"', ' resname="a.b"']))
            rows += [f'  <trans-unit id="{number}"{no}>', f"    <source>{draw(content)}</source>"]
            rows += draw(st.sampled_from([[], [f"    <target{draw(state)}>{draw(content)}</target>"], ["<target/>"]]))
            rows += [*draw(st.sampled_from([[], ["    <note>For you &amp; me</note>"]])), "  </trans-unit>"]
        rows += ["</body></file></xliff>"]
    else:
        rows += ['<xliff version="2.0" srcLang="en"><file id="f">']
        for number in range(draw(st.integers(0, 4))):
            rows += [f'<unit id="{number}"><notes><note>Mind</note></notes><segment{draw(state)} subState="x:y">']
            rows += [f"  <source>{draw(content)}</source>"]
            rows += [*draw(st.sampled_from([[], [f"  <target>{draw(content)}</target>"]])), "</segment></unit>"]
        rows += ["</file></xliff>"]
    return newline.join(rows)


@st.composite
def _android(draw):
    newline, content = draw(NEWLINES), _xml_content("android")
    rows = ['<?xml version="1.0"?>', '<resources xmlns:xliff="x">']
    for number in range(draw(st.integers(0, 4))):
        rows += draw(st.sampled_from([[], ["    <!-- note -->"]]))
        kind = draw(st.sampled_from(["string", "array", "plurals", "skip"]))
        if kind == "string":
            rows += [f'    <string name="s{number}">{draw(content)}</string>']
        elif kind == "skip":
            rows += [f'    <string name="s{number}" translatable="false">{draw(content)}</string>']
        elif kind == "array":
            rows += [f'    <string-array name="s{number}"><item>{draw(content)}</item></string-array>']
        else:
            given = draw(
                st.sampled_from([["one", "other"], ["other"], ["other", "one"], ["zero", "one", "other"], ["one"]])
            )
            rows += [
                f'    <plurals name="s{number}">',
                *(f'      <item quantity="{each}">{draw(content)}</item>' for each in given),
                "    </plurals>",
            ]
    return newline.join([*rows, "</resources>", ""])


PLURALS = st.sampled_from([["one", "other"], ["other"], ["other", "one"], ["zero", "one", "other"], ["one"]])
APPLE_TEXTS = st.sampled_from(
    ["Some words", "Hello %1$@, {name}", "50%% of %d\\n", 'It\'s \\"quoted\\"', "a <b>bold</b> word", "caf\\U00e9 \\\\ x", "12", " lead and trail ",
     "%#@files@ in all", "two\nlines", "\\101 b", "100% sure"]
)  # fmt: skip


@st.composite
def _strings(draw):
    newline = draw(NEWLINES)
    rows = []
    for number in range(draw(st.integers(0, 5))):
        rows += draw(st.sampled_from([[], ["/* For you */"], ["// a", "/* b * c */"], [""]]))
        key = draw(st.sampled_from([f"key{number}", f'"key {number}"']))
        rows += [
            draw(
                st.sampled_from(
                    [f'{key} = "{draw(APPLE_TEXTS)}";', f'{key}\t="{draw(APPLE_TEXTS)}" /* c */ ;', f"{key};"]
                )
            )
        ]
    return newline.join([*rows, ""])


@st.composite
def _stringsdict(draw):
    newline, content = draw(NEWLINES), _xml_content("stringsdict")
    rows = ['<!DOCTYPE plist PUBLIC "a" "b">', '<plist version="1.0">', "<dict>"]
    for number in range(draw(st.integers(0, 3))):
        rows += [f"\t<key>k{number}</key>", "\t<dict>", "\t\t<key>NSStringLocalizedFormatKey</key>"]
        rows += [f"\t\t<string>{draw(content)}</string>", "\t\t<key>a</key>", "\t\t<dict>"]
        rows += ["\t\t\t<key>NSStringFormatSpecTypeKey</key>", "\t\t\t<string>NSStringPluralRuleType</string>"]
        for form in draw(PLURALS):
            rows += [f"\t\t\t<key>{form}</key>", f"\t\t\t<string>{draw(content)}</string>"]
        rows += ["\t\t</dict>", "\t</dict>"]
    return newline.join([*rows, "</dict>", "</plist>", ""])


@st.composite
def _xcstrings(draw):
    import json

    text = APPLE_TEXTS.map(lambda text: text.replace('\\"', '"').replace("\\n", "\n").replace("\\U00e9", "é"))
    unit = st.fixed_dictionaries(
        {"stringUnit": st.fixed_dictionaries({"state": st.sampled_from(["new", "translated"]), "value": text})}
    )

    def localization():
        if draw(st.booleans()):
            return draw(unit)
        return {"variations": {"plural": {form: draw(unit) for form in draw(PLURALS)}}}

    strings = {}
    for _ in range(draw(st.integers(0, 4))):
        entry = draw(
            st.sampled_from([{}, {"comment": "For you"}, {"shouldTranslate": False}, {"extractionState": "stale"}])
        )
        languages = draw(st.lists(st.sampled_from(["en", "de", "pl", "zh"]), unique=True))
        entry = {
            **entry,
            **({"localizations": {each: localization() for each in languages}} if draw(st.booleans()) else {}),
        }
        strings[draw(text)] = entry
    catalog = {"sourceLanguage": "en", "strings": strings, "version": "1.0"}
    colon, indent = draw(st.sampled_from([(" : ", 2), (": ", "\t"), (":", None)]))
    written = json.dumps(catalog, ensure_ascii=draw(st.booleans()), indent=indent, separators=(",", colon))
    return written.replace("\n", draw(NEWLINES))


@st.composite
def _resx(draw):
    newline, content = draw(NEWLINES), _xml_content("resx")
    rows = ['<?xml version="1.0"?>', "<root>", '  <resheader name="a"><value>text here</value></resheader>']
    for number in range(draw(st.integers(0, 4))):
        name = draw(
            st.sampled_from([f"s{number}", f"$this.Text{number}", f"&gt;&gt;b{number}.Name", f"b{number}.Text"])
        )
        more = draw(st.sampled_from(["", ' xml:space="preserve"', ' type="System.Drawing.Size, System.Drawing"']))
        rows += [f'  <data name="{name}"{more}>', f"    <value>{draw(content)}</value>"]
        rows += [*draw(st.sampled_from([[], ["    <comment>For you</comment>"]])), "  </data>"]
    return newline.join([*rows, "</root>"])


@st.composite
def _qt(draw):
    newline, content = draw(NEWLINES), _xml_content("qt")
    language = draw(st.sampled_from(["", ' language="pl_PL"', ' language="de"']))
    rows = ["<!DOCTYPE TS>", f'<TS version="2.1"{language}>', "<context>", "    <name>Window</name>"]
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["", ' type="unfinished"', ' type="vanished"']))
        numerus = draw(st.booleans())
        rows += [
            '    <message numerus="yes">' if numerus else "    <message>",
            f"        <source>{draw(content)}</source>",
        ]
        if numerus:
            forms = [f"<numerusform>{draw(content)}</numerusform>"] * draw(st.integers(0, 3))
            rows += [f"        <translation{kind}>", *forms, "        </translation>"]
        else:
            rows += [
                draw(
                    st.sampled_from(
                        [
                            f"        <translation{kind}></translation>",
                            f"<translation{kind}/>",
                            f"<translation>{draw(content)}</translation>",
                        ]
                    )
                )
            ]
        rows += ["    </message>"]
    return newline.join([*rows, "</context>", "</TS>"])


FLUENT_TEXTS = st.sampled_from(
    ["Some words", "Hello { $user }", "a { -brand } b", "50% { NUMBER($n, minimumFractionDigits: 2) } of it", "Line one\n    line two", "\n    a block\n      more { $x }",
     'Brace { "{" } here', "<b>bold</b> &amp; more", "12", "a\n\n    b", "{ $a } and\n{ $b }"]
)  # fmt: skip


@st.composite
def _fluent(draw):
    rows = []
    for number in range(draw(st.integers(0, 4))):
        rows += draw(st.sampled_from([[], ["# For you"], ["## Group", ""], [""]]))
        kind = draw(st.sampled_from(["value", "term", "attribute", "selector", "inside"]))
        if kind == "value":
            rows += [f"key{number} = {draw(FLUENT_TEXTS)}"]
        elif kind == "term":
            rows += [f"-term{number} = {draw(FLUENT_TEXTS)}"]
        elif kind == "attribute":
            rows += [f"key{number} =", f"    .label = {draw(FLUENT_TEXTS)}", "    .accesskey = O"]
        else:
            forms = draw(
                st.sampled_from(
                    [["one", "other"], ["other"], ["zero", "one", "other"], ["male", "other"], ["0", "other"]]
                )
            )
            variants = [f"       {'*' if form == 'other' else ' '}[{form}] {draw(FLUENT_TEXTS)}" for form in forms]
            rows += [f"key{number} ={' text' if kind == 'inside' else ''} {{ $n ->", *variants, "    }"]
    return "\n".join([*rows, ""]).replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


def _archive_text(parts):
    """Return the text that a format of archives extracts from these files."""
    return "".join(f"\x1c{name}\n{text}" for name, text in parts.items()) + '\x1c*\n{"files": ["00000000 a.png"]}'


RUN_TEXTS = st.sampled_from(["Some words", " and ", "a &lt;b&gt; c", "{name} ", "12", " ", "&amp;&#233;", "x\ny", "<![CDATA[d & e]]>", "&lt;g1&gt;"])  # fmt: skip


@st.composite
def _docx(draw):
    run = st.builds(
        "<w:r{}>{}<w:t{}>{}</w:t>{}</w:r>".format,
        st.sampled_from(["", ' w:rsidR="00A1"']),
        st.sampled_from(["", "", "<w:rPr><w:b/></w:rPr>", '<w:rPr><w:i/><w:lang w:val="en"/></w:rPr>']),
        st.sampled_from(["", ' xml:space="preserve"']),
        RUN_TEXTS,
        st.sampled_from(["", "", "<w:tab/>", "<w:br/>", "<w:noBreakHyphen/>"]),
    )
    other = st.sampled_from(
        ['<w:proofErr w:type="spellStart"/>', "<w:r><w:tab/></w:r>", '<w:bookmarkStart w:id="1" w:name="b"/>', '<w:bookmarkEnd w:id="1"/>',
         '<w:r><w:footnoteReference w:id="2"/></w:r>', "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del>", "<w:hyperlink><w:r><w:t>link</w:t></w:r></w:hyperlink>",
         '<w:r><w:fldChar w:fldCharType="begin"/></w:r>', "<w:r><w:instrText>HYPERLINK x</w:instrText></w:r>", '<w:r><w:fldChar w:fldCharType="separate"/></w:r>',
         '<w:r><w:fldChar w:fldCharType="end"/></w:r>', '<w:r><w:drawing><docPr descr="A cat"/></w:drawing></w:r>']
    )  # fmt: skip
    newline = draw(st.sampled_from(["", "\n", "\r\n"]))
    paragraphs = draw(st.lists(st.lists(run | run | other, max_size=5).map("".join), max_size=4))
    body = newline.join(f"<w:p>{each}</w:p>" for each in paragraphs)
    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    return _archive_text({"word/document.xml": f"<w:document {space}>{body}</w:document>"})


@st.composite
def _pptx(draw):
    run = st.builds(
        "<a:r>{}<a:t>{}</a:t></a:r>".format,
        st.sampled_from(
            ["", '<a:rPr lang="en" dirty="0"/>', '<a:rPr b="1"/>', '<a:rPr lang="de"><a:hlinkClick r:id="r"/></a:rPr>']
        ),
        RUN_TEXTS,
    )
    other = st.sampled_from(["<a:br/>", '<a:fld type="slidenum"><a:t>3</a:t></a:fld>', '<a:br><a:rPr b="1"/></a:br>'])
    paragraphs = draw(st.lists(st.lists(run | run | other, max_size=5).map("".join), max_size=4))
    body = "".join(f"<a:p><a:pPr/>{each}<a:endParaRPr/></a:p>" for each in paragraphs)
    space = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" xmlns:r="r"'
    shape = '<p:sp><p:nvSpPr><p:cNvPr id="1" name="T" descr="A cat"/><p:nvPr><p:ph type="title"/></p:nvPr></p:nvSpPr>{}</p:sp>'
    return _archive_text({"ppt/slides/slide1.xml": f"<p:sld {space}>{shape.format(body)}</p:sld>"})


@st.composite
def _xlsx(draw):
    run = st.builds(
        "<r>{}<t{}>{}</t></r>".format,
        st.sampled_from(["", "<rPr><b/></rPr>", "<rPr><i/><sz val='9'/></rPr>"]),
        st.sampled_from(["", ' xml:space="preserve"']),
        RUN_TEXTS,
    )
    whole = st.builds('<t xml:space="preserve">{}</t>'.format, RUN_TEXTS)
    phonetic = st.sampled_from(["", "", '<rPh sb="0" eb="2"><t>kana</t></rPh><phoneticPr fontId="1"/>'])
    cells = draw(st.lists(st.tuples(whole | st.lists(run, max_size=4).map("".join), phonetic).map("".join), max_size=4))
    body = draw(st.sampled_from(["", "\r\n"])).join(f"<si>{each}</si>" for each in cells)
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    return _archive_text({"xl/sharedStrings.xml": f"<sst {space}>{body}</sst>"})


@st.composite
def _odf(draw):
    piece = RUN_TEXTS | st.sampled_from(
        ['<text:span text:style-name="T1">bold</text:span>', '<text:span text:style-name="T2">new</text:span>', '<text:s text:c="3"/>', "<text:tab/>",
         '<text:a xlink:href="u">link</text:a>', "<text:line-break/>", '<text:bookmark-start text:name="b"/>', '<text:bookmark-end text:name="b"/>',
         "<text:page-number>3</text:page-number>", '<text:bookmark text:name="c"/>', '<text:span text:style-name="T1">a<text:tab/>b</text:span>',
         "<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>A note</text:p></text:note-body></text:note>",
         '<office:annotation office:name="1"><text:p>Why</text:p></office:annotation>', '<office:annotation-end office:name="1"/>',
         '<text:change-start text:change-id="x"/>', '<text:change-end text:change-id="x"/>', "<draw:frame><svg:desc>A cat</svg:desc></draw:frame>"]
    )  # fmt: skip
    paragraphs = draw(st.lists(st.lists(piece, max_size=5).map("".join), max_size=4))
    newline = draw(st.sampled_from(["", "\n", "\r\n"]))
    names = {"text": "text", "office": "office", "draw": "drawing", "svg": "svg-compatible", "style": "style"}
    space = " ".join(
        f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for prefix, name in names.items()
    )
    styles = '<style:style style:name="T2"><style:text-properties office:rsid="1"/></style:style>'
    body = newline.join(f"<text:p>{each}</text:p>" for each in paragraphs)
    content = f'<office:document-content {space} xmlns:xlink="x">{styles}<office:text>{body}</office:text></office:document-content>'
    return _archive_text({"content.xml": content})


@st.composite
def _epub(draw):
    piece = RUN_TEXTS | st.sampled_from(
        [
            "<b>bold</b>",
            '<a id="x"/>',
            "<br/>",
            '<img src="x" alt="A cat"/>',
            "<code>x y</code>",
            "<code/>",
            "<!-- c -->",
            "&#160;",
            "</p><p>",
            '<i class="k">a</i>',
        ]
    )
    paragraphs = draw(st.lists(st.lists(piece, max_size=5).map("".join), max_size=4))
    body = draw(NEWLINES).join(f"<p>{each}</p>" for each in paragraphs)
    head = draw(st.sampled_from(["<title>Some title</title>", "<title/>", '<script src="x"/>']))
    page = (
        f'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head>{head}</head><body>{body}</body></html>'
    )
    contents = '<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><docTitle><text>A title</text></docTitle></ncx>'
    return f'\x1ca.xhtml\n{page}\x1ctoc.ncx\n{contents}\x1c*\n{{"plain": ["toc.ncx"]}}'


@st.composite
def _notebook(draw):
    import json

    cells = []
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["markdown", "markdown", "code", "raw"]))
        lines = draw(st.lists(st.sampled_from(LINES["markdown"]) | WORDS, max_size=8))
        source = [line + "\n" for line in lines[:-1]] + lines[-1:]
        cells.append({"cell_type": kind, "source": source if draw(st.booleans()) else "".join(source)})
    notebook = {"cells": cells, "nbformat": 4}
    indent = draw(st.sampled_from([None, 1, "\t"]))
    return json.dumps(notebook, ensure_ascii=draw(st.booleans()), indent=indent).replace("\n", draw(NEWLINES))


@st.composite
def _lines(draw, name):
    rows = draw(
        st.lists(
            st.sampled_from(LINES[name]) | WORDS
            if name in {"plain", "markdown", "rst", "asciidoc", "latex"}
            else st.sampled_from(LINES[name]),
            max_size=14,
        )
    )
    newline = draw(NEWLINES)
    return newline.join(rows) + draw(st.sampled_from(["", newline]))


@functools.cache
def documents(name):
    """Return a strategy for documents of a format; for line formats not all are well-formed."""
    special = {
        "srt": _subtitles(vtt=False), "vtt": _subtitles(vtt=True), "po": _po(), "json": _json(), "xliff": _xliff(),
        "android": _android(), "strings": _strings(), "stringsdict": _stringsdict(), "xcstrings": _xcstrings(),
        "resx": _resx(), "qt": _qt(), "fluent": _fluent(), "docx": _docx(), "pptx": _pptx(), "xlsx": _xlsx(), "odt": _odf(), "odp": _odf(), "ods": _odf(), "epub": _epub(), "notebook": _notebook(),
    }  # fmt: skip
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
