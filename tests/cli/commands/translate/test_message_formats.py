"""``llm translate`` on the formats of programs: what is written, what is reported, what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from document_texts import MARK, greek
from lying_translators import LIES, well
from scripted import last_message

from llmcli.documents.format_registry import find_format
from llmcli.documents.formats.message_files.json_messages import JsonFormat

XLIFF = '<xliff version="1.2"><file original="a"><body>\n  <trans-unit id="t"><source>Good <g id="1">morning</g>, {name}.</source></trans-unit>\n</body></file></xliff>\n'
UNITS = '<xliff version="2.0"><file id="a">\n <unit id="t"><segment><source>Good <pc id="1">morning</pc>, {name}.</source></segment></unit>\n</file></xliff>\n'
ANDROID = '<resources>\n    <string name="t">Good <b>morning</b>, %1$s.</string>\n</resources>\n'
STRINGS = '/* Hi */\n"t" = "Good <b>morning</b>, %1$@.";\n'
STRINGSDICT = (
    '<plist version="1.0"><dict><key>t</key><string>Good &lt;b>morning&lt;/b>, %1$@.</string></dict></plist>\n'
)
CATALOG = '{\n  "sourceLanguage" : "en",\n  "strings" : {\n    "Good <b>morning</b>, %1$@." : {\n\n    }\n  }\n}\n'
RST = "Title\n=====\n\nGood *morning*, ``x``.\n"
RESX = '<root>\n  <data name="t"><value>Good &lt;b&gt;morning&lt;/b&gt;, {0}.</value></data>\n</root>\n'
QT = '<!DOCTYPE TS>\n<TS><context><name>A</name><message><source>Good &lt;b>morning&lt;/b>, %1.</source><translation type="unfinished"/></message></context></TS>\n'
FLUENT = "t = Good <b>morning</b>, { $name }.\n"
ARB = '{\n  "@@locale": "en",\n  "t": "Good <b>morning</b>, {name}.",\n  "@t": {"description": "Hi"}\n}\n'
NOTEBOOK = '{\n "cells": [\n  {\n   "cell_type": "markdown",\n   "source": [\n    "# Title\\n",\n    "\\n",\n    "Good *morning*,\\n",\n    "`x`."\n   ]\n  }\n ],\n "nbformat": 4\n}\n'
ASCIIDOC = "= Title\n\nGood *morning*, `x`.\n\n----\nGood code\n----\n"
LATEX = "\\begin{document}\n\\section{Title}\n\nGood \\emph{morning}, $x$. % Good\n\\end{document}\n"
GOOD, MORNING = greek("Good"), greek("morning")
WRITTEN = {
    "a.xlf": XLIFF.replace('"a">', '"a" target-language="el" source-language="en">').replace("</source>", f'</source><target state="needs-review-translation">{GOOD} <g id="1">{MORNING}</g>, {{name}}.</target>'),
    "a.xliff": UNITS.replace('"2.0">', '"2.0" trgLang="el" srcLang="en">').replace("<segment>", '<segment state="translated">').replace("</source>", f'</source><target>{GOOD} <pc id="1">{MORNING}</pc>, {{name}}.</target>'),
    "strings.xml": ANDROID.replace("Good", GOOD).replace("morning", MORNING),
    "a.strings": STRINGS.replace("Good", GOOD).replace("morning", MORNING),
    "a.stringsdict": STRINGSDICT.replace("Good", GOOD).replace("morning", MORNING),
    "a.xcstrings": CATALOG.replace("{\n\n    }", f'{{\n      "localizations" : {{\n        "el" : {{\n          "stringUnit" : {{\n            "state" : "needs_review",\n            "value" : "{GOOD} <b>{MORNING}</b>, %1$@."\n          }}\n        }}\n      }}\n    }}'),
    "a.rst": RST.replace("Title", greek("Title")).replace("Good", GOOD).replace("morning", MORNING),
    "a.resx": RESX.replace("Good", GOOD).replace("morning", MORNING),
    "a.ts": QT.replace("<TS>", '<TS language="el">').replace('<translation type="unfinished"/>', f"<translation>{GOOD} &lt;b>{MORNING}&lt;/b>, %1.</translation>"),
    "a.ftl": FLUENT.replace("Good", GOOD).replace("morning", MORNING),
    "a.adoc": ASCIIDOC.replace("Title", greek("Title")).replace("Good *", f"{GOOD} *").replace("morning", MORNING),
    "a.tex": LATEX.replace("Title", greek("Title")).replace("Good \\", f"{GOOD} \\").replace("morning", MORNING),
    "a.ipynb": NOTEBOOK.replace("Title", greek("Title")).replace("Good", GOOD).replace("morning", MORNING).replace(',\\n",\n    "`x', ", `x"),
    "a.arb": ARB.replace('"en"', '"el"').replace("Good", GOOD).replace("morning", MORNING),
}  # fmt: skip
"""What a good translator makes of each document."""
SOURCES = dict(
    zip(
        WRITTEN,
        (XLIFF, UNITS, ANDROID, STRINGS, STRINGSDICT, CATALOG, RST, RESX, QT, FLUENT, ASCIIDOC, LATEX, NOTEBOOK, ARB),
        strict=True,
    )
)
BROKEN = {
    "a.xlf": "<xliff><file>", "strings.xml": "<resources><string>a</resources>", "a.strings": '"a" = "b"\n', "a.stringsdict": "<plist><dict>",
    "a.xcstrings": '{"strings": []}', "a.resx": "<root>&x;</root>", "a.ts": "<TS><message>", "a.ftl": "a = { b\n", "a.ipynb": '{"cells": [',
}  # fmt: skip
each_file = pytest.mark.parametrize("name", SOURCES)


def translate(llm, name, text, *more, answer=well):
    Path(name).write_bytes(text.encode())
    return llm("translate", "--from", "en", "--to", "el", name, *more, answer=answer)


@each_file
def test_only_the_words_change(llm, data, name):
    """What the format adds for a translation aside; a second run of a file with both languages has nothing to do."""
    run = translate(llm, name, SOURCES[name])
    assert (run.code, run.out, run.err) == (0, WRITTEN[name], "")
    if name in {"a.xlf", "a.xliff", "a.xcstrings", "a.ts"}:
        again = translate(llm, name, run.out, "--no-tm")
        assert (again.code, again.out, again.backend) == (0, run.out, None)


@each_file
@pytest.mark.parametrize("lie", LIES)
def test_a_lying_translator_is_reported(llm, data, name, lie):
    """Each time, with the line; the segment keeps its text."""
    marked = (
        (lambda request: LIES[lie](request) if "[#1]" in last_message(request) else well(request))
        if lie != "endless"
        else LIES[lie]
    )
    run = translate(llm, name, SOURCES[name], "--no-tm", answer=marked)
    assert (run.code, "left untranslated" in run.err) == (3, True)
    title = greek("Title")
    assert run.out in {SOURCES[name], SOURCES[name].replace("Title", title), SOURCES[name].replace('"en"', '"el"')}


MARKDOWN = "See [docs](https://a.b) for `{name}`, **not** `x y`.\n\n- one\n- two"
IN_A_FILE = {
    "a.json": json.dumps({"t": MARKDOWN}),
    "a.yaml": "t: |\n  " + MARKDOWN.replace("\n", "\n  ") + "\n",
    "folded.yaml": "t: >\n  " + re.sub("\n+", "\\g<0>\n", MARKDOWN).replace("\n", "\n  ") + "\n",
    "a.po": f'msgid {json.dumps(MARKDOWN)}\nmsgstr ""\n',
    "a.properties": f"t={json.dumps(MARKDOWN)[1:-1]}\n",
    "a.strings": f'"t" = {json.dumps(MARKDOWN)};\n',
    "a.xcstrings": json.dumps({"sourceLanguage": "en", "strings": {MARKDOWN: {}}}),
    "a.xlf": f'<xliff version="1.2"><file><body><trans-unit id="t"><source>{MARKDOWN}</source></trans-unit></body></file></xliff>',
    "strings.xml": f'<resources><string name="t">{json.dumps(MARKDOWN)[1:-1]}</string></resources>',
    "a.resx": f'<root><data name="t"><value>{MARKDOWN}</value></data></root>',
    "a.ts": f"<TS><context><message><source>{MARKDOWN}</source><translation type='unfinished'/></message></context></TS>",
    "a.ftl": "t =\n    " + MARKDOWN.replace("{name}", "{ $name }").replace("\n", "\n    ") + "\n",
}
"""A message with Markdown in each format of messages."""
MARKDOWN_LIES = {
    "drops code": lambda answer: answer.replace("[#3]", greek("name")),
    "drops bold": lambda answer: answer.replace("**", ""),
    "doubles bold": lambda answer: answer.replace("**", "****"),
    "drops a list": lambda answer: answer.replace("- ", ""),
    "doubles a list": lambda answer: answer.replace("- ", "- x\n- "),
    "swaps a link": LIES["swap"],
    "adds a backtick": lambda answer: answer.replace("[#3]", "` [#3]"),
    "doubles code": lambda answer: answer.replace("[#4]", "[#4] [#4]"),
}


@pytest.mark.parametrize("name", IN_A_FILE)
def test_markdown_in_a_message_is_kept(llm, data, name):
    """Its code, links, emphasis, empty lines and lists, whatever the escapes of the format."""
    run = translate(llm, name, IN_A_FILE[name])
    assert (run.code, run.err, len(run.backend.requests)) == (0, "", 1)
    assert last_message(run.backend.requests[0]).endswith("See [#1]docs[#2] for [#3], **not** [#4].\n\n- one\n- two")
    again = [
        segment.existing_translation or segment.text for segment in find_format(name, run.out).split(run.out, "el")
    ]
    kept = MARKDOWN.replace("{name}", "{ $name }") if name == "a.ftl" else MARKDOWN
    assert [re.sub("[a-zα-ω]+", "w", text.lower()) for text in again] == [re.sub("[a-z]+", "w", kept.lower())]


@pytest.mark.parametrize("name", IN_A_FILE)
@pytest.mark.parametrize("lie", MARKDOWN_LIES)
def test_lost_markdown_in_a_message_is_reported(llm, data, name, lie):
    """Each time; the message keeps its text."""
    lying = MARKDOWN_LIES[lie]
    run = translate(
        llm, name, IN_A_FILE[name], "--no-tm", answer=lambda r: lying(r) if lie == "swaps a link" else lying(well(r))
    )
    assert (run.code, run.out) == (3, IN_A_FILE[name])
    assert "left untranslated: " in run.err and (" wrong: " in run.err or "a backtick is not" in run.err)


@pytest.mark.parametrize("name", IN_A_FILE)
def test_lost_empty_lines_come_back(llm, data, name):
    """After two answers without them, the sentences between them are translated one by one."""
    good = translate(llm, name, IN_A_FILE[name], "--no-tm").out
    run = translate(llm, name, IN_A_FILE[name], "--no-tm", answer=lambda request: well(request).replace("\n\n", "\n"))
    assert (run.code, run.out) == (0, good)
    assert "0 instead of 1 empty lines" in last_message(run.backend.requests[1])


def test_a_message_without_markdown_gets_none(llm, data):
    """A lone sign, names and the quotes of GNU are words like others."""
    texts = ["* Required field", "5 * 3 or snake_case_word", "Cannot open `a' or `b'", "One line\nand another"]
    answer = lambda request: re.sub("[*_`]|\n", " ", well(request))  # noqa: E731 (one line)
    run = translate(llm, "a.json", json.dumps(dict(enumerate(texts))), answer=answer)
    assert (run.code, run.err) == (0, "")


def test_a_check_finds_lost_markdown(llm, data):
    """Of a translation by a person, too."""
    Path("a.json").write_text(json.dumps({"t": MARKDOWN, "u": "**Yes**"}))
    Path("b.json").write_text(json.dumps({"t": greek(MARKDOWN).replace("\n\n", " "), "u": "ναι"}))
    run = llm("translate", "--check", "--from", "en", "--to", "el", "a.json", "-o", "b.json", "--json")
    found = [json.loads(line)["detail"] for line in run.out.splitlines()]
    assert run.code == 1
    assert found[0].startswith("lost or changed: ](https://a.b) `{name}` `x y` 0 instead of 1 empty lines")
    assert found[1] == "lost or changed: **bold** is missing"


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused(llm, data, name):
    """In one line, with the line of the file."""
    run = translate(llm, name, BROKEN[name])
    assert (run.code, run.out, run.backend) == (65, "", None)
    assert f"{name}: line " in run.err.splitlines()[0]


def test_an_update_keeps_the_translations(llm, data):
    """Of a file with both languages by its keys, of a file with one by its record."""
    old = XLIFF.replace("</source>", '</source><target>Guten <g id="1">Morgen</g>, {name}.</target>').replace(
        '"a">', '"a" target-language="el">'
    )
    Path("old.xlf").write_text(old)
    new = XLIFF.replace("</body>", '  <trans-unit id="u"><source>See you</source></trans-unit>\n</body>')
    run = translate(llm, "new.xlf", new, "--update", "old.xlf")
    text = Path("old.xlf").read_text()
    assert (run.code, len(run.backend.requests)) == (0, 1)
    assert "Guten <g" in text and greek("See you") in text


def test_the_resources_in_a_directory(llm, data):
    """Android's files are known by their names, other files in XML are not picked up."""
    for name in ("res/values/strings.xml", "res/layout/main.xml", "app/de.lproj/Localizable.strings"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(ANDROID if name.endswith("xml") else STRINGS)
    assert llm("translate", "--pseudo", "accents", "res", "-o", "out").code == 0
    assert [path.name for path in Path("out").rglob("*.*")] == ["strings.xml"]
    assert (
        json.loads(llm("translate", "--pseudo", "accents", "--json", "app/de.lproj/Localizable.strings").out)["format"]
        == "strings"
    )


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_apples_strings_in_utf16_stay_so(llm, data, encoding):
    """With the byte order mark, in a file and in a pipe; JSON is UTF-8, and other files in UTF-16 are refused."""
    source = ("\ufeff" + STRINGS).encode(encoding)
    Path("a.strings").write_bytes(source)
    argv = ("translate", "--from", "en", "--to", "el", "--no-tm", "a.strings")
    assert llm(*argv, "--pseudo", "identity", "-o", "b.strings").code == 0
    assert Path("b.strings").read_bytes() == source
    assert llm(*argv, "-o", "c.strings", answer=well).code == 0
    assert Path("c.strings").read_bytes() == ("\ufeff" + WRITTEN["a.strings"]).encode(encoding)
    with Path("piped.strings").open("wb") as pipe:
        assert llm(*argv, answer=well, out=pipe.fileno()).code == 0
    assert Path("piped.strings").read_bytes() == Path("c.strings").read_bytes()
    assert json.loads(llm(*argv, "--json", answer=well).out)["text"] == "\ufeff" + WRITTEN["a.strings"]
    assert llm(*argv, "--update", "c.strings").code == 0
    assert Path("c.strings").read_bytes() == ("\ufeff" + WRITTEN["a.strings"]).encode(encoding)
    assert llm(*argv, "-o", "out/", answer=well).code == 0
    assert Path("out/a.strings").read_bytes() == Path("c.strings").read_bytes()
    Path("a.txt").write_bytes(source)
    Path("a.strings").write_bytes(source + b"\x00")
    assert [llm(*argv[:-1], name).code for name in ("a.txt", "a.strings")] == [65, 65]


def test_a_pseudo_translation_declares_its_language(llm, data):
    """ARB and HTML files do, whatever language they declared: generators of code compare it with the file's name."""
    Path("a.arb").write_text(ARB)
    Path("a.html").write_text(
        '<!DOCTYPE html>\n<html lang="de-AT" xml:lang=\'de\'><p lang="de">Good morning</p></html>\n'
    )
    assert '"@@locale": "en_XA"' in llm("translate", "--pseudo", "accents", "a.arb").out
    assert (
        '<html lang="en-XA" xml:lang=\'en-XA\'><p lang="de">' in llm("translate", "--pseudo", "accents", "a.html").out
    )
    assert llm("translate", "--pseudo", "identity", "a.arb").out == ARB


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<html lang=en>", "<html lang=el>"),
        ('<html class="x" lang="en-GB">', '<html class="x" lang="el">'),
        ('<html lang="fr">', '<html lang="fr">'),
        ("<html>", "<html>"),
    ],
)
def test_a_page_declares_its_language(llm, data, before, after):
    """Its root element gets the target language if it had the source language."""
    page = f'<!-- lang="en" -->{before}<body lang="en"><p>Good morning</p></body></html>'
    run = translate(llm, "a.html", page)
    assert (run.code, run.out) == (0, page.replace(before, after).replace("Good morning", greek("Good morning")))


