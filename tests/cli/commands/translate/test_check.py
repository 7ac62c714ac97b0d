"""``llm translate --check``: what is missing, stale, damaged or untranslated in translations that exist."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from document_texts import greek
from lying_translators import well

PAGE = "# Workshop\n\nWe open at `10:00` each day.\n\nBring a friend along.\n"
STRINGS = {"open": "We open at {time}.", "closed": "Closed today"}


@pytest.fixture
def check(llm, data):
    """Check, and return the exit code with (problem, file, line, text) of each finding; no model may be loaded."""

    def run(*argv, to="el"):
        done = llm("translate", "--check", "--json", "--to", to, *argv, env={"LLMCLI_MODEL": "none.gguf"})
        assert done.backend is None
        rows = [json.loads(line) for line in done.out.splitlines()]
        return done.code, [(row["problem"], row["file"], row["line"], row["text"]) for row in rows]

    return run


def write(name, text):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text, indent=1) + "\n", encoding="utf-8")
    return name


@pytest.fixture
def translated(llm, data):
    """Translate a page and message files into Greek, mirrored in docs-el."""
    write("docs/page.md", PAGE)
    write("docs/sub/strings.json", STRINGS)
    assert llm("translate", "--to", "el", "docs", "-o", "docs-el", answer=well).code == 0


def test_a_fresh_translation_has_no_defect(check, translated):
    """What llm has just written passes, with the memory and without it, and the exit code is 0."""
    assert check("docs", "-o", "docs-el") == (0, [])
    assert check("docs", "-o", "docs-el", "--no-tm") == (0, [])


def test_a_changed_source_is_stale(check, translated):
    """Of a page and of messages, those whose sources changed are stale, and new ones are missing."""
    write("docs/page.md", PAGE.replace("Bring a friend", "Bring two friends") + "\nOne more line.\n")
    write("docs/sub/strings.json", {**STRINGS, "closed": "Closed now", "new": "Something new"})
    assert check("docs", "-o", "docs-el") == (1, [
        ("stale", "docs-el/page.md", 5, "Bring two friends along."),
        ("missing", "docs/page.md", 7, "One more line."),
        ("stale", "docs-el/sub/strings.json", 3, "Closed now"),
        ("missing", "docs/sub/strings.json", 4, "Something new"),
    ])  # fmt: skip


def test_a_removed_source_is_stale(check, translated):
    """A translation whose source is gone is stale."""
    write("docs/page.md", PAGE.replace("We open at `10:00` each day.\n\n", ""))
    write("docs/sub/strings.json", {"open": STRINGS["open"]})
    assert check("docs", "-o", "docs-el") == (1, [
        ("stale", "docs-el/page.md", 3, "We open at `10:00` each day."),
        ("stale", "docs-el/sub/strings.json", 3, "Closed today"),
    ])  # fmt: skip


def test_only(check, translated):
    """--only chooses what is listed and counted."""
    write("docs/page.md", PAGE.replace("Bring a friend", "Bring two friends") + "\nOne more line.\n")
    assert check("docs", "-o", "docs-el", "--only", "stale")[1] == [
        ("stale", "docs-el/page.md", 5, "Bring two friends along.")
    ]
    assert check("docs", "-o", "docs-el", "--only", "damaged", "--only", "untranslated") == (0, [])


def test_without_a_record_structures_are_compared(check, data):
    """Where nothing is remembered, messages are compared by key, and other files by their segments."""
    write("a.json", STRINGS)
    write("a.el.json", {"open": greek("We open at ") + "{time}"})
    assert check("a.json", "-o", "a.el.json") == (1, [("missing", "a.json", 3, "Closed today")])
    write("a.md", PAGE)
    write("a.el.md", greek("# Workshop\n\nBring a friend along.\n"))
    assert check("a.md", "-o", "a.el.md") == (1, [("missing", "a.el.md", 1, "")])
    write("a.el.md", greek("# Workshop\n\nWe open at ") + "`10:00`.\n\n# " + greek("Bring\n"))
    assert check("a.md", "-o", "a.el.md") == (1, [("damaged", "a.el.md", 5, "Bring a friend along.")])


def test_the_root_of_messages_is_a_language_only_if_both_files_have_one(check, data):
    """Keys that are missing do not change those of the others."""
    write("en.yaml", "en:\n  a:\n    b: One thing\n")
    write("el.yaml", "el:\n  a:\n    b: " + greek("One thing") + "\n")
    assert check("en.yaml", "-o", "el.yaml") == (0, [])
    write("a.json", {"menu": {"save": "Save it"}, "page": {"title": "The page"}})
    write("b.json", {"menu": {"save": greek("Save it")}})
    assert check("a.json", "-o", "b.json") == (1, [("missing", "a.json", 6, "The page")])


def test_a_lost_placeholder_is_damage(check, translated):
    """So are lost code, repeated phrases and a file that is invalid, also after edits by people."""
    page = Path("docs-el/page.md")
    write(str(page), page.read_text(encoding="utf-8").replace("`10:00`", "10:00"))
    write("docs-el/sub/strings.json", '{\n "open": "X",\n "closed": "Y"\n')
    assert check("docs", "-o", "docs-el") == (1, [
        ("damaged", "docs-el/page.md", 3, "We open at `10:00` each day."),
        ("damaged", "docs-el/sub/strings.json", 4, ""),
    ])  # fmt: skip
    write("docs-el/sub/strings.json", {"open": greek("ab cd ") * 8 + "{time}", "closed": greek("Closed")})
    assert ("damaged", "docs-el/sub/strings.json", 2, "We open at {time}.") in check("docs", "-o", "docs-el")[1]


def test_source_text_is_untranslated(check, llm, translated):
    """The source text, or another one in its language, is no translation; a term that stays as it is may be one."""
    write("a.json", {"a": "Closed today", "b": "GitHub", "c": "Bring all of your friends with you tomorrow."})
    write("b.json", {"a": "Closed today", "b": "GitHub", "c": "Please bring your friends along with you then."})
    write("terms.csv", "GitHub\n")
    assert check("a.json", "-o", "b.json", "--from", "en", "--glossary", "terms.csv") == (1, [
        ("untranslated", "b.json", 2, "Closed today"),
        ("untranslated", "b.json", 4, "Bring all of your friends with you tomorrow."),
    ])  # fmt: skip
    assert check("a.json", "-o", "b.json", "--from", "en", to="en-GB") == (0, [])


def test_what_llm_left_or_kept_is_known(check, llm, data):
    """A segment that llm left untranslated is untranslated; a name that it translated as itself is not."""
    write("a.md", "GitHub\n\nBring all of your friends along.\n")
    answer = lambda request: "GitHub" if well(request) == greek("GitHub") else ""  # noqa: E731 (one line)
    assert llm("translate", "--to", "el", "a.md", "-o", "b.md", answer=answer).code == 3
    assert check("a.md", "-o", "b.md") == (1, [("untranslated", "b.md", 3, "Bring all of your friends along.")])


def test_a_file_that_does_not_exist(check, data):
    """A document without a translation is missing as a whole; languages have a directory each."""
    write("docs/a.md", PAGE)
    assert check("docs", "-o", "out", "--to", "fr") == (1, [("missing", "docs/a.md", 1, "")] * 2)


PO = """\
msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\\n"

