"""AsciiDoc."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcli.documents.formats.markup.asciidoc_format import FORMAT
from llmcli.documents.segments import join_segments

REAL = (Path(__file__).parents[2] / "real" / "manual.adoc").read_text(encoding="utf-8")


def texts(text):
    return [segment.text for segment in FORMAT.split(text, "de")]


def put(text, *translations):
    segments = FORMAT.split(text, "de")
    return join_segments(text, segments, [*translations, *[None] * (len(segments) - len(translations))])


def test_the_texts_of_a_manual():
    """Titles, paragraphs, items, terms, cells, captions and alternative texts; no code, attributes or authors."""
    paragraph = (
        "Install the <strong>package manager</strong> with `pip install x` first, then read <<first-steps,the first steps</a>"
        " or https://example.org/a_b[the site</a>^, for version {version} and <em>more</em>. It takes C++ and 5 MB."
        "footnote:[Or so link:x[they say</a>.</a>"
    )
    assert [(s.kind, s.text) for s in FORMAT.split(REAL, "de")] == [
        ("heading", "User manual"),
        ("attribute", "All about the tool"),
        ("paragraph", paragraph),
        ("heading", "Installing the tool"),
        ("attribute", "A list of things"),
        ("item", "First item goes on"),
        ("item", "Second item with `x = 1`"),
        ("paragraph", "An attached paragraph."),
        ("item", "Step one"),
        ("item", "Step two"),
        ("item", "Term"),
        ("item", "Its definition."),
        ("item", "Another term"),
        ("paragraph", "The definition is indented here."),
        ("paragraph", "This is important for everyone."),
        ("attribute", "Take care"),
        ("paragraph", "Do not <strong>panic</strong>."),
        ("heading", "First steps"),
        ("attribute", "A cat, asleep"),
        ("paragraph", "A quotation here. +\nWith two lines."),
        ("attribute", "Values"),
        ("cell", "Name"),
        ("cell", "Meaning"),
        ("cell", "Code"),
        ("cell", "Rain"),
        ("paragraph", "Falls from above."),
        ("item", "An item"),
        ("cell", "Wide cell"),
        ("paragraph", "One sentence a line.\nAnother sentence here."),
        ("item", "A callout text"),
        ("paragraph", "(((index, entry)))The last <term>term</term> of it."),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "----\nsome words\n----\n",
        "[source]\nsome words\n",
        "....\nsome words\n====\n....\n",
        "++++\n<b>words</b>\n++++\n",
        "////\nsome words\n////\n",
        "// some words\n",
        "[plantuml]\n--\nsome words\n--\n",
        " indented words\n more words\n",
        "```ruby\nsome words\n```\n",
        ":name: some words\n",
        "ifdef::a[some words]\n",
        "include::words.adoc[]\n",
        '[cols="1m,1l"]\n|===\n|some words |more words\n|===\n',
        "video::words.mp4[some=words]\n",
        "[quote, Some words]\n",
        "kbd:[Enter] `some words` +more words+ {words} <<words>> pass:[some words]\n",
    ],
)
def test_what_is_not_translated(text):
    """Code, passthroughs, comments, attributes and what the preprocessor reads."""
    assert texts(f"Begin here.\n\n{text}\nEnd here.\n") == ["Begin here.", "End here."]


def test_a_paragraph_is_interrupted_by_blocks_alone():
    """List markers and titles within an ordinary paragraph are its words; comments and conditions split it."""
    assert texts("One\n* two\n.three\n== four\n----\ncode\n----\n") == ["One * two .three == four"]
    assert texts("* One\n* two\n") == ["One", "two"]
    assert texts("One\n// note\ntwo words\nifdef::a[]\nthree\nendif::[]\n") == ["One", "two words", "three"]
    assert texts("[WARNING]\nCareful now.\n") == ["Careful now."]


def test_blocks_around_blocks():
    """The content of examples, sidebars, quotations and open blocks is read; an unclosed one ends with its parent."""
    assert texts("====\n****\nInner words\n----\ncode\n====\n\nOuter words\n") == ["Inner words", "Outer words"]
    assert texts("--\nOpen\n--\n____\nQuoted\n____\n") == ["Open", "Quoted"]
    assert texts("[verse]\n____\nOne line\nanother\n____\n") == ["One line", "another"]


@pytest.mark.parametrize(
    ("source", "translation", "written"),
    [
        ("Say *it* now", "Sag <strong>es</strong>jetzt", "Sag **es**jetzt"),
        ("Say `it` now", "Sag`it` jetzt", "Sag\u200b`it` jetzt"),
        ("a [.x]#b# c", "a[.x]#B</a>c", "a\u200b[.x]#B#\u200bc"),
        ("See https://a.b[it] now", "Siehe:https://a.b[das = es]</a> jetzt", "Siehe:https://a.b[das &#61; es&#93;] jetzt"),
        ("See https://a.b[it] now", "Siehhttps://a.b[das</a> jetzt", "Sieh&#8203;https://a.b[das] jetzt"),
        ("One", "*Eins* {a}", "&#42;Eins&#42; &#123;a&#125;"),
        ("One", "* Eins", "{empty}* Eins"),
        ("One", "[Eins]", "[Eins]{empty}"),
        ("One", ".Eins", "{empty}.Eins"),
        ("One", "// Eins", "{empty}// Eins"),
        ("One", "Eins:: zwei", "Eins:&#58; zwei"),
        ("One", "1 * 2 * 3 = 6, C++ &amp;", "1 &#42; 2 &#42; 3 = 6, C&#43;&#43; &#38;amp;"),
        ("== One", "Eins ==", "Eins =={empty}"),
        ('"`One`" x', "<q></q> y", '"`\u200b`" y'),
    ],
)  # fmt: skip
def test_words_never_become_markup(source, translation, written):
    """Signs are escaped only where they would be markup; marks that touch letters are doubled or set off."""
    assert put(source, translation) == ("== " if source.startswith("== ") else "") + written


@pytest.mark.parametrize(
    ("text", "translation", "written"),
    [
        ("A title\n-------\n", "Ein langer Titel", "Ein langer Titel\n----------------\n"),
        ("== A title ==\n", "Ein Titel", "== Ein Titel ==\n"),
        (".A caption\n----\n----\n", " .Ein Titel", ".{empty}.Ein Titel\n----\n----\n"),
        ("image::x.png[A cat,20]\n", 'Katze, "Mimi"', 'image::x.png["Katze, &#34;Mimi&#34;",20]\n'),
        ("|===\n|One|two\n|===\n", "a | b", "|===\n|a &#124; b{empty}|two\n|===\n"),
        ("|===\n|One|two\n|===\n", "Plan a", "|===\n|Plan a{empty}|two\n|===\n"),
        ("* [x] done it\n", "fertig", "* [x] fertig\n"),
        ("NOTE: Take care\n", "Vorsicht", "NOTE: Vorsicht\n"),
        ("one two three four five six seven eight +\nnine ten\n", "wort " * 9 + "+\nneun +\nzehn", "wort " * 7 + "wort\nwort +\nneun + zehn\n"),
    ],
)  # fmt: skip
def test_the_form_of_a_block_stays(text, translation, written):
    """Underlines are as long as their titles, and nothing ends a cell, an attribute or a line."""
    assert put(text, translation) == written


def test_a_title_keeps_its_identifier():
    """If the document refers to it, by the identifier that Asciidoctor makes, or by the title."""
    text = "See <<_first_steps>>.\n\n== First steps\n\n== Second steps\n"
    assert put(text, None, "Erste Schritte", "Zweite") == (
        "See <<_first_steps>>.\n\n[#_first_steps]\n== Erste Schritte\n\n== Zweite\n"
    )
    text = (
        ":idprefix:\n:idseparator: -\n\nxref:first-steps[Go] to <<More Steps>>\n\n== First *steps*\n\n== More Steps\n"
    )
    done = put(text, None, "Erste", "Mehr")
    assert "[#first-steps]\n== Erste\n" in done
    assert '[#more-steps,reftext="More Steps"]\n== Mehr\n' in done
    named = "<<_first_steps>>\n\n[[here]]\n== First steps\n"
    assert put(named, "Erste") == named.replace("First steps", "Erste")


def test_a_manual_page_keeps_its_names():
    """The title, and the name before the purpose, are read by programs."""
    text = "tool(1)\n=======\n\nNAME\n----\ntool - Does something\n\nSYNOPSIS\n--------\n[verse]\n'tool' <file>\n"
    assert texts(text) == ["NAME", "Does something", "SYNOPSIS", "'tool' <file>"]


def test_styles_of_cells():
    """Of the cell, else of its column; none count in the header, and wide and high cells move the next ones."""
    text = '[%header,cols="1,2*m"]\n|===\n|Aa |Bb |Cc\n\n.2+|Dd |code |code\n|code |code\n|Ee 2+s|Ff\n3*|Gg\n|===\n'
    assert texts(text) == ["Aa", "Bb", "Cc", "Dd", "Ee", "Ff"]


def test_lines_stay_where_they_count():
    """With hard breaks as an option, each line is a text of its own."""
    assert texts("[%hardbreaks]\nOne line\nanother\n") == ["One line", "another"]
    assert texts(":hardbreaks-option:\n\nOne line\nanother\n") == ["One line", "another"]
    assert texts("One line\nanother\n") == ["One line another"]


def test_sentences_have_lines_of_their_own():
    """If they have in the source; other paragraphs are wrapped as wide as they were."""
    assert put("One is here.\nTwo is there.\n", "Eins.\nZwei.\nDrei.") == "Eins.\nZwei.\nDrei.\n"
    assert put("* one two three four five six seven eight\n  nine ten\n", "wort " * 12) == (
        "* wort wort wort wort wort wort wort wort\n  wort wort wort wort\n"
    )


def test_two_languages():
    """Whole blocks follow each other, other texts stay on their lines: an indented line would be literal."""
    text = "== One\n\nTwo.\n\n* Three\n\nNOTE: Four\n\nFive\n----\n"
    segments = FORMAT.split(text, "de")
    assert [FORMAT.bilingual_separator(text, each) for each in segments] == [" / ", "\n\n", " / ", " / ", "\n\n"]


@pytest.mark.parametrize(
    ("table", "cells", "written"),
    [
        (',===\nName here,What it does\nA b,"Some ""x"", words\nhere"\n,===\n', ["Name here", "What it does", "A b", 'Some "x", words here'],
         ',===\nNAME HERE,WHAT IT DOES\nA B,"SOME ""X"", WORDS HERE"\n,===\n'),
        ("[format=csv]\n|===\nA b,c\n|===\n", ["A b", "c"], "[format=csv]\n|===\nA B,C\n|===\n"),
        (":===\nA b:C\\:d e\n\n12:.5\n:===\n", ["A b", "C:d e"], ":===\nA B:C\\:D E\n\n12:.5\n:===\n"),
        ("[%header,format=tsv]\r\n|===\r\nA b\tc d \r\n|===\r\n", ["A b", "c d"], "[%header,format=tsv]\r\n|===\r\nA B\tC D \r\n|===\r\n"),
        ('[format=csv,separator=;,cols="1,l"]\n|===\na, b;not this\ninclude::more.csv[]\n|===\n', ["a, b"],
         '[format=csv,separator=;,cols="1,l"]\n|===\nA, B;not this\ninclude::more.csv[]\n|===\n'),
        (',===\n"One two\n\nthree"\n,===\n', ["One two", "three"], ',===\n"ONE TWO\n\nTHREE"\n,===\n'),
    ],
)  # fmt: skip
def test_tables_of_csv_and_dsv(table, cells, written):
    """Their cells are translated, in the quotes and escapes that they have."""
    segments = FORMAT.split(table, "de")
    assert [segment.text for segment in segments] == cells
    assert FORMAT.join(table, segments, [None] * len(cells)) == table
    assert FORMAT.join(table, segments, [cell.upper() for cell in cells]) == written


def test_a_translated_cell_stays_one_cell():
    """It gets quotes, or escapes, if it has a separator that its source lacks."""
    for table, written in (
        (",===\na b,c d\n,===\n", ',===\n"x, ""y""",c d\n,===\n'),
        (":===\na b:c d\n:===\n", ':===\nx, "y":c d\n:===\n'),
    ):
        segments = FORMAT.split(table, "de")
        assert FORMAT.join(table, segments, ['x, "y"', None]) == written
        assert len(FORMAT.split(written, "de")) == 2
    segments = FORMAT.split(":===\na b:c d\n:===\n", "de")
    assert FORMAT.join(":===\na b:c d\n:===\n", segments, ["x: y", None]) == ":===\nx\\: y:c d\n:===\n"


def test_blocks_in_cells_of_csv_are_named():
    """A list between quotes stays, and that is said."""
    table = '[format=csv,cols="a"]\n|===\n"* one\n* two"\nSome words\n|===\n'
    assert [segment.text for segment in FORMAT.split(table, "de")] == ["Some words"]
    assert FORMAT.find_omissions(table) == [
        "cells of a table in CSV or DSV that hold lists or other blocks are not translated"
    ]
    assert FORMAT.find_omissions(table.replace("*", "")) == []