def test_a_damaged_message_is_reported(llm, data):
    """A plural without an end is no plain text: it stays, with the line and the reason, and the others are translated."""
    damaged = "{n, plural, one {# day} other {# days}"
    text = ARB.replace('"t":', f'"d": "{damaged}",\n  "t":')
    for more in ((), ("--pseudo", "accents")):
        run = translate(llm, "a.arb", text, *more)
        assert (run.code, f'"d": "{damaged}"' in run.out, '"t": "Good' in run.out) == (3, True, False)
        assert (
            "line 3: left untranslated: the source is not a valid ICU message: its braces are not balanced" in run.err
        )
    assert translate(llm, "a.arb", ARB.replace("{name}", "{n, plural, other {'{' # {name}}}")).code == 0


def test_a_mnemonic_of_qt_stays(llm, data):
    """A translation that lost the "&" before a key is refused; one with it before another letter is not."""
    text = QT.replace("Good &lt;b>morning&lt;/b>, %1.", "&amp;Open &amp;&amp; close R&amp;D")
    well_done = translate(llm, "a.ts", text)
    assert (well_done.code, "&amp;" + greek("open") in well_done.out) == (0, True)
    lost = translate(llm, "a.ts", text, "--no-tm", answer=lambda request: MARK.sub("", well(request)))
    assert (lost.code, lost.out, "left untranslated" in lost.err) == (3, text, True)


