"""``llm translate`` and ``llm tm``: files, languages, memory, updates, reports, with and without a model."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import sqlite3
from functools import partial
from pathlib import Path

import pytest
from document_texts import greek
from lying_translators import well
from scripted import Reply, last_message

from llmcli.engine.llama import hardware
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.store.translation_memory import TranslationMemory, TranslationUnit

REAL = sorted((Path(__file__).parents[3] / "documents" / "real").iterdir())
ENGLISH = "The house stands on a hill by the sea.\n\nEvery morning the children walk down to the water.\n"


TMX = (
    '<tmx version="1.4"><header srclang="en"/><body><tu><tuv xml:lang="en"><seg>{}</seg></tuv>'
    '<tuv xml:lang="fr"><seg>{}</seg></tuv></tu></body></tmx>'
)


@pytest.fixture
def prompts():
    """Return the built-in prompts."""
    return PromptLibrary(Path("none"))


def write(name, text):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return str(path)


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_identity_keeps_the_bytes(llm, path):
    """Without a model and without translation, any file stays the same byte for byte."""
    run = llm("translate", "--pseudo", "identity", str(path))
    assert (run.code, run.out.encode(), run.err, run.backend) == (0, path.read_bytes(), "", None)


@pytest.mark.parametrize("text", ["", "\ufeff", "a", "a\r\nb\r\n\r\n  c  ", "\ufeff# T\r\n\r\nx `y`\r\n", "\n\n\t\n"])
@pytest.mark.parametrize("name", ["x.txt", "x.md", "x.html", "x.properties"])
def test_identity_keeps_unusual_bytes(llm, data, text, name):
    """Byte order marks, line endings, blanks and emptiness survive."""
    run = llm("translate", "--pseudo", "identity", write(name, text))
    assert (run.code, run.out) == (0, text)


def test_pseudo_accents(llm, data):
    """Letters get accents, the text grows, and protected texts stay."""
    source = "Open `file.txt` at https://a.b/c now, {name}, and wait for the others.\n"
    run = llm("translate", "--pseudo", "accents", write("x.md", source))
    assert (run.code, run.backend) == (0, None)
    assert all(text in run.out for text in ("`file.txt`", "https://a.b/c", "{name}"))
    assert "Open" not in run.out
    assert len(run.out) >= 1.15 * len(source)


def test_one_file_to_standard_output(llm, data):
    """With the built-in prompt; Markdown is kept."""
    run = llm("translate", "--to", "fr", write("a.md", "# Title\n\n- one `x`\n"), answer=well)
    assert (run.code, run.out, run.err) == (0, "# τιτλε\n\n- ονε `x`\n", "")


def test_the_format_can_be_named(llm, data):
    """--format overrides name and content; an unknown one has suggestions."""
    name = write("a.txt", "# Title\n\n    code\n")
    assert llm("translate", "--to", "fr", "--format", "md", name, answer=well).out == "# τιτλε\n\n    code\n"
    bad = llm("translate", "--to", "fr", "--format", "markdwon", name)
    assert (bad.code, "Did you mean markdown?" in bad.err) == (2, True)


def test_a_broken_document_is_refused(llm, data):
    """The error has the line, and the file of -o does not change."""
    write("o.json", "old")
    run = llm("translate", "--to", "fr", write("a.json", '{\n "a": "b",\n}\n'), "-o", "o.json")
    assert (run.code, "a.json: line 3" in run.err, Path("o.json").read_text()) == (65, True, "old")


def test_a_directory_is_mirrored(llm, data):
    """Files with known suffixes below it; hidden ones are skipped; existing outputs stay without --force."""
    for name in ("docs/a.md", "docs/sub/b.txt", "docs/.git/c.md", "docs/picture.png"):
        write(name, "hello\n")
    assert llm("translate", "--to", "fr", "docs", "-o", "out/", answer=well).code == 0
    assert sorted(str(path) for path in Path("out").rglob("*.*")) == ["out/a.md", "out/sub/b.txt"]
    assert Path("out/sub/b.txt").read_text() == greek("hello\n")
    Path("out/a.md").write_text("mine\n")
    again = llm("translate", "--to", "fr", "docs", "-o", "out", answer=well)
    assert (again.code, Path("out/a.md").read_text(), "exists" in again.err) == (3, "mine\n", True)
    assert llm("translate", "--to", "fr", "docs", "-o", "out", "--force", answer=well).code == 0
    assert Path("out/a.md").read_text() == greek("hello\n")


def test_only_files_of_a_directory_are_read(llm, data):
    """A named pipe would block for ever."""
    write("docs/a.md", "hello\n")
    os.mkfifo("docs/b.md")
    assert llm("translate", "--pseudo", "accents", "docs", "-o", "out", "--timeout", "20").code == 0
    assert [path.name for path in Path("out").iterdir()] == ["a.md"]


def test_a_name_that_is_not_utf8(llm, data):
    """It is translated, recorded, finished; a report and --json stay UTF-8."""
    Path("docs").mkdir()
    name = os.fsdecode(b"docs/x\xff.md")
    write(name, "hello\n")
    argv = ("translate", "--to", "fr", "docs", "-o", "out", "--json", "--report", "r.json")
    first, second = llm(*argv, answer=well), llm(*argv)
    assert (first.code, second.code, second.backend) == (0, 0, None)
    assert Path(os.fsdecode(b"out/x\xff.md")).read_text() == greek("hello\n")
    (document,) = json.loads(Path("r.json").read_bytes().decode())["documents"]
    assert document["name"] == "docs/x\\xff.md"
    assert json.loads(first.out)["output"].startswith("out/x")


def test_braces_in_names(llm, data):
    """Braces in names of documents, and of existing files and directories, are not placeholders."""
    write("{lang}/{ext}.md", "hello\n")
    Path("{x}").mkdir()
    assert llm("translate", "--pseudo", "identity", "{lang}/{ext}.md", "-o", "{dir}/{name}.new").code == 0
    assert Path("{lang}/{ext}.new").exists()
    assert llm("translate", "--pseudo", "identity", "{lang}", "-o", "{x}/y").code == 0
    assert Path("{x}/y/{ext}.md").exists()


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("ls.1", '.\\" A comment\n.TH LS 1\n.SH NAME\nls \\- list\n', "a manual page (roff)"),
        ("book.dbk", "\ufeff<?xml version='1.0'?>\n<book><title>Words</title></book>\n", "XML of a kind"),
        ("run", "#!/bin/sh\necho Good day\n", "a program"),
        ("run.py", "print('Good day')\n", "a program or its settings (.py)"),
        ("notes.org", "* Notes\n:PROPERTIES:\n", "markup that llm does not know (.org)"),
    ],
)
def test_markup_and_programs_are_no_plain_texts(llm, data, name, text, what):
    """Their signs would be translated as words; a format that is named counts, and prose is prose under any name."""
    write(name, text)
    write("letter.1", ".hidden files are listed\n")
    run = llm("translate", "--from", "en", "--to", "el", name, "letter.1", "-o", "out", answer=well)
    assert (run.code, [path.name for path in Path("out").iterdir()]) == (3, ["letter.1"])
    assert f"llm: {name}: it is {what}" in run.err and "--format plain" in run.err
    assert llm("translate", "--pseudo", "identity", name).code == 65
    assert llm("translate", "--check", "--to", "de", name, "-o", "letter.1").code == 65
    assert llm("translate", "--pseudo", "accents", "--format", "plain", name).code == 0


def test_links_in_a_directory(llm, data):
    """A link to another listed document is skipped; a name that is typed twice is refused."""
    write("docs/b.md", "hello\n")
    write("docs/.hidden/e.md", "there\n")
    for name, target in (("a.md", "b.md"), ("c.md", ".hidden/e.md"), ("d.md", ".hidden/e.md")):
        Path("docs", name).symlink_to(target)
    run = llm("translate", "--pseudo", "identity", "docs", "-o", "out")
    assert (run.code, run.err) == (0, "")
    assert sorted(path.name for path in Path("out").iterdir()) == ["b.md", "c.md"]
    assert llm("translate", "--pseudo", "identity", "docs", "docs/b.md", "-o", "new").code == 2


@pytest.mark.parametrize("more", [(), ("elsewhere.md",), ("other",), ("docs/c.md",)])
def test_links_out_of_a_directory(llm, data, more):
    """They are skipped with a notice, as grep -r and rsync skip links, unless their target is named too."""
    write("docs/b.md", "hello\n")
    write("elsewhere.md", "there\n")
    write("other/f.md", "there\n")
    Path("docs/c.md").symlink_to("../elsewhere.md")
    Path("docs/d.md").symlink_to("../other/f.md")
    run = llm("translate", "--pseudo", "identity", "docs", *more, "-o", "out")
    told = [line.split()[1] for line in run.err.splitlines() if "is skipped: it is a link out of the directory" in line]
    wanted = {("elsewhere.md",): ["docs/d.md"], ("other",): ["docs/c.md"], ("docs/c.md",): ["docs/d.md"]}
    assert (run.code, told) == (0, wanted.get(more, ["docs/c.md", "docs/d.md"]))
    named = {"elsewhere.md": "elsewhere.md", "other": "f.md", "docs/c.md": "c.md"}
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(["b.md", *(named[name] for name in more)])
    assert llm("translate", "--pseudo", "identity", "docs", "-o", "out2", "-q").err == ""


def test_a_directory_below_that_is_not_translated_is_named(llm, data, monkeypatch):
    """One that cannot be listed fails, as a file that cannot be read; a link to one elsewhere is skipped with a notice."""
    write("docs/b.md", "hello\n")
    write("docs/closed/c.md", "there\n")
    write("other/f.md", "there\n")
    Path("docs/link").symlink_to("../other")
    Path("docs/same").symlink_to("closed")
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    run = llm("translate", "--pseudo", "identity", "docs", "-o", "out")
    assert run.code == 3 and "docs/closed" in run.err and "docs/link is skipped: " in run.err
    assert "docs/same" not in run.err and [path.name for path in Path("out").iterdir()] == ["b.md"]


def test_an_output_in_its_input(llm, data):
    """A second run does not translate translations."""
    write("docs/a.md", "hello\n")
    for output in ("docs/out", "docs/out", "docs/out/"):
        assert llm("translate", "--pseudo", "identity", "docs", "-o", output, "--force").code == 0
    assert [str(path) for path in Path("docs/out").rglob("*")] == ["docs/out/a.md"]
    for _ in range(2):
        argv = ("--to", "fr", "--to", "de", "docs", "-o", "{dir}/{name}.{lang}{ext}", "--force")
        assert llm("translate", "--pseudo", "identity", *argv).code == 0
    assert sorted(path.name for path in Path("docs").glob("*.md")) == ["a.de.md", "a.fr.md", "a.md"]


def test_impossible_outputs_are_detected_first(llm, data):
    """One error before the model is used; nothing is created."""
    for name in ("docs/a.md", "docs/b.md", "file"):
        write(name, "hello\n")
    run = llm("translate", "--to", "fr", "docs", "-o", "file/fr", answer=well)
    assert (run.code, run.backend, run.err.count("cannot create")) == (73, None, 1)


def test_patterns_and_several_languages(llm, data):
    """Each document in each language goes where the pattern says."""
    write("d/a.md", "hello\n")
    write("d/b.md", "bye\n")
    argv = ("translate", "--to", "fr", "--to", "German", "-o", "{dir}/{name}.{lang}{ext}", "d/a.md", "d/b.md")
    assert llm(*argv, answer=well).code == 0
    assert sorted(path.name for path in Path("d").iterdir()) == [
        *("a.de.md", "a.fr.md", "a.md", "b.de.md", "b.fr.md", "b.md"),
    ]


@pytest.mark.parametrize("pattern", ["{dir}/{name}.{lang}{ext}", "{dir}/{lang}/{name}{ext}", "d/{name}_{lang}{ext}"])
def test_earlier_outputs_of_a_pattern_are_no_sources(llm, data, pattern):
    """Earlier outputs that the shell's pattern lists again, also in another language, are no new sources."""
    write("d/a.md", "hello\n")
    write("d/no.md", "bye\n")  # which is also a language code
    for language in ("fr", "pt-BR", "fr", "de"):
        named = sorted(map(str, Path("d").rglob("*.md")))
        assert llm("translate", "--to", language, "-o", pattern, *named, "--pseudo", "identity", "--force").code == 0
    assert len(list(Path("d").rglob("*.md"))) == 2 * 4
    left_out = [name for name in named if "pt-BR" in name]
    run = llm("translate", "--to", "de", "-o", pattern, *named, "--pseudo", "identity", "--force", "-v")
    assert all(f"{name} is skipped: " in run.err for name in left_out)
    assert "d/no.md is left out" not in run.err
    assert llm("translate", "--to", "it", "-o", pattern, left_out[0], "--pseudo", "identity").code == 0
    assert len(list(Path("d").rglob("*.md"))) == 2 * 4 + 1


