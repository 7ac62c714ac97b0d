from __future__ import annotations

from pathlib import Path

import polib
import pytest

from llmcli.documents.formats.message_files import po
from llmcli.documents.segments import join_segments
from llmcli.errors import BadDocument

APP = (Path(__file__).parents[2] / "real" / "app.po").read_text(encoding="utf-8")


def translate(text, target, change=lambda text: f"X {text}"):
    segments = po.FORMAT.split(text, target)
    return join_segments(text, segments, [change(s.text) if s.existing_translation is None else None for s in segments])


def entry(text, msgid):
    found = next(entry for entry in polib.pofile(text) if entry.msgid == msgid)
    return found.msgstr_plural or found.msgstr


def test_messages_have_their_comments():
    """A message is a segment with its comments, context and numbers, and with its translation if it has one."""
    segments = po.FORMAT.split(APP, "de")
    assert [(s.text, s.existing_translation) for s in segments] == [
        ("Notes", "Notizen"), ("Delete the file %s (%d%%)?", None), ("Open", None), ("%d note", None), ("%d notes", None),
        ("A long message that {tool} wraps over several lines, as gettext does with all of them.", None),
    ]  # fmt: skip
    assert [s.note for s in segments[:4]] == [
        "Title of the main window", "", "context: verb", "plural form for the numbers 1",
    ]  # fmt: skip
    assert [[s.text[p.start : p.end] for p in s.protected] for s in segments] == [
        [], ["%s", "%d", "%%"], [], ["%d"], ["%d"], ["{tool}"],
    ]  # fmt: skip


def test_a_translation_removes_the_fuzzy_flag():
    """Translated entries lose their fuzzy flag and previous strings and keep their line ends; obsolete ones stay."""
    done = translate(APP, "de")
    assert '#: src/main.c:20\n#, c-format\nmsgid "Delete' in done
    assert entry(done, "Delete the file %s (%d%%)?\n") == "X Delete the file %s (%d%%)?\n"
    assert done.endswith('#~ msgid "Gone"\n#~ msgstr "Weg"\n')
    assert po.FORMAT.check(done) == ""
    assert all(s.existing_translation is not None for s in po.FORMAT.split(done, "de"))


@pytest.mark.parametrize(("target", "count"), [("de", 2), ("ja", 1), ("pl", 3), ("ar", 6), ("pt-BR", 2), ("xx", 2)])
def test_plural_forms_are_those_of_the_target(target, count):
    """A language has as many forms as its rule says: missing ones are added, others removed; the header has it."""
    done = translate(APP, target)
    assert len(entry(done, "%d note")) == count
    header = polib.pofile(done).metadata
    assert header["Plural-Forms"].startswith(f"nplurals={count};")
    assert header["Language"] == target.replace("-", "_")
    assert header["Project-Id-Version"] == "app 1.0"
    assert po.FORMAT.check(done) == ""


def test_the_singular_is_for_the_number_one_alone():
    """A form for other numbers too is translated from the plural, which contains the number."""
    text = 'msgid "One file"\nmsgid_plural "%d files"\nmsgstr[0] ""\nmsgstr[1] ""\n'
    assert [s.text for s in po.FORMAT.split(text, "de")] == ["One file", "%d files"]
    assert [s.text for s in po.FORMAT.split(text, "ru")] == ["%d files"] * 3
    assert [s.text for s in po.FORMAT.split(text, "ja")] == ["%d files"]


def test_a_form_without_a_translation_shows_the_source():
    """If only some forms are translated, the others get the source's words, so that no number shows an empty text."""
    segments = [s for s in po.FORMAT.split(APP, "pl") if s.text.startswith("%d")]
    done = join_segments(APP, segments, ["X %d", None, None])
    assert entry(done, "%d note") == {0: "X %d", 1: "%d notes", 2: "%d notes"}
    assert po.FORMAT.check(done) == ""


def test_nothing_translated_changes_nothing():
    """Without a translation the header and flags do not change."""
    segments = po.FORMAT.split(APP, "pl")
    assert join_segments(APP, segments, [None] * len(segments)) == APP


def test_a_file_in_another_language_is_translated_again():
    """Translations into another language than the target's do not count."""
    text = APP.replace('"Language: \\n"', '"Language: fr\\n"')
    assert [s.existing_translation for s in po.FORMAT.split(text, "de")] == [None] * 6
    assert po.FORMAT.split(text, "fr-CA")[0].existing_translation == "Notizen"