def test_a_template_becomes_a_catalog(llm, data):
    """It gets the header and the plural forms of the target language, and is no longer fuzzy."""
    import polib

    text = (
        '#, fuzzy\nmsgid ""\nmsgstr ""\n"Language: \\n"\n"Content-Type: text/plain; charset=CHARSET\\n"\n'
        '"Plural-Forms: nplurals=INTEGER; plural=EXPRESSION;\\n"\n\n'
        '#, c-format\nmsgid "%d file"\nmsgid_plural "%d files"\nmsgstr[0] ""\nmsgstr[1] ""\n\nmsgid "Open"\nmsgstr ""\n'
    )
    Path("app.pot").write_text(text)
    for language, forms in (("pl", 3), ("ja", 1), ("ar", 6), ("de", 2)):
        run = llm("translate", "--from", "en", "--to", language, "--no-tm", "--pseudo", "accents", "app.pot")
        catalog = polib.pofile(run.out)
        assert (run.code, catalog.metadata["Language"], bool(catalog.metadata_is_fuzzy)) == (0, language, False)
        assert catalog.metadata["Plural-Forms"].startswith(f"nplurals={forms};")
        assert catalog.metadata["Content-Type"] == "text/plain; charset=UTF-8"
        assert [len(entry.msgstr_plural) for entry in catalog] == [forms, 0]
        assert catalog.percent_translated() == 100