@pytest.mark.parametrize(
    "argv",
    [
        ("a.md", "b.md"),
        ("--to", "de", "a.md"),
        ("a.md", "b.md", "-o", "same{ext}"),
        ("a.md", "a.md", "-o", "out/"),
        ("a.md", "b.md", "-o", "{dir}/{name}{ext}"),
        ("a.md", "--update", "t.md", "-o", "u.md"),
        ("--to", "de", "a.md", "--update", "b.md"),
        ("a.md", "b.md", "-o", "c.txt"),
        ("a.md", "b.md", "-o", "{dir}/{name}.{language}{ext}"),
        ("a.md", "b.md", "-o", "{name!r}"),
        ("a.md", "-o", "{foo}.md"),
        ("a.md", "-o", "{name"),
        ("a.md", "b.md", "-o", "out/", "--eval", "a.md"),
    ],
)
def test_usage(llm, data, argv):
    """Contradictory options are refused before a model is looked for."""
    write("a.md", "a\n")
    write("b.md", "b\n")
    write("c.txt", "c\n")
    run = llm("translate", "--to", "fr", *argv)
    assert (run.code, run.backend, run.err.count("\n") <= 2) == (2, None, True)


@pytest.mark.parametrize(
    "argv",
    [
        ("a.md", "-o", "a.md"),
        ("a.md", "-o", "link.md"),
        ("a.md", "--update", "a.md"),
        ("a.md", "-o", "out.md", "--report", "a.md"),
        ("a.md", "-o", "new", "--report", "./new"),
        ("a.md", "b.md", "-o", "out/", "--report", "out/b.md"),
        ("a.md", "-o", "tm.sqlite", "--tm", "tm.sqlite"),
        ("a.md", "--report", "data/translations.sqlite"),
        ("a.md", "-o", "g.csv", "--glossary", "g.csv"),
        ("a.md", "-o", "b.md", "--context", "@b.md"),
        ("a.md", "-o", "b.md", "--eval", "b.md"),
        ("a.md", "b.md", "-o", "{dir}/b{ext}.{name}", "--report", "b.md"),
    ],
)
def test_an_output_may_not_be_another_file_of_the_job(llm, data, argv):
    """Refused before anything is created or asked; all files stay."""
    for name in ("a.md", "b.md", "g.csv"):
        write(name, "a\n")
    os.link("a.md", "link.md")
    run = llm("translate", "--to", "fr", *argv)
    assert (run.code, run.backend, "Name another file" in run.err) == (2, None, True)
    assert {path.read_text() for path in Path().glob("*.*")} == {"a\n"}
    assert not Path("new").exists()