msgid "Bicycle workshop"
msgstr ""

#, fuzzy
msgid "Bring a friend now."
msgstr "Bringt Freunde mit."

#, python-format
msgid "%d wheels"
msgstr "R\u00e4der"

msgid "Closed"
msgstr "Geschlossen"

msgid "IPv6 and URL"
msgstr "IPv6 and Url"

msgid "Bring your friends with you"
msgstr "Bring your friends with you"
"""


def test_a_catalogue_has_both_languages(check, data):
    """A PO file is checked without -o; fuzzy messages are stale, and short ones may be the same in both languages."""
    write("de.po", PO)
    assert check("de.po", to="de") == (1, [
        ("missing", "de.po", 5, "Bicycle workshop"),
        ("stale", "de.po", 9, "Bring a friend now."),
        ("damaged", "de.po", 13, "%d wheels"),
        ("untranslated", "de.po", 22, "Bring your friends with you"),
    ])  # fmt: skip
    write("new.pot", 'msgid "New"\nmsgstr ""\n\n#. A sign.\nmsgid "Closed"\nmsgstr ""\n')
    assert check("new.pot", "-o", "de.po", to="de") == (1, [("missing", "new.pot", 2, "New")])


def test_sarif_is_a_log(llm, translated):
    """--sarif prints a log whose results name rule, file and line, also without findings; one form of output at a time."""
    assert (
        json.loads(llm("translate", "--check", "--sarif", "--to", "el", "docs", "-o", "docs-el").out)["runs"][0][
            "results"
        ]
        == []
    )
    Path("docs-el/page.md").unlink()
    run = llm("translate", "--check", "--sarif", "--to", "el", "docs", "-o", "docs-el")
    (log,) = json.loads(run.out)["runs"]
    (found,) = log["results"]
    assert run.code == 1
    assert log["tool"]["driver"]["rules"][found["ruleIndex"]]["id"] == found["ruleId"] == "missing-translation"
    assert found["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "docs/page.md"},
        "region": {"startLine": 1},
    }
    assert llm("translate", "--check", "--sarif", "--json", "--to", "el", "docs", "-o", "docs-el").code == 2


def test_a_memory_is_enough_in_another_checkout(check, llm, data):
    """Where the files lie elsewhere, the translations in a memory that a team shares tell what is stale."""
    write("one/docs/page.md", PAGE)
    write("one/docs/strings.json", STRINGS)
    assert llm("translate", "--to", "el", "one/docs", "-o", "one/el", "--tm", "one/tm.sqlite", answer=well).code == 0
    Path("one").rename("two")
    argv = ("two/docs", "-o", "two/el", "--tm", "two/tm.sqlite")
    assert check(*argv) == (0, [])
    write("two/docs/page.md", PAGE.replace("Bring a friend", "Bring two friends") + "\nOne more line.\n")
    write("two/docs/strings.json", {**STRINGS, "closed": "Closed now"})
    assert check(*argv) == (1, [
        ("stale", "two/el/page.md", 5, "Bring two friends along."),
        ("missing", "two/docs/page.md", 7, "One more line."),
        ("stale", "two/el/strings.json", 3, "Closed now"),
    ])  # fmt: skip
    page = Path("two/el/page.md")
    write("two/docs/page.md", PAGE.replace("Bring a friend", "Bring two friends"))
    write(str(page), page.read_text(encoding="utf-8").replace(greek("Workshop"), greek("Shop")))  # unknown to it
    assert check(*argv)[1][0] == ("stale", "two/el/page.md", 5, "Bring two friends along.")


def test_a_translation_of_two_texts(check, llm, data):
    """A translation that two texts share is stale for neither of them."""
    write("one/a.md", "Opened.\n\nOpen.\n\nThe end.\n")
    same = lambda request: well(request).replace(greek("Opened"), greek("Open"))  # noqa: E731 (one line)
    assert llm("translate", "--to", "el", "one/a.md", "-o", "one/b.md", "--tm", "tm.sqlite", answer=same).code == 0
    Path("one").rename("two")
    assert check("two/a.md", "-o", "two/b.md", "--tm", "tm.sqlite") == (0, [])
    write("two/a.md", "First.\n\nOpened.\n\nOpen.\n\nThe end.\n")
    assert check("two/a.md", "-o", "two/b.md", "--tm", "tm.sqlite") == (1, [("missing", "two/b.md", 1, "")])


def test_a_structure_that_people_changed(check, translated):
    """The record tells what is stale in the source although the places of the translations are unknown."""
    page = Path("docs-el/page.md")
    write(str(page), page.read_text(encoding="utf-8") + "\n" + greek("A note.\n"))
    assert check("docs", "-o", "docs-el") == (1, [("stale", "docs-el/page.md", 1, "")])
    write("docs/page.md", PAGE.replace("Bring a friend", "Bring two friends"))
    assert check("docs", "-o", "docs-el") == (1, [("stale", "docs/page.md", 5, "Bring two friends along.")])


def test_the_table_and_the_count(llm, translated):
    """In a pipe the columns are separated by tabs, and the count stands on stderr; nothing is written."""
    Path("docs-el/page.md").unlink()
    run = llm("translate", "--check", "--to", "el", "docs", "-o", "docs-el")
    assert run.out == "missing\tdocs/page.md:1\t\tthere is no translation of its 3 segments\n"
    assert run.err == "llm: 2 translations: 1 missing\n"
    assert not Path("docs-el/page.md").exists()


def test_a_broken_source_does_not_hide_the_others(check, translated):
    """It is named, the others are checked, and the exit code says that some failed."""
    write("docs/sub/strings.json", "{")
    Path("docs-el/page.md").unlink()
    assert check("docs", "-o", "docs-el") == (3, [("missing", "docs/page.md", 1, "")])


@pytest.mark.parametrize(
    "argv",
    [
        ("--check", "--to", "el", "a.md"),
        ("--check", "a.md", "-o", "b.md"),
        ("--check", "--to", "el", "a.md", "-o", "b.md", "--pseudo", "accents"),
        ("--check", "--to", "el", "a.md", "-o", "b.md", "--dry-run"),
        ("--check", "--to", "el", "a.md", "-o", "b.md", "--update", "c.md"),
        ("--check", "--to", "el", "--format", "csv", "a.md"),
        ("--sarif", "--to", "el", "a.md", "-o", "b.md", "--qe", "surprisal"),
        ("--only", "stale", "--to", "el", "a.md", "--dry-run"),
    ],
)
def test_usage(llm, data, argv):
    """A translation must be named, and options that write or translate are refused."""
    write("a.md", "a\n")
    run = llm("translate", *argv)
    assert (run.code, run.backend, run.out) == (2, None, "")
