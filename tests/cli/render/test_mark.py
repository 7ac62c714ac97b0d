"""``--mark``: a line that names the model, in the form that each format allows."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcli.cli.render.mark import Mark, require_comments
from llmcli.documents.format_registry import format_names, load_format
from llmcli.errors import UsageError

TEXTS = {
    "plain": ("Bonjour.\n", "Bonjour.\n\nTranslated by a language model: tiny.gguf\n"),
    "markdown": ("# Un\r\n\r\nDeux\r\n", "# Un\r\n\r\nDeux\r\n\r\n*Translated by a language model: tiny.gguf*\r\n"),
    "html": (
        "<html><body><p>Un</p></body></html>\n",
        "<html><body><p>Un</p><p><small>Translated by a language model: tiny.gguf</small></p>\n</body></html>\n",
    ),
    "vtt": (
        "WEBVTT\n\n00:01.000 --> 00:02.000\nBonjour.\n",
        "WEBVTT\n\n00:01.000 --> 00:02.000\nBonjour.\n\nNOTE Translated by a language model: tiny.gguf\n",
    ),
    "po": (
        'msgid "One"\nmsgstr "Un"\n',
        '# Translated by a language model: tiny.gguf\nmsgid "One"\nmsgstr "Un"\n',
    ),
    "yaml": ("\ufefffr:\n  one: Un\n", "\ufeff# Translated by a language model: tiny.gguf\nfr:\n  one: Un\n"),
    "rst": ("Un\n==\n\nDeux\n", "Un\n==\n\nDeux\n\nTranslated by a language model: tiny.gguf\n"),
    "asciidoc": ("== Un\n\n* Deux\n", "== Un\n\n* Deux\n\nTranslated by a language model: tiny.gguf\n"),
    "latex": ("Un \\emph{deux}\n", "% Translated by a language model: tiny.gguf\nUn \\emph{deux}\n"),
    "strings": ('"a" = "Un";\n', '/* Translated by a language model: tiny.gguf */\n"a" = "Un";\n'),
    "fluent": ("a = Un\n", "# Translated by a language model: tiny.gguf\na = Un\n"),
    **{
        name: (declaration + text, f"{declaration}<!-- Translated by a language model: tiny.gguf -->\n{text}")
        for declaration in ['<?xml version="1.0"?>\n']
        for name, text in {
            "xliff": '<xliff version="1.2"><trans-unit><source>One</source></trans-unit></xliff>',
            "android": '<resources><string name="a">One</string></resources>',
            "stringsdict": "<!DOCTYPE plist><plist><dict><key>a</key><string>One</string></dict></plist>",
            "resx": '<root><data name="a"><value>One</value></data></root>',
            "qt": "<TS><message><source>One</source><translation/></message></TS>",
        }.items()
    },
    "properties": ("one=Un\n", "# Translated by a language model: tiny.gguf\none=Un\n"),
}


@pytest.mark.parametrize("name", format_names())
def test_each_format_is_marked_or_refused(name):
    """The marked document is valid in its format, and has the same texts; the name of a file is no path."""
    if name not in TEXTS:
        with pytest.raises(UsageError, match=f"{name.upper()} has no comments"):
            require_comments(name)
        return
    text, expected = TEXTS[name]
    marked = Mark("translate", None).apply(text, "/home/someone/tiny.gguf", name)
    assert marked == expected
    form = load_format(name)
    assert form.check(marked) == ""
    before, after = ([each.text for each in form.split(each, "fr")] for each in (text, marked))
    assert [each for each in after if "language model" not in each] == before


def test_a_model_cannot_break_out_of_a_comment():
    """Its name is data, in HTML and in a note of subtitles."""
    assert "<b>" not in Mark("ask", "html").apply("x", "<b>")
    assert Mark("ask", "qt").apply("<TS/>", "a --> b").count("-->") == 1
    assert Mark("ask", "strings").apply("", "a*/b").count("*/") == 1
    assert "-->" not in Mark("ask", "vtt").apply("WEBVTT", "a --> b").partition("NOTE")[2]


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """Write documents into the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("The workshop opens at nine.\n")
    Path("page.html").write_text("<p>The workshop opens at nine.</p>\n")
    Path("film.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nHello.\n")


@pytest.mark.usefixtures("notes")
def test_an_answer_is_marked(llm):
    """On standard output, and in a file by its name."""
    line = f"Written by a language model: {llm.model.name}"
    assert llm("ask", "Hi", "--mark", answer=lambda _: "Hello.\n").out == f"Hello.\n\n{line}\n"
    assert llm("ask", "Hi", "--mark", "-o", "x.md", answer=lambda _: "Hello.").code == 0
    assert Path("x.md").read_text() == f"Hello.\n\n*{line}*\n"
    assert llm("ask", "Hi", "--mark", "-o", "x.html", answer=lambda _: "<p>Hello.</p>").code == 0
    assert Path("x.html").read_text() == f"<p>Hello.</p><p><small>{line}</small></p>\n"
    assert llm("ask", "Hi", answer=lambda _: "Hello.").out == "Hello.\n"


@pytest.mark.usefixtures("notes")
def test_translations_are_marked(llm):
    """One, and each of several."""
    line = f"Translated by a language model: {llm.model.name}"
    words = ["translate", "--from", "en", "--to", "fr", "--no-tm", "--mark"]
    french = {"answer": lambda _: "L'atelier ouvre à neuf heures."}
    one = llm(*words, "page.html", **french)
    assert one.out == f"<p>L'atelier ouvre à neuf heures.</p>\n<p><small>{line}</small></p>\n"
    assert llm(*words, "page.html", "notes.txt", "-o", "out", **french).code == 0
    assert Path("out/notes.txt").read_text() == f"L'atelier ouvre à neuf heures.\n\n{line}\n"
    assert line in Path("out/page.html").read_text()


@pytest.mark.usefixtures("notes")
def test_a_pseudo_translation_is_not_marked(llm):
    """No model has written it."""
    refused = llm("translate", "--pseudo", "accents", "--mark", "page.html")
    assert (refused.code, refused.out) == (2, "") and "--pseudo" in refused.err


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize(
    "words",
    [
        ["ask", "Hi", "--json"],
        ["ask", "Hi", "-o", "x.csv"],
        ["ask", "Hi", "-o", "x.json"],
        ["ask", "-x", "A script"],
        ["ask", "--schema", "name", "Who?"],
        ["summarize", "--format", "lines", "notes.txt"],
        ["translate", "--to", "fr", "film.srt"],
        ["translate", "--to", "fr", "notes.txt", "film.srt", "-o", "out"],
    ],
)
def test_an_output_without_comments_is_refused(llm, words):
    """Exit 2 before a model is loaded, with what to do instead."""
    refused = llm(*words, "--mark")
    assert (refused.code, refused.out, refused.backend) == (2, "", None)
    assert "--provenance" in refused.err and not Path("out").exists()