def test_devices_are_no_files(llm, data):
    """Standard output may be named twice."""
    assert (
        llm("translate", "--pseudo", "accents", write("a.md", "a\n"), "-o", "/dev/null", "--report", "/dev/null").code
        == 0
    )


def test_a_second_run_does_not_call_the_model(llm, data):
    """Translations are stored; after one changed paragraph the model is asked once."""
    name = write("a.txt", ENGLISH)
    first = llm("translate", "--to", "el", name, answer=well)
    assert len(first.backend.requests) == 2
    second = llm("translate", "--to", "el", name, answer=well)
    assert (second.out, second.backend) == (first.out, None)
    write("a.txt", ENGLISH.replace("sea", "lake"))
    third = llm("translate", "--to", "el", name, answer=well)
    assert (len(third.backend.requests), greek("lake") in third.out) == (1, True)


@pytest.mark.parametrize(
    "more",
    [
        ("--style", "formal"),
        ("--style", "@guide.md"),
        ("--context", "A tale"),
        ("--glossary", "g.csv"),
        ("--to", "el-CY"),
        ("--no-tm",),
        ("--review",),
    ],
)
def test_a_change_of_settings_does_not_use_stored_translations(llm, data, more):
    """Another prompt, glossary or language asks the model again."""
    write("g.csv", "term,translation\nmoon,Mond\n")
    write("guide.md", "Write short sentences.\n")
    name = write("a.txt", ENGLISH)
    llm("translate", "--to", "el", name, answer=well)
    argv = more if more[0] == "--to" else ("--to", "el", *more)
    assert len(llm("translate", *argv, name, answer=well).backend.requests) == 2


def test_entries_of_older_versions_count_as_unreviewed(llm, data, prompts):
    """Their key did not include --review: it is that of a translation without a review, and of no other."""
    said = ["auto", "", "", prompts.get("translate").fingerprint, "None", "None"]
    variant = hashlib.sha256("\0".join(said).encode()).hexdigest()[:32]
    name = write("a.txt", ENGLISH)
    llm("translate", "--to", "el", name, answer=well)
    with contextlib.closing(sqlite3.connect("data/translations.sqlite")) as database:
        assert database.execute("SELECT DISTINCT variant FROM units").fetchall() == [(variant,)]
    assert llm("translate", "--to", "el", "--review", name, answer=well).backend.requests
    for more in ((), ("--review",)):
        assert llm("translate", "--to", "el", *more, name, answer=well).backend is None


def test_an_interrupted_job_continues(llm, data):
    """Finished work is not repeated; a finished file is left alone, without --force."""
    for index in range(3):
        write(f"d/{index}.txt", f"text number {index} is here\n")

    def fails(request):
        return Reply(error=RuntimeError("boom")) if "number 1" in last_message(request) else well(request)

    first = llm("translate", "--to", "el", "d", "-o", "out", answer=fails)
    assert first.code == 3 and sorted(p.name for p in Path("out").iterdir()) == ["0.txt", "2.txt"]
    before = Path("out/0.txt").stat().st_mtime_ns
    second = llm("translate", "--to", "el", "d", "-o", "out", "--json", answer=well)
    assert (second.code, len(second.backend.requests)) == (0, 1)
    assert Path("out/0.txt").stat().st_mtime_ns == before
    assert [json.loads(line).get("finished", False) for line in second.out.splitlines()] == [True, False, True]