def test_the_files_own_plural_rule_is_kept():
    """A file in the target language keeps its own plural rule."""
    rule = "nplurals=4; plural=(n==1 ? 0 : n%10>=2 ? 1 : n==0 ? 2 : 3);"
    text = APP.replace('"Language: \\n"', f'"Language: pl\\n"\n"Plural-Forms: {rule}\\n"')
    assert polib.pofile(translate(text, "pl")).metadata["Plural-Forms"] == rule
    assert len(entry(translate(text, "pl"), "%d note")) == 4


def test_a_template_gets_a_header():
    """A file without a header gets one; an unset charset becomes UTF-8."""
    done = translate('msgid "a b"\nmsgstr ""\n', "fr")
    assert polib.pofile(done).metadata["Content-Type"] == "text/plain; charset=UTF-8"
    done = translate(APP.replace("charset=UTF-8", "charset=CHARSET").replace('msgid ""', '#, fuzzy\nmsgid ""', 1), "fr")
    assert "CHARSET" not in done
    assert "fuzzy" not in done


def test_long_and_many_lined_translations_are_written_as_gettext_does():
    """Lines end where the text's do; if the source is wrapped, the translation is wrapped too."""
    text = 'msgid ""\n"one "\n"two\\n"\n"three"\nmsgstr ""\n'
    assert '\nmsgstr ""\n"a\\n"\n"b"\n' in translate(text, "de", lambda _: "a\nb")
    assert max(map(len, translate(text, "de", lambda _: "wort " * 40).split("\n")[9:])) <= 78


def test_literal_format_characters_are_doubled():
    """With c-format a literal percent sign of the translation is doubled, with python-brace-format a brace."""
    text = '#, c-format\nmsgid "all of %s"\nmsgstr ""\n\n#, python-brace-format\nmsgid "in {n}"\nmsgstr ""\n'
    segments = po.FORMAT.split(text, "de")
    done = join_segments(text, segments, ["100% von %s", "{in} {n}"])
    assert 'msgstr "100%% von %s"' in done
    assert 'msgstr "{{in}} {n}"' in done


@pytest.mark.parametrize(
    ("text", "line"),
    [('msgid "a"\n', 1), ('msgstr "a"\n', 1), ('msgid "a"\nmsgstr "b\n', 2), ("words\n", 1), ('"a"\n', 1),
     ('\nmsgid "a"\nmsgid_plural "b"\nmsgstr "c"\n', 2), ('msgid "a"\nmsgid "b"\nmsgstr ""\n', 2),
     ('msgid "a"\nmsgid_plural "b"\nmsgstr[1] "c"\n', 1)],
)  # fmt: skip
def test_broken_files_are_refused(text, line):
    """What gettext cannot read is refused with the line."""
    with pytest.raises(BadDocument) as refused:
        po.FORMAT.split(text, "de")
    assert refused.value.line == line
    assert po.FORMAT.check(text).startswith(f"line {line}: ")


@pytest.mark.parametrize(
    "text",
    ['msgid "a\\n"\nmsgstr "b"\n',
     'msgid ""\nmsgstr "Plural-Forms: nplurals=3; plural=n>2?2:n;\\n"\n\nmsgid "a"\nmsgid_plural "b"\nmsgstr[0] "c"\n'],
)  # fmt: skip
def test_what_msgfmt_refuses_is_reported(text):
    """Mismatched line ends and wrong numbers of plural forms are errors."""
    assert po.FORMAT.check(text)


@pytest.mark.parametrize(
    "rule",
    sorted(
        {
            po.plural_rule(code)
            for code in [
                "ja",
                "fr",
                "ru",
                "sr",
                "pl",
                "cs",
                "sk",
                "lt",
                "lv",
                "ro",
                "sl",
                "hsb",
                "ga",
                "gd",
                "cy",
                "mt",
                "ar",
                "is",
                "mk",
                "de",
            ]
        }
    ),
)
def test_rules_are_complete(rule):
    """Each rule of the table maps every number to one of its forms, and uses all of them."""
    forms = po.numbers_by_form(rule)
    assert forms is not None
    assert all(forms)
    assert sorted(number for numbers in forms for number in numbers) == list(range(201))


def test_rules_by_language():
    """A region has its own rule or that of its language."""
    assert po.plural_rule("pt") != po.plural_rule("pt-BR") == po.plural_rule("fr_CA")
    assert po.numbers_by_form("nplurals=2; plural=__import__('os');") is None