@pytest.mark.parametrize(
    ("message", "translated"),
    [
        ("Ticket #5 of C#", "Ţïïçķééţ #5 ööf Ç#"),
        ("{n, plural, one {# box} other {# boxes}} of #5", "{n, plural, one {# bööx} other {# bööxééš}} ööf '#'5"),
    ],
)
def test_a_number_sign_is_quoted_where_it_is_a_number(llm, tmp_path, message, translated):
    """ICU reads "#" as the number in plural branches alone: elsewhere, the apostrophes around it would be shown."""
    (tmp_path / "a.json").write_text(json.dumps({"boxes": "{n, plural, one {# box} other {# boxes}}", "t": message}))
    run = llm("translate", "--pseudo", "accents", str(tmp_path / "a.json"))
    words = re.sub(r"([äéïöü])\1+", r"\1\1", json.loads(run.out)["t"])
    assert (run.code, words) == (0, translated)


def test_braces_beside_a_format_item_of_dotnet_are_escaped(llm, data):
    """Only in a string with an item such as {0}: a lone brace there would raise a FormatException."""
    value = '<root>\n  <data name="t"><value>{}</value></data>\n</root>\n'.replace("{}", "%s")
    text = "Used {0} times since {1:dd MMM yyyy}, }} above."
    answer = lambda request: f"{well(request)} {{ so }}"  # noqa: E731 (one line)
    run = translate(llm, "a.resx", value % text, answer=answer)
    kept = re.sub(r"[A-Za-z]+(?![^{]*\})", lambda word: greek(word[0]), "Used {0} times since ")
    assert (run.code, run.err) == (0, "")
    assert run.out == value % f"{kept}{{1:dd MMM yyyy}}, }}}} {greek('above')}. {{{{ so }}}}"
    plain = translate(llm, "a.resx", value % "Used many times.", answer=answer)
    assert plain.out == value % f"{greek('Used many times.')} {{ so }}"


@pytest.mark.parametrize("memory", [True, False])
def test_a_document_is_read_no_more_often_than_needed(llm, data, monkeypatch, memory):
    """A valid translation is checked once; it is read again only for a memory that records how it was made."""
    calls = []
    split, check = JsonFormat.split, JsonFormat.check
    monkeypatch.setattr(JsonFormat, "split", lambda *args: calls.append("split") or split(*args))
    monkeypatch.setattr(JsonFormat, "check", lambda *args: calls.append("check") or check(*args))
    Path("in.json").write_text('{"a": "Some words", "b": "More words"}')
    options = () if memory else ("--no-tm",)
    run = llm("translate", "--to", "fr", *options, "in.json", "-o", "out.json", answer=well)
    assert run.code == 0
    assert calls == ["split", "check", *(["split"] if memory else [])]