def test_update_keeps_human_edits(llm, data):
    """If the source did not change, edits by people stay."""
    name = write("a.md", "# One\n\nThe first text.\n\nThe second text.\n\nThe third text.\n")
    llm("translate", "--to", "el", name, "-o", "b.md", answer=well)
    Path("b.md").write_text(Path("b.md").read_text().replace(greek("the second text"), "Edited by hand"))
    write("a.md", "# One\n\nThe first text, changed.\n\nThe second text.\n\nThe third text.\n\nA new one.\n")
    run = llm("translate", "--to", "el", name, "--update", "b.md", answer=well)
    assert Path("b.md").read_text() == (
        f"# {greek('one')}\n\n{greek('the first text, changed.')}\n\nEdited by hand.\n\n"
        f"{greek('the third text.')}\n\n{greek('a new one.')}\n"
    )
    assert (run.code, run.out, len(run.backend.requests)) == (0, "", 2)


def test_update_refuses_to_guess(llm, data):
    """Without a record, or if people added or moved paragraphs, their file does not change."""
    name = write("a.md", "One here.\n\nTwo here.\n")
    for text in ("Un.\n\nDeux.\n", "x\n"):
        run = llm("translate", "--to", "fr", name, "--update", write("b.md", text), answer=well)
        assert (run.code, Path("b.md").read_text(), "b.md cannot be updated without losing" in run.err) == (
            73,
            text,
            True,
        )
    llm("translate", "--to", "fr", name, "-o", "c.md", answer=well)
    edited = Path("c.md").read_text().replace("\n\n", "\n\nUne phrase de plus.\n\n")
    run = llm("translate", "--to", "fr", name, "--update", write("c.md", edited), answer=well)
    assert (run.code, Path("c.md").read_text()) == (73, edited)


def test_update_keeps_markup_that_people_wrote(llm, data):
    """Their link stays."""
    name = write("a.md", "See [here](http://a/b) the `code` now.\n\nEnd words here.\n")
    llm("translate", "--to", "fr", name, "-o", "b.md", answer=well)
    edited = Path("b.md").read_text().replace("http://a/b", "http://a/fr/b").replace("`code`", "`le code` [x](y)")
    write("a.md", Path("a.md").read_text().replace("End", "Last"))
    assert llm("translate", "--to", "fr", name, "--update", write("b.md", edited), answer=well).code == 0
    assert Path("b.md").read_text().splitlines()[0] == edited.splitlines()[0]


def test_update_of_a_po_file_merges(llm, data):
    """Like msgmerge: translations, comments and headers of the target stay, empty or fuzzy ones are translated."""
    source = write(
        "s.pot", 'msgid "One thing"\nmsgstr ""\n\nmsgid "Two things"\nmsgstr ""\n\nmsgid "New thing"\nmsgstr ""\n'
    )
    write(
        "fr.po",
        'msgid ""\nmsgstr ""\n"Language: fr\\n"\n"Last-Translator: Ann\\n"\n"Content-Type: text/plain; charset=UTF-8\\n"\n\n'
        '# checked by Ann\nmsgid "One thing"\nmsgstr "Une chose"\n\nmsgid "Two things"\nmsgstr ""\n\n'
        'msgid "Old thing"\nmsgstr "Vieille chose"\n',
    )
    run = llm("translate", "--to", "fr", source, "--update", "fr.po", answer=well)
    text = Path("fr.po").read_text()
    assert (run.code, len(run.backend.requests)) == (0, 2)
    assert all(
        words in text
        for words in ("Last-Translator: Ann", "# checked by Ann", 'msgstr "Une chose"', '#~ msgid "Old thing"')
    )
    assert f'msgid "Two things"\nmsgstr "{greek("Two things")}"' in text and f'msgstr "{greek("New thing")}"' in text
    again = llm("translate", "--to", "fr", source, "--update", "fr.po", answer=well)
    assert (again.backend, Path("fr.po").read_text()) == (None, text)


def test_the_root_of_a_rails_file_is_its_language(llm, data):
    """As Rails expects; edits by people below it stay."""
    name = write("en.yml", "en:\n  greeting: Good morning to all of you\n  parting: See you again tomorrow evening\n")
    assert llm("translate", "--to", "el", name, "-o", "el.yml", answer=well).code == 0
    text = Path("el.yml").read_text()
    assert text.startswith("el:\n  greeting: ")
    write("el.yml", text.replace(greek("See you again tomorrow evening"), "À demain"))
    run = llm("translate", "--to", "el", name, "--update", "el.yml", answer=well)
    assert (run.code, run.backend, Path("el.yml").read_text().splitlines()[2]) == (0, None, "  parting: À demain")


def test_update_names_the_file_that_is_broken(llm, data):
    """It is not the source."""
    run = llm("translate", "--to", "fr", write("s.json", '{"a": "b c"}'), "--update", write("x.json", '{"broken'))
    assert (run.code, "x.json, line 1" in run.err) == (65, True)


def test_update_retries_unchanged_segments(llm, data):
    """A text that stayed in the source language is not an edit by people."""
    name = write("a.txt", ENGLISH)
    bad = llm(
        "translate", "--to", "el", name, "-o", "b.txt", answer=lambda r: "" if "sea" in last_message(r) else well(r)
    )
    assert bad.code == 3
    run = llm("translate", "--to", "el", name, "--update", "b.txt", answer=well)
    assert (run.code, Path("b.txt").read_text()) == (0, greek(ENGLISH))


