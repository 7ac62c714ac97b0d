"""``llm translate`` on archives: Office documents and books; what is written, what is reported, what is refused."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from document_texts import greek
from lying_translators import LIES, well
from package_files import (
    chart_part,
    make_archive,
    make_book,
    make_odf,
    make_slides,
    make_word,
    make_workbook,
    odf_part,
    run,
    word_part,
)

from llmcli.cli.input.document_inputs import count_characters
from llmcli.documents.formats.packages.zip_patch import replace_files
from llmcli.documents.reading.translatable import open_translatable

GOOD, MORNING = greek("Good"), greek("morning")
SENTENCE = (
    '<w:p>{}<w:hyperlink r:id="rId1"><w:r><w:rPr><w:u/></w:rPr><w:t>{}</w:t></w:r></w:hyperlink>'
    "<w:r><w:t>, {{name}}.</w:t></w:r></w:p>"
)
DOCX = make_word(SENTENCE.format(run("Good "), "morning"))
PARAGRAPH = "<p:sp><a:p>{}<a:r><a:rPr b='1'/><a:t>{}</a:t></a:r><a:r><a:t>, {{name}}.</a:t></a:r></a:p></p:sp>"
SLIDE = PARAGRAPH.format("<a:r><a:t>Good </a:t></a:r>", "morning")
CELL = "<si><r><t{}>{}</t></r><r><rPr><b/></rPr><t>{}</t></r><r><t>, {{name}}.</t></r></si>"
SPACE = ' xml:space="preserve"'
TEXT = '<text:p>{} <text:span text:style-name="T1">{}</text:span>, {{name}}.</text:p>'
CHAPTER = '<p class="k">{} <b id="x">{}</b>, {{name}}.</p>'
DOCUMENTS = {
    "a.docx": (DOCX, "word/document.xml", SENTENCE.format(run("Good "), "morning"), SENTENCE.format(run(f"{GOOD} "), MORNING)),
    "a.pptx": (make_slides(SLIDE), "ppt/slides/slide1.xml", SLIDE, PARAGRAPH.format(f"<a:r><a:t>{GOOD} </a:t></a:r>", MORNING)),
    **{
        f"a.{name}": (make_odf(TEXT.format("Good", "morning"), kind), "content.xml", TEXT.format("Good", "morning"), TEXT.format(GOOD, MORNING))
        for name, kind in (("odt", "text"), ("odp", "presentation"), ("ods", "spreadsheet"))
    },
    "a.epub": (make_book(CHAPTER.format("Good", "morning")), "OEBPS/c1.xhtml", CHAPTER.format("Good", "morning"), CHAPTER.format(GOOD, MORNING)),
    "a.xlsx": (make_workbook(CELL.format(SPACE, "Good ", "morning")), "xl/sharedStrings.xml", CELL.format(SPACE, "Good ", "morning"), CELL.format(SPACE, f"{GOOD} ", MORNING)),
}  # fmt: skip
"""Of each format a document, the part that holds its words, what is in there, and what a good translator makes of
that."""
each_document = pytest.mark.parametrize("name", DOCUMENTS)


def translate(llm, name, *more, answer=well):
    Path(name).write_bytes(DOCUMENTS[name][0])
    return llm("translate", "--from", "en", "--to", "el", name, *more, answer=answer)


def contents(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode("utf-8", "surrogateescape") for name in archive.namelist()}


@each_document
def test_only_the_words_change(llm, data, name):
    """In the one part that has words; the other files of the archive are the same."""
    source, part, words, written = DOCUMENTS[name]
    run_ = translate(llm, name, "-o", "out.bin")
    assert (run_.code, run_.out, run_.err) == (0, "", "")
    before, after = contents(source), contents(Path("out.bin").read_bytes())
    assert list(before) == list(after)
    assert {key: text for key, text in after.items() if text != before[key]} == {
        part: before[part].replace(words, written)
    }
    again = translate(llm, name, "-o", "again.bin")
    assert again.backend is None or not again.backend.requests
    assert Path("again.bin").read_bytes() == Path("out.bin").read_bytes()


@each_document
@pytest.mark.parametrize("lie", LIES)
def test_a_lying_translator_is_reported(llm, data, name, lie):
    """Each time, with the part and the first words; the document stays byte for byte."""
    run_ = translate(llm, name, "--no-tm", "-o", "out.bin", answer=LIES[lie])
    source, part, *_ = DOCUMENTS[name]
    assert run_.code == 3
    assert f"{part}: \u201cGood morning, {{name}}.\u201d: left untranslated" in run_.err
    assert Path("out.bin").read_bytes() == source


def piped(llm, *argv, **how):
    """Return the exit code of ``llm``, and what it writes to a file as standard output."""
    with Path("piped").open("wb") as out:
        code = llm(*argv, out=out.fileno(), **how).code
    return code, Path("piped").read_bytes()


@each_document
def test_pipes_json_and_pseudo_languages(llm, data, name):
    """The archive comes from standard input, and goes to standard output or into JSON."""
    source = DOCUMENTS[name][0]
    identity = ("translate", "--no-tm", "--pseudo", "identity")
    assert piped(llm, *identity, stdin=source) == (0, source)
    shown = json.loads(llm(*identity, "--json", stdin=source).out)
    assert base64.b64decode(shown["base64"]) == source
    assert (shown["format"], shown["segments"], "text" in shown) == (name.partition(".")[2], 1, False)
    code, accents = piped(llm, "translate", "--no-tm", "--pseudo", "accents", stdin=source)
    assert code == 0 and list(contents(accents)) == list(contents(source)) and accents != source


@each_document
def test_a_terminal_gets_no_archive(llm, data, name, terminal):
    """The error names -o, and comes before the model is loaded."""
    screen = terminal()
    run_ = llm("translate", "--to", "el", stdin=DOCUMENTS[name][0], out=screen.slave)
    assert screen.close() == ""
    assert (run_.code, run_.backend) == (2, None)
    assert "is not shown on a terminal" in run_.err and "-o FILE" in run_.err


@each_document
def test_an_archive_cannot_hold_two_languages(llm, data, name):
    """Its text alone could: --bilingual is refused."""
    refused = translate(llm, name, "--bilingual", "interleaved", "-o", "out.bin")
    assert refused.code == 2 and f"a {name.partition('.')[2]} file cannot hold two languages" in refused.err


@each_document
def test_directories_updates_and_checks(llm, data, name):
    """As for other formats: finished outputs stay, edits are kept, problems are listed."""
    Path("in").mkdir()
    Path("in", f"~${name[1:]}").write_bytes(b"\x04Jane\0\0")  # it is open in Word
    Path("in", name).write_bytes(DOCUMENTS[name][0])
    argv = ("translate", "--from", "en", "--to", "el", "in", "-o", "out")
    assert llm(*argv, answer=well).code == 0
    first = Path("out", name).read_bytes()
    again = llm(*argv, answer=well)
    assert (again.code, Path("out", name).read_bytes()) == (0, first)
    estimate = llm("translate", "--to", "el", "--dry-run", "--no-tm", "--json", "in")
    assert json.loads(estimate.out.splitlines()[0])["new"] == 1
    updated = llm("translate", "--from", "en", "--to", "el", f"in/{name}", "--update", f"out/{name}", answer=well)
    assert (updated.code, Path("out", name).read_bytes()) == (0, first)
    assert llm("translate", "--check", *argv[1:], "-q").code == 0
    Path("out", name).write_bytes(DOCUMENTS[name][0])
    checked = llm("translate", "--check", *argv[1:], "--json")
    row = json.loads(checked.out)
    assert (checked.code, row["problem"], row["part"]) == (1, "untranslated", DOCUMENTS[name][1])
    assert f"{name}: {DOCUMENTS[name][1]}" in llm("translate", "--check", *argv[1:]).out
    log = json.loads(llm("translate", "--check", "--sarif", *argv[1:]).out)
    assert "region" not in log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]


def test_a_damaged_translation_is_listed(llm, data):
    """A check names it, and goes on with the other documents."""
    argv = ("translate", "--from", "en", "--to", "el", "in", "-o", "out")
    Path("in").mkdir()
    for name in ("a.docx", "b.docx"):
        Path("in", name).write_bytes(DOCX)
    assert llm(*argv, answer=well).code == 0
    Path("out/a.docx").write_bytes(Path("out/a.docx").read_bytes()[:-100])
    Path("out/b.docx").unlink()
    rows = [json.loads(line) for line in llm("translate", "--check", *argv[1:], "--json").out.splitlines()]
    assert [(row["problem"], row["file"]) for row in rows] == [("damaged", "out/a.docx"), ("missing", "in/b.docx")]
    assert "the file is damaged" in rows[0]["detail"]


def test_an_interrupted_job_continues_where_it_stopped(llm, data):
    """What has a translation is not asked for again, in any document with the same sentence."""
    second = f"<w:p>{run('Another one.')}</w:p>"
    Path("b.docx").write_bytes(make_word(SENTENCE.format(run("Good "), "morning") + second))
    argv = ("translate", "--from", "en", "--to", "el", "b.docx", "-o", "out.docx")
    assert translate(llm, "a.docx", "-o", "a.el.docx").code == 0
    run_ = llm(*argv, answer=well)
    assert (run_.code, len(run_.backend.requests)) == (0, 1)
    text = contents(Path("out.docx").read_bytes())["word/document.xml"]
    assert MORNING in text and greek("Another one.") in text


def test_an_update_keeps_edited_words_and_takes_the_markup_of_the_source(llm, data):
    """Numbers of links in an earlier document may mean others in a later one."""
    argv = ("translate", "--from", "en", "--to", "el", "a.docx", "--update", "b.docx")
    translate(llm, "a.docx", "--update", "b.docx")
    part = "word/document.xml"
    edited = contents(Path("b.docx").read_bytes())[part].replace(MORNING, "edited")
    Path("b.docx").write_bytes(replace_files(Path("b.docx").read_bytes(), {part: edited.encode()}))
    later = contents(DOCX)[part].replace("rId1", "rId9")
    Path("a.docx").write_bytes(replace_files(DOCX, {part: later.encode()}))
    run_ = llm(*argv, answer=well)
    assert (run_.code, run_.backend) == (0, None)
    assert contents(Path("b.docx").read_bytes())[part] == edited.replace("rId1", "rId9")


def test_an_edited_picture_is_no_finished_translation(llm, data):
    """What is finished was made of all files of the archive, not of the words alone."""
    argv = ("translate", "--from", "en", "--to", "el", "a.docx", "-o", "out/")
    Path("a.docx").write_bytes(DOCX)
    assert llm(*argv, answer=well).code == 0
    files = {key: text.encode("utf-8", "surrogateescape") for key, text in contents(DOCX).items()}
    Path("a.docx").write_bytes(make_archive({**files, "word/media/image1.png": b"new"}))
    assert llm(*argv, answer=well).code == 73


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.docx", b"PK\x03\x04" + b"\0" * 100, "the file is damaged"),
        ("a.docx", b"Just a text.", "it is not a Word document"),
        ("a.txt", DOCX, "it is a Word document, not what its name says; rename it"),
        ("a.docx", make_word("<w:p>"), "word/document.xml: mismatched tag"),
        ("a.zip", make_archive({"a.txt": "Good"}), "ZIP"),
        ("zip.docx", make_archive({"a.txt": "Good"}), "it is another archive, not a Word document"),
        *(
            (f"empty.{kind}", b"", "it is empty, not ")
            for kind in ("docx", "pptx", "xlsx", "epub", "odt", "ods", "odp")
        ),
        ("a.rtf", b"{\\rtf1\\ansi Good day.}", "it is Rich Text Format; save it as .docx with Word or LibreOffice"),
        (
            "a.fodt",
            odf_part("<text:p>Good</text:p>", root="document").encode(),
            "it is a flat OpenDocument; save it as .odt",
        ),
        ("a.txt", odf_part("<text:p>Good</text:p>", root="document").encode(), "with LibreOffice"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "it is encrypted"),
    ],
)
def test_other_files_are_refused(llm, data, name, content, problem):
    """In one line, with 65, before a model is loaded."""
    Path(name).write_bytes(content)
    run_ = llm("translate", "--to", "el", name, "-o", "out.bin", answer=well)
    assert (run_.code, run_.backend) == (65, None)
    assert problem in run_.err.splitlines()[0]
    assert not Path("out.bin").exists()


@pytest.mark.parametrize(
    ("output", "code"), [("one.docx", 2), ("one.md", 2), ("one.docx/", 0), ("there.docx", 0), ("one", 0)]
)
def test_several_documents_do_not_go_into_a_new_directory_with_the_name_of_a_file(llm, data, output, code):
    """Such a name means a file, unless the directory exists."""
    Path("there.docx").mkdir()
    Path("b.docx").write_bytes(DOCX)
    run_ = translate(llm, "a.docx", "b.docx", "-o", output)
    assert run_.code == code
    assert Path(output).exists() == (code == 0)
    assert (f"several translations cannot go into one file, {output}" in run_.err) == (code == 2)


def test_a_cell_that_would_be_too_long_for_excel_keeps_its_source(llm, data):
    """It is reported as any other text that was left untranslated."""
    long = "word and text " * 2300
    Path("a.xlsx").write_bytes(make_workbook(f"<si><t>{long.strip()}</t></si><si><t>Short text</t></si>"))
    run_ = llm("translate", "--pseudo", "accents", "--no-tm", "a.xlsx", "-o", "b.xlsx")
    assert run_.code == 3 and "left untranslated: the translation would make the xlsx invalid" in run_.err
    strings = contents(Path("b.xlsx").read_bytes())["xl/sharedStrings.xml"]
    assert long.strip() in strings and "Short" not in strings


LANGUAGES = {
    "a.docx": (
        make_word(
            "<w:p>{}</w:p><w:p>{}</w:p>".format(
                run("Good day", '<w:lang w:val="en-GB"/>'), run(" bonjour", '<w:lang w:val="fr-FR"/>')
            ),
            styles=word_part(
                '<w:docDefaults><w:rPr><w:lang w:val="en-US" w:bidi="ar-SA"/></w:rPr></w:docDefaults>', "styles"
            ),
            settings=word_part('<w:themeFontLang w:val="en"/>', "settings"),
        ),
        {
            "document": ['w:val="el"', 'w:val="fr-FR"'],
            "styles": ['w:val="el"', 'w:bidi="ar-SA"'],
            "settings": ['w:val="el"'],
        },
    ),
    "a.pptx": (
        make_slides(
            "<p:sp><a:p><a:r><a:rPr lang='en-US'/><a:t>Good day</a:t></a:r><a:endParaRPr lang='de-DE'/></a:p></p:sp>"
        ),
        {"slide1": ["rPr lang='el'", "lang='de-DE'"]},
    ),
    "a.odt": (
        make_odf(
            "<text:p>Good day</text:p>",
            styles=odf_part("", '<style:text-properties fo:language="en" fo:country="US" style:country-asian="CN"/>'),
            meta=odf_part("<dc:language>en-US</dc:language>"),
        ),
        {"styles": ['fo:language="el" fo:country="none"'], "meta": ["<dc:language>el</dc:language>"]},
    ),
    "a.epub": (
        make_book("<p>Good day</p>", more="<dc:language>en</dc:language>", root='lang="en" xml:lang="en-GB"'),
        {"c1.xhtml": ['lang="el" xml:lang="el"'], "book.opf": ["<dc:language>el</dc:language>"]},
    ),
}
"""Documents that declare their language, and what their translations declare."""


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_document_declares_the_language_of_its_translation(llm, data, name):
    """Where it declared that of its source; and an update finds its record."""
    source, expected = LANGUAGES[name]
    Path(name).write_bytes(source)
    out = f"out.{name[2:]}"
    argv = ("translate", "--from", "en", "--to", "el", name, "--update", out)
    for _ in range(2):
        run_ = llm(*argv, answer=well)
        assert (run_.code, run_.err) == (0, "")
    parts = contents(Path(out).read_bytes())
    for part, declared in expected.items():
        text = next(text for key, text in parts.items() if part in key)
        assert [each for each in declared if each not in text] == []


def test_an_archive_has_its_own_format(llm, data):
    """--format of another format is refused."""
    run_ = translate(llm, "a.docx", "--format", "markdown", "-o", "b.docx")
    assert run_.code == 2 and "a.docx is a Word document, no markdown file" in run_.err


@each_document
def test_the_size_of_a_job_is_that_of_its_words(name):
    """It decides which weights answer: an archive has ten times as much markup."""
    ctx = SimpleNamespace(runtime=SimpleNamespace(input_characters=0))
    document = count_characters(ctx, open_translatable(DOCUMENTS[name][0], name))
    facts = document.text.rpartition("\x1c")[2]
    assert 0 < ctx.runtime.input_characters - len(facts) < 200 < len(document.text)


def test_other_commands_do_not_read_the_files_of_an_archive(llm, data):
    """A glossary is a text."""
    Path("terms.docx").write_bytes(DOCX)
    assert translate(llm, "a.docx", "--glossary", "terms.docx", "-o", "b.docx").code == 65


def test_labels_of_charts_that_stay_are_named(llm, data):
    """They come from a workbook in the presentation: a warning says so, since people see them."""
    chart = chart_part("Sales", categories=["East"], more='<c:externalData r:id="r1" xmlns:r="r"/>')
    Path("a.pptx").write_bytes(make_slides(SLIDE, **{"charts/chart1": chart}))
    argv = ("translate", "--from", "en", "--to", "el", "a.pptx")
    result = llm(*argv, "-v", "-o", "b.pptx", answer=well)
    assert result.code == 0
    assert "warning: a chart keeps the names of series and categories" in result.err
    assert "ppt/charts/chart1.xml" in json.loads(llm(*argv, "--json", answer=well).out)["warnings"][0]
    assert contents(Path("b.pptx").read_bytes())["ppt/charts/chart1.xml"] == chart


def test_the_chosen_entry_of_a_list_stays_an_entry(llm, data):
    """The model is asked once for an entry of a drop-down list and its chosen text, so that Word finds it in the list."""
    entries = "".join(f'<w:listItem w:displayText="{words}" w:value="v"/>' for words in ("Still open", "All done"))
    control = f"<w:sdt><w:sdtPr><w:dropDownList>{entries}</w:dropDownList></w:sdtPr><w:sdtContent>{run('All done')}</w:sdtContent></w:sdt>"
    Path("a.docx").write_bytes(make_word(f"<w:p>{run('The state is ')}{control}</w:p>"))
    result = llm("translate", "--from", "en", "--to", "el", "a.docx", "-o", "b.docx", answer=well)
    out = contents(Path("b.docx").read_bytes())["word/document.xml"]
    assert (result.code, len(result.backend.requests)) == (0, 3)
    assert f'w:displayText="{greek("All done")}" w:value="v"' in out
    assert f">{greek('All done')}</w:t></w:r></w:sdtContent>" in out
