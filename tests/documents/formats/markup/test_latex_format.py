"""LaTeX."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcli.documents.formats.markup.latex_format import FORMAT
from llmcli.documents.segments import join_segments
from llmcli.tasks.translate.masking import group_spans

REAL = (Path(__file__).parents[2] / "real" / "article.tex").read_text(encoding="utf-8")


def texts(text):
    return [segment.text for segment in FORMAT.split(text, "de")]


def put(text, *translations):
    segments = FORMAT.split(text, "de")
    return join_segments(text, segments, [*translations, *[None] * (len(segments) - len(translations))])


def test_the_texts_of_an_article():
    """The title, and in the body paragraphs, titles, items, captions and cells; a footnote is part of its sentence."""
    math = "\\begin{equation}\n  m = \\rho V, \\quad \\text{words stay}\n\\end{equation}"
    paragraph = (
        "Water rises from the sea\u00a0\\cite{sea}, as Section\u00a0\\ref{sec:rain} says, and \u201cfalls\u201d again, in 50% of cases;"
        " see \\href{https://example.org/a_b}{the site</a> or <bf>the map</bf>. % not yet It costs $5 & more, caf\u00e9 included."
        f"<footnote>Or so <textit>they</textit> say.</footnote> Its mass is {math} where $\\rho$ is the density of \\LaTeX{{}} clouds."
    )
    assert [(s.kind, s.text) for s in FORMAT.split(REAL, "de")] == [
        ("attribute", "A short <emph>history</emph> of rain<thanks>Paid by clouds.</thanks>"),
        ("paragraph", "We say how it rains, and why \u2014 in about 5\u00a0lines."),
        ("attribute", "Rain"),
        ("heading", "Where rain comes from"),
        ("paragraph", paragraph),
        ("item", "First item goes on"),
        ("item", "Label"),
        ("item", "Second item with \\verb|x_1|"),
        ("attribute", "Short"),
        ("attribute", "All values"),
        ("cell", "Name"),
        ("cell", "<textbf>Value</textbf>"),
        ("cell", "Rain today"),
        ("cell", "5 mm"),
        ("attribute", "Nothing else"),
        ("attribute", "A picture of rain"),
        ("attribute", "Of rain"),
        ("paragraph", "It rains \\\\ or it does not."),
        ("paragraph", "The end."),
    ]
    assert FORMAT.check(REAL) == ""


@pytest.mark.parametrize(
    "text",
    [
        "\\begin{lstlisting}\nsome words { % $\n\\end{lstlisting}",
        "\\begin{tikzpicture}\\node {some words};\\end{tikzpicture}",
        "\\begin{align*} \\text{some words} \\end{align*}",
        "\\[ \\text{some words} \\]",
        "$$ \\text{some words} $$",
        "% some words",
        "\\newcommand{\\x}[1]\n  {some words #1}",
        "\\def\\x#1{some words}",
        "\\newenvironment{x}{\\begin{y}some words}{\\end{y}}",
        "\\input{some words} \\label{some words} \\cite[some words]{x}",
        "{\\tt some words} \\texttt{some words} \\verb+some words+ \\lstinline{some words}",
        "\\begin{thebibliography}{9}\\bibitem{a} Some words\\end{thebibliography}",
        "\\includegraphics[alt={some words}]{words}",
        "\\unknown[some words]{more words}",
        "some words #1",
    ],
)
def test_what_is_not_translated(text):
    """Math, code, drawings, comments, references, definitions, and the words of unknown commands."""
    assert texts(f"Begin here.\n\n{text}\n\nEnd here.\n") == ["Begin here.", "End here."]


@pytest.mark.parametrize(
    ("definition", "use", "text"),
    [
        ("\\newcommand{\\note}[1]{\\textbf{#1}}", "A \\note{good} day", "A <note>good</note> day"),
        ("\\newcommand\\note[1]{\\emph{Oh: #1}\\index{#1}}", "A \\note{good} day", "A <note>good</note> day"),
        ("\\newcommand{\\note}[2][red]{\\textcolor{#1}{#2}}", "A \\note[blue]{good} day", "A <note>good</note> day"),
        ("\\newcommand{\\note}[3]{\\href{#2}{#1} (#3)}", "A \\note{good}{a.b}{fine} day", "A <note>good}{a.b}{fine</note> day"),
        ("\\newcommand{\\note}[2]{#1~\\ref{#2}}", "A \\note{good}{a:b} day", "A <note>good</note> day"),
        ("\\newcommand{\\note}[2]{\\ref{#1}~#2}", "A \\note{a:b}{good} day", "A <note>good</note> day"),
        ("\\def\\note#1{{\\bfseries #1}}", "A \\note{good} day", "A <note>good</note> day"),
        ("\\NewDocumentCommand{\\note}{s O{} m}{\\textit{#3}}", "A \\note{good} day", "A <note>good</note> day"),
        ("\\newcommand{\\note}[1]{\\other{#1}}\\newcommand{\\other}[1]{\\emph{#1}}", "A \\note{good} day", "A <note>good</note> day"),
        ("\\newcommand{\\note}[1]{\\texttt{#1}}", "A \\note{good} day", "A \\note{good} day"),
        ("\\newcommand{\\note}[1]{$#1$}", "A \\note{good} day", "A \\note{good} day"),
        ("\\newcommand{\\note}[1]{\\note{#1}}", "A \\note{good} day", "A \\note{good} day"),
        ("\\newcommand{\\note}[1]{#1\\label{#1}}", "A \\note{good} day", "A \\note{good} day"),
        ("% \\newcommand{\\note}[1]{#1}", "A \\note{good} day", "A \\note{good} day"),
    ],
)  # fmt: skip
def test_the_arguments_of_commands_that_a_document_defines(definition, use, text):
    """They are words of the sentence if the definition typesets them wherever they stand in it."""
    whole = f"{definition}\n\\begin{{document}}\n{use}\n\\end{{document}}\n"
    assert texts(whole) == [text]
    assert put(whole, text) == whole
    changed = text.replace("good", "fine & well") if "<note>" in text else text
    assert put(whole, changed + ".") == whole.replace(
        "{good}", "{fine \\& well}" if "<note>" in text else "{good}"
    ).replace(" day", " day.")


def test_a_translation_keeps_the_arguments_of_a_command_together():
    """What is between two texts of one command is one mark, between its tags."""
    (segment,) = FORMAT.split("A \\texorpdfstring{good}{fine} day with \\scalebox{2}{words}", "de")
    assert segment.text == "A <texorpdfstring>good}{fine</texorpdfstring> day with \\scalebox{2}{words</a>"
    texts_of = [segment.text[span.start : span.end] for span in segment.protected]
    assert texts_of == ["<texorpdfstring>", "}{", "</texorpdfstring>", "\\scalebox{2}{", "</a>"]
    assert group_spans(texts_of, [span.kind for span in segment.protected]) == [(1, 2, 3), (4, 5)]


def test_the_argument_of_an_environment_that_a_document_defines():
    """It is a text of its own, like the title of a block."""
    text = "\\newenvironment{box}[2]{\\color{#1}\\textbf{#2}}{}\n\\begin{document}\n\\begin{box}{red}{Do not}\nSome words.\n\\end{box}\n"
    assert texts(text) == ["Do not", "Some words."]


def test_theorems_that_a_document_declares():
    """Their captions are printed, and their options are titles."""
    text = "\\newtheorem{lem}[thm]{A lemma}\n\\newtheorem*{law}{Law}[section]\n\\begin{document}\n\\begin{lem}[Of rain]\nIt rains.\n\\end{lem}\n\\begin{law}It snows.\\end{law}\n"
    assert texts(text) == ["A lemma", "Law", "Of rain", "It rains.", "It snows."]
    assert put(text, "Ein Satz", "Gesetz").startswith(
        "\\newtheorem{lem}[thm]{Ein Satz}\n\\newtheorem*{law}{Gesetz}[section]\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "\\begin{lstlisting}[language=C, caption={A fine \\emph{list}}, label=x]\nsome words } {\n\\end{lstlisting}\nIt ends.",
        "\\begin{tcolorbox}[colback=red,title={A fine \\emph{list}}]{x}\nIt ends.\n\\end{tcolorbox}",
        "\\lstinputlisting[caption={A fine \\emph{list}}]{words.c}\n\nIt ends.",
    ],
)
def test_captions_in_options(text):
    """Of listings and boxes; what follows them is read as before."""
    segments = FORMAT.split(text, "de")
    assert [(segment.text.replace("<emph>", "\\emph{").replace("</emph>", "}"), segment.kind) for segment in segments] == [
        ("A fine \\emph{list}", "attribute"), ("It ends.", "paragraph"),
    ]  # fmt: skip
    assert "={Eine Liste}" in put(text, "Eine Liste")


def test_words_in_formulas_are_named():
    """A formula is one mark."""
    assert FORMAT.find_omissions("It is $x \\text{ if }y$ here.") == []
    assert FORMAT.find_omissions("It is \\[ x \\quad \\text{otherwise} \\] here.") == [
        "the words in formulas (\\text) are not translated"
    ]


def test_commands_whose_arguments_may_be_words_are_named():
    """Those that are not known to hold none; also definitions with words of their own."""
    text = (
        "\\newcommand{\\both}[1]{Figure #1\\label{#1}}\\newcommand{\\unused}{Some words}\\newcommand{\\R}{\\mathbb{R}}\\begin{document}\n"
        "\\important{some words} \\cite{knuth} \\gls{api} \\SI{5}{\\metre} \\mylabel{fig:rain} \\both{rain} \\R \\texttt{words} \\vspace{5mm}\n"
        "\\begin{panel}{A fine title} Text. \\end{panel} \\begin{minipage}{0.5\\textwidth} x \\end{minipage}\n\\end{document}\n\\behind{some words}"
    )
    assert FORMAT.find_omissions(text) == [
        "the words in arguments of these commands are not translated: \\important, \\both, {panel}",
        "the words in the definitions of these commands are not translated: \\both",
    ]
    assert FORMAT.find_omissions(REAL) == [
        "the words in the definitions of these commands are not translated: \\tool",
        "the words in formulas (\\text) are not translated",
    ]
    many = "".join(f"\\note{chr(97 + number)}{{some words}} " for number in range(12))
    assert FORMAT.find_omissions(many)[0].endswith("\\notej and 2 more")


def test_the_preamble():
    """Of it, the title alone is translated; what comes behind the document is no part of it."""
    text = "\\documentclass{a}\n\\title[Short]{Long one}\nwords\n\\author{words}\n\\begin{document}\nThe body.\n\\end{document}\nwords\n"
    assert texts(text) == ["Short", "Long one", "The body."]
    assert texts("\\section{A part}\nOf a larger document.\n") == ["A part", "Of a larger document."]


def test_environments_that_a_document_declares():
    """Those for code are known by their declarations."""
    declared = "\\lstnewenvironment{shell}{}{}\n\\newminted{py}{}\n\\begin{document}\n"
    assert texts(
        f"{declared}\\begin{{shell}}\nwords {{\n\\end{{shell}}\n\\begin{{pycode}}\nwords\n\\end{{pycode}}\nEnd here."
    ) == ["End here."]


def test_slides():
    """Frames, blocks and overlays of beamer."""
    text = (
        "\\begin{frame}<2>[fragile]{A title}\n\\only<1>{First words}\n\\begin{block}{Its title}\n\\begin{itemize}\n\\item<1-> One\n"
        "\\end{itemize}\n\\end{block}\n\\end{frame}\n\\frame{\\frametitle{Old title} Some words}\n"
    )
    assert texts(text) == ["A title", "\\only<1>{First words</a>", "Its title", "One", "Old title", "Some words"]


@pytest.mark.parametrize(
    ("source", "translation", "written"),
    [
        ("One", "50 % & #1 _x_ $y {z} ~ ^ \\", "50 \\% \\& \\#1 \\_x\\_ \\$y \\{z\\} \\textasciitilde{} \\textasciicircum{} \\textbackslash{}"),
        ("One", "a\u00a0b \u2013 c \u2014 \u201cd\u201d \u2018e\u2019 \u2026", "a~b -- c --- ``d'' `e' \\ldots{}"),
        ("One", '"a" <b> |', "''a'' \\textless{}b\\textgreater{} \\textbar{}"),
        ('A "b" <c>', '"d" <e>', '"d" <e>'),
        ("The \\LaTeX{} way", "\\LaTeX{}weg", "\\LaTeX{}weg"),
        ("The \\LaTeX-way", "\\LaTeX weg", "\\LaTeX{} weg"),
        ("The \\LaTeX-way", "Der \\LaTeXweg", "Der \\LaTeX{}weg"),
        ("The \\emph{good} way", "Der <emph>gute</emph>Weg", "Der \\emph{gute}Weg"),
        ("One \\\\ two", "[Eins] \\\\ [zwei]", "[Eins] \\\\{} [zwei]"),
        ("\\item One", "[Eins]", "\\item {}[Eins]"),
        ("\\item[One]", "[Eins]", "\\item[[Eins{]}]"),
        ("a \\'etude, na\\\"{\\i}ve, \\c{c}a, Stra\\ss e", "x", "x"),
    ],
)  # fmt: skip
def test_words_never_become_commands(source, translation, written):
    """Special characters are escaped, and a command ends where it ended."""
    assert put(source, translation) == written


def test_accents_are_read_as_letters():
    """A command for a letter is that letter."""
    (segment,) = FORMAT.split(
        "\\'Etude, na\\\"{\\i}ve, \\c{c}a, Stra\\ss e, \\v{s} \\aa{} 5\\,m S.\\ 3 a\\-b \\o", "de"
    )
    assert segment.text == "\u00c9tude, na\u00efve, \u00e7a, Stra\u00dfe, \u0161 \u00e5 5\u2009m S. 3 ab \u00f8"


def test_lines_are_as_long_as_those_of_the_source():
    """Displayed math has lines of its own, a comment ends its line, and the indent stays."""
    text = "  one two three four five six seven eight nine % note\n  ten is \\[ x \\] now\n"
    done = put(text, "wort " * 9 + "% note wort \\[ x \\] jetzt")
    assert done == "  " + "wort " * 9 + "% note\n  wort\n  \\[ x \\]\n  jetzt\n"
    assert put("one two\n", "wort " * 30) == ("wort " * 30).strip() + "\n"
    crlf = put("one two three four five six seven\r\neight nine\r\n", "wort " * 9)
    assert crlf == "wort wort wort wort wort wort wort wort\r\nwort\r\n"


def test_groups_over_several_paragraphs():
    """Their ends are left where they are."""
    text = "{\\small One is here.\n\nTwo is \\footnote{there.\n\nThree} too.}\n"
    assert texts(text) == ["One is here.", "Two is \\footnote{there.", "Three} too."]
    assert put(text, "Eins.") == text.replace("One is here.", "Eins.")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("One {two\n", "line 1: it has no end: {two"),
        ("One\n}\n", "line 2: it closes nothing: }"),
        ("\n\\begin{a} One", "line 2: it has no end: \\begin{a} One"),
        ("\\begin{a}\n\\end{b}", "line 2: it ends nothing: \\end{b}, but a is open"),
        ("{\\begin{a}} {\\end{b}}", ""),
        ("\\begin{verbatim} { \\end{verbatim} \\verb|}| \\} % }\n\\url{a%b}", ""),
        ("{ \\begin{document} One \\end{document} }", ""),
    ],
)
def test_the_check_finds_what_has_no_end(text, problem):
    """Groups and environments of the body, with their lines; code and comments have none."""
    assert FORMAT.check(text) == problem


def test_two_languages():
    """Paragraphs follow each other, other texts stay in their place."""
    paragraph, title = FORMAT.split("One.\n\n\\section{Two}", "de")
    assert [FORMAT.bilingual_separator("One.\n", each) for each in (paragraph, title)] == ["\n\n", " / "]