def test_an_external_translation_must_be_complete(llm, data):
    """People's translations without the placeholders are not used."""
    write("m.tmx", TMX.format("Hello {name}, come in", "Bonjour, entrez"))
    assert llm("tm", "import", "m.tmx").code == 0
    run = llm("translate", "--to", "fr", write("a.json", '{"a": "Hello {name}, come in"}'), answer=well)
    assert (run.code, json.loads(run.out)) == (0, {"a": greek("Hello ") + "{name}" + greek(", come in")})
    write("m.tmx", TMX.format("Hello {name}, come in", "Bonjour {name}, entrez"))
    llm("tm", "import", "m.tmx")
    again = llm("translate", "--to", "fr", "a.json")
    assert (json.loads(again.out), again.backend) == ({"a": "Bonjour {name}, entrez"}, None)


def test_an_unwritable_memory_loses_no_translation(llm, data, monkeypatch):
    """A full disk is a warning."""
    from llmcli.errors import OutputError
    from llmcli.store.translation_memory import TranslationMemory

    def full(*_):
        raise OutputError("tm", detail="database or disk is full")

    monkeypatch.setattr(TranslationMemory, "add_units", full)
    run = llm("translate", "--to", "el", "-v", write("a.txt", ENGLISH), answer=well)
    assert (run.code, run.out) == (0, greek(ENGLISH))
    assert "the translation memory failed; the rest was translated as with --no-tm: database or disk is full" in run.err


def test_update_creates_a_first_translation(llm, data):
    """Without an earlier translation, a new one is created."""
    assert llm("translate", "--to", "fr", write("a.txt", "hi\n"), "--update", "b.txt", answer=well).code == 0
    assert Path("b.txt").read_text() == greek("hi\n")


def test_the_report_is_no_file_called_dash(llm, tmp_path, monkeypatch):
    """- means standard output elsewhere, so it is refused here."""
    monkeypatch.chdir(tmp_path)
    run = llm("translate", "--to", "fr", write("a.md", "a\n"), "-o", "b.md", "--report", "-")
    assert run.code == 2 and "--report /dev/stdout" in run.err and not (tmp_path / "-").exists()


def test_the_report_has_the_outcome_of_each_segment(llm, data):
    """A row for each, with status, retries and checks; exit 3 if one stayed unchanged."""
    name = write("a.md", "# Good\n\nIt is `bad` here.\n")

    def answer(request):
        return "no marks" if "[#1]" in last_message(request) else well(request)

    run = llm("translate", "--to", "fr", name, "--report", "r.json", answer=answer)
    (document,) = json.loads(Path("r.json").read_text())["documents"]
    good, bad = document["segments"]
    assert (run.code, document["untranslated"]) == (3, 1)
    assert (good["status"], good["translation"], good["retries"]) == ("translated", greek("good"), 0)
    assert (bad["status"], bad["line"], bad["translation"]) == ("untranslated", 3, None)
    assert bad["retries"] >= 1 and "marks" in bad["checks"][0]
    assert "line 3: left untranslated: the marks are wrong" in run.err


def test_an_unwritable_report_is_detected_first(llm, data):
    """Not after hours of work."""
    run = llm("translate", "--to", "fr", write("a.txt", "hi\n"), "--report", "none/r.json")
    assert (run.code, run.backend) == (73, None)


def test_json(llm, data):
    """One object a document, with languages, format and counts."""
    run = llm("translate", "--to", "el", "--json", write("a.txt", ENGLISH), answer=well)
    found = json.loads(run.out)
    assert found["text"] == greek(ENGLISH)
    assert (found["from"], found["to"], found["format"], found["segments"]) == ("en", "el", "plain", 2)


def test_the_detected_language_is_shown(llm, data, terminal):
    """On a terminal's stderr, and with -v; a script's stderr stays empty."""
    name = write("a.txt", ENGLISH)
    screen = terminal()
    llm("translate", "--to", "fr", name, "-o", "b.txt", err=screen.slave, answer=well)
    assert "a.txt (plain): English to French, 2 segments" in screen.close()
    assert "English to French" in llm("translate", "--to", "fr", "-v", name, answer=well).err


def test_a_message_after_a_document_begins_a_line(llm, data, terminal):
    """A document that does not end with a newline gets one on a terminal, and only there."""
    name, screen = write("a.txt", "Hello."), terminal()
    llm("translate", "--pseudo", "accents", name, out=screen.slave, err=screen.slave)
    assert "ļļöö.\nllm: a.txt (plain)" in screen.close()
    assert llm("translate", "--pseudo", "accents", name).out.endswith("öö.")


@pytest.fixture
def small_measure(monkeypatch):
    """Measure the memory bandwidth with little memory."""
    monkeypatch.setattr(hardware, "measure_bandwidth", partial(hardware.measure_bandwidth, size=1 << 22))


@pytest.mark.usefixtures("small_measure")
def test_dry_run(llm, data):
    """Segments and tokens, without a request; nothing new once everything is translated."""
    name = write("a.txt", ENGLISH)
    run = llm("translate", "--to", "el", "--dry-run", "--json", name)
    row = json.loads(run.out)
    assert (run.code, row["segments"], row["new"], run.backend.requests) == (0, 2, 2, [])
    assert row["tokens"] > 10 and (row["seconds"] is None or row["seconds"] >= 0)
    llm("translate", "--to", "el", name, answer=well)
    assert json.loads(llm("translate", "--to", "el", "--dry-run", "--json", name).out)["new"] == 0
    assert llm("translate", "--pseudo", "accents", "--dry-run", name).code == 0


@pytest.mark.usefixtures("small_measure")
def test_dry_run_of_a_long_document(llm, data):
    """The tokens are those of all prompts; what they share is evaluated once, so it counts once in the seconds."""
    name = write("a.txt", "\n\n".join(f"Number {number} is here." for number in range(2000)))
    row = json.loads(llm("translate", "--to", "fr", "--dry-run", "--json", name).out)
    assert (row["new"], row["calls"]) == (2000, 2000)
    one = json.loads(llm("translate", "--to", "fr", "--dry-run", "--json", write("b.txt", "Number 1 is here.")).out)
    assert row["tokens"] > 2000 * one["tokens"]
    longest = write("c.txt", "\n".join(f"Number {number} is here." for number in range(20_000)))
    long = json.loads(llm("translate", "--to", "fr", "--dry-run", "--json", longest).out)
    assert long["new"] == 1 and long["calls"] > 10
    assert long["seconds"] < 100 * row["seconds"]  # not that of one prompt with all of it


