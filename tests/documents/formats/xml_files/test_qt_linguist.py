"""Qt Linguist's .ts."""

from __future__ import annotations

from pathlib import Path

from llmcli.documents.formats.xml_files.qt_linguist import FORMAT
from llmcli.documents.segments import join_segments

REAL = (Path(__file__).parents[2] / "real" / "app_de.ts").read_text(encoding="utf-8")


def test_the_messages_of_a_program():
    """With their context and comments; what is vanished is not translated, what is finished stays."""
    segments = FORMAT.split(REAL, "de")
    assert [(s.path, s.text, s.note, s.existing_translation) for s in segments] == [
        (("MainWindow",), '&Open %1 "now"...', "A button\n%1 is a file", None),
        (("MainWindow",), "%n file(s) found", "plural form for the numbers 1", None),
        (("MainWindow",), "%n file(s) found", "plural form for the numbers 0, 2, 3, 4, 5, ...", None),
        (("MainWindow",), "100% of it", "", "Alles"),
    ]
    assert [segments[0].text[s.start : s.end] for s in segments[0].protected] == ["&", "%1"]


def test_a_translation_is_finished():
    """Its type goes, and the file declares its language."""
    segments = FORMAT.split(REAL, "pt-BR")
    done = join_segments(REAL, segments, ["&Abrir %1 <x>", *[None] * (len(segments) - 1)])
    assert "<translation>&amp;Abrir %1 &lt;x&gt;</translation>" in done
    assert '<TS version="2.1" sourcelanguage="en" language="pt_BR">' in done
    other = FORMAT.split(REAL.replace("<TS ", '<TS language="de_AT" '), "fr")
    assert [s.existing_translation for s in other] == [None] * 4
    assert join_segments(REAL, segments, [None] * len(segments)) == REAL


def test_the_numerus_forms_of_the_language():
    """As many as Qt's rules say; a form that fails gets the source's text."""
    segments = FORMAT.split(REAL, "pl")
    done = join_segments(REAL, segments, [None, "%n a", None, "%n c", None])
    forms = ["%n a", "%n file(s) found", "%n c"]
    lines = "\n".join(f"            <numerusform>{form}</numerusform>" for form in forms)
    assert f"<translation>\n{lines}\n        </translation>" in done
    assert len(FORMAT.split(REAL, "hu")) == 3 and len(FORMAT.split(REAL, "ga")) == 5
    own = REAL.replace("<TS ", '<TS language="ga" ')
    assert len(FORMAT.split(own, "ga")) == 4  # a file in this language has as many as it needs


def test_finished_forms_keep_their_number():
    """Also where the file does not say its language: they are taken for a translation into the target."""
    one = "<translation><numerusform>%n Dateien</numerusform></translation>"
    start = REAL.index("<translation", REAL.index("%n file(s) found"))
    end = REAL.index("</translation>", start) + len("</translation>")
    segments = FORMAT.split(REAL[:start] + one + REAL[end:], "pl")
    assert [s.existing_translation for s in segments if s.text == "%n file(s) found"] == ["%n Dateien"]


def test_an_earlier_file_is_merged():
    """Finished translations of the same messages; the same messages leave the earlier file."""
    new = REAL.replace("&amp;Open", "&amp;Close").replace("<translation>Alles", '<translation type="unfinished">')
    assert FORMAT.merge_earlier(REAL, new) == new.replace(
        '<translation type="unfinished"></translation>\n    </message>\n</context>',
        "<translation>Alles</translation>\n    </message>\n</context>",
    )
    assert FORMAT.merge_earlier(REAL, REAL.replace("Alles", "")) == REAL