@pytest.mark.usefixtures("small_measure")
def test_dry_run_of_many(llm, data):
    """Nothing is written without -o. A row for each document and language, and their sum."""
    write("d/a.txt", ENGLISH)
    write("d/b.md", "# One\n")
    run = llm("translate", "--to", "fr", "--to", "de", "--dry-run", "d")
    rows = [line.split("\t") for line in run.out.splitlines()]
    assert [row[:2] for row in rows] == [
        *(["d/a.txt", "fr"], ["d/b.md", "fr"], ["d/a.txt", "de"], ["d/b.md", "de"], ["total", ""])
    ]
    assert rows[-1][4] == "6"


def test_a_dry_run_plans_as_the_translation_does(llm, data):
    """Translations of an earlier run are no documents, and a file that would not be replaced fails."""
    write("d/a.md", "# One\n")
    argv = ("translate", "--to", "fr", "d", "-o", "{dir}/{name}.{lang}{ext}")
    assert llm(*argv, answer=well).code == 0
    done = json.loads(llm(*argv, "--dry-run", "--json").out)
    assert (done["name"], done["new"]) == ("d/a.md", 0)
    write("d/a.fr.md", "# Une\n")
    run = llm(*argv, "--dry-run", "--json")
    assert (run.code, run.out) == (73, "") and "a.fr.md exists" in run.err
    assert llm(*argv, "--dry-run", "--force").code == 0


def test_commands_of_latex_that_may_hold_words_are_named(llm, data):
    """On a terminal, with -v and in the object of --json; the document is whole otherwise."""
    name = write("a.tex", "It is \\important{some words} here.\n")
    run = llm("translate", "--from", "en", "--to", "fr", "-v", name, answer=well)
    assert (run.code, "\\important{some words}" in run.out) == (0, True)
    assert "warning: the words in arguments of these commands are not translated: \\important" in run.err
    assert (
        "\\important"
        in json.loads(llm("translate", "--from", "en", "--to", "fr", "--json", name, answer=well).out)["warnings"][0]
    )


def test_bilingual(llm, data):
    """Each paragraph before its translation; a message file has no place for both."""
    name = write("a.md", "# One\n\n- two\n")
    run = llm("translate", "--to", "fr", "--bilingual", "interleaved", name, answer=well)
    assert run.out == "# One\n\n# ονε\n\n- two\n\n  τςο\n"
    message = llm("translate", "--to", "fr", "--bilingual", "interleaved", write("a.json", '{"a": "b c"}'))
    assert message.code == 2 and "a json file cannot hold two languages" in message.err and "--report" in message.err


def test_a_glossary_is_enforced(llm, data):
    """A term is in the prompt, checked, and retried; untranslated terms are protected."""
    write("g.csv", "term,translation,note\nhouse,Gebäude,a building\nAcme,,\n")
    name = write("a.txt", "The house of Acme is big.\n\nNothing of it is here.\n")
    asked = []

    def answer(request):
        asked.append(last_message(request))
        text = well(request)
        return text.replace(greek("house"), "Gebäude") if sum("house of" in a for a in asked) > 1 else text

    run = llm("translate", "--to", "el", "--glossary", "g.csv", "--report", "r.json", name, answer=answer)
    assert (run.code, run.out.splitlines()[0]) == (0, f"{greek('the')} Gebäude {greek('of')} Acme {greek('is big.')}")
    assert "house = Gebäude (a building)" in asked[0]
    assert "'house' must be translated as 'Gebäude'" in Path("r.json").read_text()


@pytest.mark.parametrize("text", ["a,b,c,d,e\n", ",b\n", "a,b\na,c\n", '"a\n'])
def test_a_broken_glossary_is_refused(llm, data, text):
    """With its line."""
    run = llm("translate", "--to", "fr", "--glossary", write("g.csv", text), write("a.txt", "hi\n"))
    assert (run.code, run.backend, "line" in run.err) == (65, None, True)
    assert "term,translation,note" in run.err


def test_prompts_begin_with_what_they_share(llm, data):
    """The instructions, the style guide, a short glossary and the title; then the place and the neighbours of each text.

    Of a long glossary, and on a server, each prompt has only the terms in its text.
    """
    write("guide.md", "Write short sentences.\n")
    write("g.csv", "house,Gebäude\nsea,Meer\n")
    paragraphs = ["The house is old.", "The sea is near.", "Nobody lives here."]
    name = write("a.md", "# The coast\n\n## People\n\n" + "\n\n".join(paragraphs))
    argv = ("translate", "--from", "en", "--to", "de", "--no-tm", "--context", "A tale", "--style", "@guide.md", name)
    run = llm(*argv, "--glossary", "g.csv", answer=well)
    shared = (
        "About the text: A tale\n\nFollow this style guide:\nWrite short sentences.\n\n"
        "Translate these terms as follows:\nhouse = Gebäude\nsea = Meer\n\n"
    )
    said = [last_message(request) for request in run.backend.requests]
    own = {text.rpartition("\n")[2]: text for text in reversed(said)}  # the first attempts
    assert all(text.startswith(shared) for text in own.values()) and len(own) == 5
    assert own["The coast"] == f"{shared}Translate into German:\n\nThe coast"
    shared += "It is part of: The coast\n\n"
    before = f"Before it stands: {paragraphs[0]}\n\n"
    assert own[paragraphs[1]] == (
        f"{shared}It stands under: People\n\n{before}After it stands: {paragraphs[2]}\n\n"
        f"Translate into German:\n\n{paragraphs[1]}"
    )
    assert own["People"] == f"{shared}After it stands: {paragraphs[0]}\n\nTranslate into German:\n\nPeople"
    for terms, shares in ((30, True), (0, False)):
        write("g.csv", "house,Gebäude\nsea,Meer\n" + "".join(f"word{n},Wort{n}\n" for n in range(terms)))
        run = llm(*argv, "--glossary", "g.csv", answer=well, is_engine=shares)
        said = [last_message(request) for request in run.backend.requests]
        has = ["house = Gebäude" in text for text in said]
        assert has == [paragraphs[0] in text.rpartition("\n")[2] for text in said]


def test_a_style(llm, data):
    """It says how the reader is addressed, or names a guide; --formality is its former name."""
    name = write("a.txt", "hi\n")
    for argv in (("--style", "formal"), ("--formality", "formal")):
        run = llm("translate", "--to", "fr", "--no-tm", *argv, name, answer=well)
        assert (run.code, "Address the reader formally." in last_message(run.backend.requests[0])) == (0, True)
    assert "--formality" not in llm("translate", "--help-all").out
    for style, code in (("polite", 2), ("@", 2), ("@none", 66)):
        assert llm("translate", "--to", "fr", "--style", style, name).code == code
    write("long.md", "word " * 5000)
    run = llm("translate", "--to", "fr", "--style", "@long.md", name)
    assert (run.code, "has 24,999 characters; at most 20,000" in run.err) == (2, True)


@pytest.mark.usefixtures("small_measure")
def test_a_style_guide_counts_in_a_dry_run(llm, data):
    """In each prompt."""
    write("guide.md", "word " * 1000)
    name = write("a.txt", ENGLISH)
    argv = ("translate", "--to", "fr", "--dry-run", "--json", name)
    plain, guided = (json.loads(llm(*argv, *more).out)["tokens"] for more in ((), ("--style", "@guide.md")))
    assert 2000 < guided - plain < 2020


def test_a_declined_term_is_that_of_the_glossary(llm, data):
    """A form of its translation counts, and a word that only begins like it does not."""
    write("g.csv", "file,Datei\nserver,Server\n")
    name = write("a.txt", "The files of the server are old.\n")
    argv = ("translate", "--from", "en", "--to", "de", "--no-tm", "--glossary", "g.csv", name)
    run = llm(*argv, answer=lambda _: "Die Dateien des Servers sind alt.")
    assert (run.code, run.out) == (0, "Die Dateien des Servers sind alt.\n")
    run = llm(*argv, answer=lambda _: "Die Daten des Servers sind alt.")
    assert (run.code, "'file' must be translated as 'Datei'" in run.err) == (3, True)


def test_a_glossary_without_terms(llm, data):
    """It is used with a warning: another file may have been meant."""
    write("g.csv", "term,translation,note\n")
    run = llm("translate", "--to", "fr", "--glossary", "g.csv", write("a.txt", "hi\n"), answer=well)
    assert (run.code, run.err) == (0, "llm: warning: the glossary g.csv contains no terms\n")


def test_context_from_a_file(llm, data):
    """The model gets the text of --context @FILE."""
    write("about.txt", "A manual of a pump.\n")
    run = llm("translate", "--to", "fr", "--context", "@about.txt", write("a.txt", "hi\n"), answer=well)
    assert "A manual of a pump." in last_message(run.backend.requests[0])
    assert llm("translate", "--to", "fr", "--context", "@none", "a.txt").code == 66
    nameless = llm("translate", "--to", "fr", "--context", "@", "a.txt")
    assert (nameless.code, "--context @FILE" in nameless.err) == (2, True)


@pytest.mark.parametrize("argv", [("list", "--tm", "none.db"), ("list", "--tm", "bad"), ("import", "bad")])
def test_errors_of_memories_have_a_next_step(llm, data, argv):
    """Two lines: what happened, and the next step."""
    write("bad", "no memory " * 200)
    assert llm("tm", *argv).err.count("\n") == 2


def test_eval(llm, data):
    """BLEU and chrF with sacrebleu's signatures instead of the translation."""
    pytest.importorskip("sacrebleu")
    name, reference = write("a.txt", ENGLISH), write("r.txt", greek(ENGLISH))
    run = llm("translate", "--to", "el", "--eval", reference, name, answer=well)
    assert run.code == 0 and run.out.startswith("BLEU 100.00  nrefs:1|") and "\nchrF 100.00  nrefs:1|" in run.out
    both = llm("translate", "--to", "el", "--eval", reference, name, "-o", "b.txt", answer=well)
    assert both.out == run.out and Path("b.txt").read_text() == greek(ENGLISH)
    scores = json.loads(llm("translate", "--to", "el", "--json", "--eval", reference, name, answer=well).out)
    assert scores["bleu"] == pytest.approx(100)
    assert llm("translate", "--to", "el", "--eval", write("s.txt", "one\n"), name, answer=well).code == 2


def test_eval_without_its_library(llm, data, monkeypatch):
    """The error names the extra."""
    monkeypatch.setattr("llmcli.tasks.translate.quality.find_spec", lambda _: None)
    run = llm("translate", "--to", "fr", "--eval", write("r.txt", "x\n"), write("a.txt", "x\n"))
    assert (run.code, "llmcli[eval]" in run.err, run.backend) == (69, True, None)


def test_tm_round_trip(llm, data):
    """One memory imports what another exports; human translations override a model's."""
    name = write("a.txt", ENGLISH)
    llm("translate", "--to", "el", name, answer=well)
    assert llm("tm", "list", "--json").out.strip() == '{"from": "en", "to": "el", "translations": 2, "people": 0}'
    assert llm("tm", "export", "-o", "m.tmx").code == 0
    assert llm("tm", "export").out == Path("m.tmx").read_text()
    Path("m.tmx").write_text(Path("m.tmx").read_text().replace(greek("the house stands"), "La maison se trouve"))
    assert llm("tm", "import", "--tm", "other.sqlite", "m.tmx").code == 0
    run = llm("translate", "--to", "el", "--tm", "other.sqlite", name)
    assert (run.code, run.backend, run.out.startswith("La maison se trouve")) == (0, None, True)
    assert llm("tm", "export", "--tm", "other.sqlite", "-o", "other.sqlite").code == 2
    rows = [json.loads(line) for line in llm("tm", "export", "--json").out.splitlines()]
    assert [(row["from"], row["to"]) for row in rows] == [("en", "el")] * 2
    assert all(row["translation"] == greek(row["source"]) and row["model"] for row in rows)
    assert llm("tm", "import", "m.tmx", "-o", "x").code == 2
    odd = llm("tm", "import", write("odd.tmx", TMX.replace('"fr"', '"qqq!"').format("a", "b")))
    assert (odd.code, "1 translations were skipped: qqq! is not a language code" in odd.err) == (0, True)
    removed = llm("tm", "rm", "--all", "--yes", "--json")
    assert removed.code == 0 and json.loads(removed.out)["removed"][0]["translations"] > 0
    assert llm("tm", "list").out == ""


def test_tm_lists_without_a_command(llm, data):
    """As the other groups do."""
    assert llm("tm", "import", write("m.tmx", TMX.format("a", "b"))).code == 0
    assert llm("tm").out == llm("tm", "list").out == "en\tfr\t1\t1\n"
    assert llm("tm", "--tm", "none.sqlite").code == 66


def test_tm_rm_removes_a_pair_of_languages(llm, data):
    """By codes or names, after asking; the translations into other languages stay."""
    name = write("a.txt", "The house.\n")
    for language in ("el", "fr"):
        llm("translate", "--from", "en", "--to", language, name, answer=well)
    asked = llm("tm", "rm", "English", "fr")
    assert asked.code == 2 and "llm tm rm --yes English fr" in asked.err
    removed = json.loads(llm("tm", "rm", "English", "fr", "--yes", "--json").out)["removed"]
    assert removed == [{"from": "en", "to": "fr", "translations": 1, "people": 0}]
    assert llm("tm", "list").out == "en\tel\t1\t0\n"
    gone = llm("tm", "rm", "en", "fr", "--yes")
    assert (gone.code, gone.err.splitlines()) == (
        66,
        ["llm: there are no translations from en to fr", "Try: llm tm list"],
    )


def test_tm_rm_forgets_what_was_written_in_the_language(llm, data):
    """The records have texts, too; outputs in other languages can still be updated."""
    name = write("a.txt", "The house.\n")
    for language in ("el", "fr"):
        assert llm("translate", "--from", "en", "--to", language, name, "-o", f"{language}.txt", answer=well).code == 0
    assert llm("tm", "rm", "en", "fr", "--yes").code == 0
    Path(name).write_text("The house.\n\nThe garden.\n")
    codes = [
        llm("translate", "--from", "en", "--to", language, name, "--update", f"{language}.txt", answer=well).code
        for language in ("el", "fr")
    ]
    assert codes == [0, 73]


@pytest.mark.parametrize("word", ["(unknown)", "unknown"])
def test_tm_rm_takes_the_language_that_is_not_known_as_it_is_listed(llm, data, word):
    """A text too short to tell its language has none; a shell reads parentheses unless they are quoted."""
    with TranslationMemory(Path("tm.sqlite"), private=False) as memory:
        memory.add_units([TranslationUnit("", "el", "abc", "def"), TranslationUnit("en", "el", "abc", "def")])
    assert llm("tm", "rm", word, "el", "--yes", "--tm", "tm.sqlite").code == 0
    assert llm("tm", "list", "--tm", "tm.sqlite").out == "en\tel\t1\t1\n"


@pytest.mark.parametrize("words", [(), ("en",), ("--all", "en", "fr"), ("--all", "en")])
def test_tm_rm_takes_a_pair_or_all(llm, data, words):
    """A command line without either must not remove anything."""
    assert llm("tm", "import", write("m.tmx", TMX.format("a", "b"))).code == 0
    run = llm("tm", "rm", "--yes", *words)
    assert run.code == 2 and "llm tm rm FROM TO, or: llm tm rm --all" in run.err
    assert llm("tm", "list").out


@pytest.mark.parametrize("argv", [("import", "bad.tmx"), ("list", "--tm", "bad.tmx"), ("export", "--tm", "bad.tmx")])
def test_tm_refuses_other_files(llm, data, argv):
    """A file of another kind is refused and does not change."""
    write("bad.tmx", "no XML, no database\n" * 100)
    run = llm("tm", *argv)
    assert (run.code, Path("bad.tmx").read_text()) == (65, "no XML, no database\n" * 100)
    assert llm("tm", "list", "--tm", "none.sqlite").code == 66
    assert llm("tm", "import", "none.tmx").code == 66
    assert llm("tm", "import", "bad.tmx", "--tm", "none.sqlite").code == 65
    assert llm("tm", "import", write("good.tmx", TMX.format("a", "b")), "bad.tmx").code == 65
    assert llm("tm", "list").out == ""
    assert llm("translate", "--to", "fr", "bad.tmx", "--tm", "none/none.sqlite").code == 73
    assert not Path("none.sqlite").exists()


def test_a_memory_that_cannot_be_used(llm, data):
    """An invalid translation memory is refused before a model is resolved."""
    run = llm("translate", "--to", "fr", "--tm", write("x", "text " * 400), write("a.txt", "hi\n"))
    assert (run.code, run.backend) == (65, None)


def test_an_empty_name_is_a_missing_input(llm):
    """As for the other commands."""
    run = llm("translate", "--pseudo", "accents", "")
    assert run.code == 66 and run.out == "" and run.err.startswith("llm: cannot read ''")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("Le vieil homme a 5 voitures.", "numbers are not in the source text: 5"),
        ("Le vieil homme a des voitures.", "numbers are missing: 3"),
        ("Le vieil homme a 3 voitures et 2 chats.", "numbers are not in the source text: 2"),
        ("Der alte Mann hat 3 Autos.", "the answer is not in French"),
        ("El viejo tiene 3 coches.", "the answer is not in French"),
        ("Il vecchio ha 3 macchine.", "the answer is not in French"),
        ("The old guy has 3 cars.", "the answer is not in French"),
        ("Le vieil homme\u202e a 3 voitures.", "bidirectional controls are not in the source text: U+202E"),
    ],
)
def test_a_wrong_number_language_or_direction_is_refused(llm, data, answer, problem):
    """The sentence keeps its text, and the exit code says so."""
    text = "The old man has 3 cars.\n"
    run = llm("translate", "--from", "en", "--to", "fr", write("a.txt", text), answer=lambda _: answer)
    assert (run.code, run.out) == (3, text)
    assert problem in run.err


@pytest.mark.parametrize("answer", ["Le vieil homme a 3 voitures.", "Le vieil homme a trois voitures."])
def test_a_number_may_become_a_word(llm, data, answer):
    """Numbers are compared by value."""
    run = llm("translate", "--to", "fr", write("a.txt", "The old man has 3 cars.\n"), answer=lambda _: answer)
    assert (run.code, run.out, run.err) == (0, f"{answer}\n", "")
