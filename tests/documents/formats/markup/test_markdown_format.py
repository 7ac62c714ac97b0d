from __future__ import annotations

from pathlib import Path

import pytest
from row_table import all_rows

from llmcli.documents.formats.markup import markdown_format
from llmcli.documents.segments import join_segments

README = (Path(__file__).parents[2] / "real" / "readme.md").read_text(encoding="utf-8")


def texts(text):
    return [segment.text for segment in markdown_format.FORMAT.split(text, "de")]


def protected(text):
    (segment,) = markdown_format.FORMAT.split(text, "de")
    return [segment.text[span.start : span.end] for span in segment.protected]


def translated(text, translation):
    segments = markdown_format.FORMAT.split(text, "de")
    assert len(segments) == 1, segments
    return join_segments(text, segments, [translation])


def test_a_readme_with_everything():
    """The words of blocks are segments in the order of the document; code, math and comments are not."""
    assert texts(README) == [
        "Tidy: a tool",
        "Keeps `files` in order",
        '<img src="logo.svg" alt="The logo of Tidy"> <b>Order</b> for your files',
        "Tidy",
        (
            "[![Build status](https://ci.example/tidy.svg)](https://ci.example/tidy) Tidy keeps *your* files in order, "
            'with `tidy run` and nothing else. See the [manual](docs/manual.md "The whole manual"), [FAQ][FAQ] or '
            "[the list][issues]; write to <help@example.org>."
        ),
        "Installing",
        "Get it: `pip install tidy`",
        "Run it  \non a folder",
        "done",
        "to do, see [^note]",
        "**Note** Files larger than 2.5 GB take a while, since $t = n \\log n$ holds.",
        "Deeper, with a \\* star and an & sign.",
        "Option",
        "What it does",
        "Shows what would be done",
        "Says **more** | and more",
        "Setext heading of two lines",
        "Why?",
        "Because order matters & chaos does not.",
        "Text with {{ placeholder }} and %s, https://example.org/a_(b), and a line that goes on\\\nafter a hard break.",
        "A footnote with `code`, and more of it.",
        "Questions",
    ]


def test_kinds_and_headings_of_segments():
    """A segment has a kind and the headings above it."""
    segments = markdown_format.FORMAT.split(
        "# A\n\ntext\n\n## B\n\n- item\n\n| c |\n|---|\n| d |\n\n# E\n\nend\n", "de"
    )
    assert [(segment.kind, segment.path) for segment in segments] == [
        ("heading", ()), ("paragraph", ("A",)), ("heading", ("A",)), ("item", ("A", "B")),
        ("cell", ("A", "B")), ("cell", ("A", "B")), ("heading", ()), ("paragraph", ("E",)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("use `x y` now", ["`x y`"]),
        ("a [link](/u) b", ["[", "](/u)"]),
        ('a [link](</u v> "the title") b', ["[", '](</u v> "', '")']),
        ("![alt](i.png) words", ["![", "](i.png)"]),
        ("a [b] c", []),
        ("a [b][c]\n\n[c]: /u", ["[", "][c]"]),
        ("a [B]\n\n[b]: /u", ["[", "][B]"]),
        ("note[^1] here", ["[^1]"]),
        ("see <https://a.b/c> and https://d.e", ["<https://a.b/c>", "https://d.e"]),
        ("the <kbd>Ctrl</kbd> key", ["<kbd>Ctrl</kbd>"]),
        ("a <b>bold</b> <!-- c --> d", ["<b>", "</b>", "<!-- c -->"]),
        ("with $x_1$ and $$y$$ but $5 and $6", ["$x_1$", "$$y$$"]),
        ("a&nbsp;b &lt; c", ["&nbsp;"]),
        ("say :smile: at 12:30:45", [":smile:"]),
        (r"no \`code\` here", []),
        ("hi {name}, %(n)d", ["{name}", "%(n)d"]),
        ("see [[Page]], [[Page|words]] and ![[a.png]]", ["[[Page]]", "[[Page|words]]", "![[a.png]]"]),
        ("so [[1]](/u) and [[b]] are links\n\n[b]: /v", ["[", "](/u)", "[", "][b]"]),
        ("by @user, @org/team [@smith:2004, p. 3] me@host.org", ["@user", "@org/team", "@smith:2004", "me@host.org"]),
        ("a `b`{=html} c", ["`b`", "{=html}"]),
        ("see :abbr[it]{.x} [-@doe] and 2^10 ^id-1", [":abbr", "{.x}", "@doe", "^id-1"]),
        ("a <Tab items={[{b: 'c'}]} {...d}>e</Tab> f", ["<Tab items={[{b: 'c'}]} {...d}>", "</Tab>"]),
        ("{/* a note */} at {new Date().now()} {or (so)}", ["{/* a note */}", "{new Date().now()}"]),
        (
            "![a](/u){ width=80 } [b](/v){ .btn } {now or never}",
            ["![", "](/u)", "{ width=80 }", "[", "](/v)", "{ .btn }"],
        ),
        ('press ++ctrl+alt+"My key"++ or ++f5++ in c++', ['++ctrl+alt+"My key"++', "++f5++"]),
        ("see [words][pkg.Class], [pkg.f][] and a[i][j] c", ["[", "][pkg.Class]", "[pkg.f][]", "[", "][j]"]),
        (r"as \(x^2\) and \[ a = b \] but \(so\) \[it is\]", [r"\(x^2\)", r"\[ a = b \]"]),
        (r"as \begin{align*} a &= b \\ c \end{align*} is", [r"\begin{align*} a &= b \\ c \end{align*}"]),
    ],
)
def test_protected_spans(text, spans):
    """Code, addresses, link markup, tags, math and placeholders are protected, words are not."""
    expected = [span for span in spans if span not in {"$5", "$6"}]
    assert [span for span in protected(text) if span not in {"$5", "$6"}] == expected


@all_rows(
    "hostile",
    ["# x", "- x", "* x", "+ x", "1. x", "2) x", "> x", "```x", "~~~\nx", "<div>x", "***\nx", "x\n---", "x\n===", "x\n\ny",
     "    x", "[x]: /u", "[^1]: x", "x\n- y", "x\n# y", "a | b\n--|--\nc", "<!-- x", "$$\nx", "\tx", "x  \n\n\n", "x\\"],
)  # fmt: skip
@all_rows("frame", ["{}\n", "> {}\n> more words\n", "- {}\n  more words\n", "1. > {}\n", "{}\n===\n"])
def test_a_translation_stays_one_block(frame, hostile):
    """Anything that would begin another block is escaped or rewrapped, and the blocks around it do not change."""
    text = "before words\n\n" + frame.format("Some words") + "\nafter words\n"
    segments = markdown_format.FORMAT.split(text, "de")
    joined = join_segments(text, segments, [None, hostile, None])
    again = markdown_format.FORMAT.split(joined, "de")
    assert [s.kind for s in again] == [s.kind for s in segments]
    assert [again[0].text, again[2].text] == ["before words", "after words"]
    assert not any(s.protected for s in again)


def test_cells_keep_their_bars():
    """A bar in a translated cell is escaped, a line end becomes a blank."""
    text = "| a | b |\n|---|---|\n| `x|y` | z |\n".replace("x|y", "x\\|y")
    segments = markdown_format.FORMAT.split(text, "de")
    assert [s.text for s in segments] == ["a", "b", "z"]
    assert join_segments(text, segments, [None, "c|d\ne", "f\\"]) == "| a | c\\|d e |\n|---|---|\n| `x\\|y` | f\\  |\n"


def test_a_heading_keeps_its_marks():
    """Closing marks and an explicit identifier stay; a # at the end of the translation is escaped."""
    assert translated("## Words here ## \n", "Wort #") == "## Wort \\# ## \n"
    assert translated("## Words {#id}\n", "Wort") == "## Wort {#id}\n"


def test_wrapped_paragraphs_are_wrapped_again():
    """A paragraph of several lines is one line for the translator, and is wrapped to the same width with its quotes."""
    text = "> one two three four five six seven\n> eight nine ten eleven twelve thirteen\n"
    assert texts(text) == ["one two three four five six seven eight nine ten eleven twelve thirteen"]
    assert translated(text, "wort " * 12) == "> wort wort wort wort wort wort wort wort\n> wort wort wort wort\n"


@pytest.mark.parametrize("lead", ["", "> ", "  "])
def test_lines_of_badges_and_links_stay_lines(lead):
    """Lines that hold nothing but images and links are texts of their own; a link inside a sentence is part of it."""
    badges = ("[![The build](b.svg)](https://b.example)", "![All docs][docs] [![x](y)](z)", "[Our blog](blog.md) |")
    first = "- " if lead == "  " else lead
    source = first + f"\n{lead}".join(badges) + "\n"
    segments = markdown_format.FORMAT.split(source, "de")
    assert [segment.text for segment in segments] == [*badges]
    longer = segments[0].text.replace("The build", "Der Zustand des letzten Baus auf dem Server")
    written = join_segments(source, segments, [longer, *badges[1:]])
    assert written == source.replace("The build", "Der Zustand des letzten Baus auf dem Server")
    assert len(texts("See\n[the page](x)\nfor more.\n")) == 1


def test_a_line_for_each_sentence_stays_one():
    """If each line is a sentence, the translator sees the line ends, and they are kept."""
    text = "- One sentence.\n  Another one.\n"
    assert texts(text) == ["One sentence.\nAnother one."]
    assert translated(text, "Ein Satz.\nNoch einer.") == "- Ein Satz.\n  Noch einer.\n"
    assert texts(translated(text, "Ein Satz.\n<!-- Noch einer")) == ["Ein Satz.\n\u200b<!-- Noch einer"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("> [!NOTE]\n> Some words\n", ["Some words"]),
        ("> [!tip]- A title\n> Some words\n", ["A title", "Some words"]),
        (":::note Title\nSome words\n:::\n", ["Some words"]),
        (":::{note}\n:class: tip\nSome words\n:::\n", ["Some words"]),
        ("- item\n:::\n", ["item"]),
        ("Term\n: A definition\n  of two lines\n: Another\n", ["Term", "A definition of two lines", "Another"]),
        ('!!! note "A title"\n    Some words\n', ["A title", "Some words"]),
        ('=== "A tab"\n    Some words\n', ["A tab", "Some words"]),
        ("??? note\n    Some words\n", ["Some words"]),
        ("Some words\n{: .class}\n", ["Some words"]),
        ("{:toc}\n\n[TOC]\n\n[[_TOC_]]\n", []),
        ("import Tabs from '@theme/Tabs';\nimport \"./a.css\"\nexport const meta = {a: 1}\n\nWords.\n", ["Words."]),
        ('Import data from "Sheet"\n\nimport it from there\n', ['Import data from "Sheet"', "import it from there"]),
        ("{% note %}\nSome words\n{% endnote %}\n", ["Some words"]),
        ('Words.\n--8<-- "notes/a.md"\n\n--8<--\nnotes/b.md\nnotes/c.md\n--8<--\n', ["Words."]),
        ("+++\n\nWords.\n\n+++ {'a': 1}\n\n\\newpage\n\n\\vspace{1cm}\n", ["Words."]),
        ("::: pkg.Class\n    options:\n      show_root: true\n\nWords.\n", ["Words."]),
        ("/// note | A title\n    type: tip\n\nSome words\n///\n", ["A title", "Some words"]),
        ("/// html | div.result\nSome words\n///\n\n/// tip\nMore words\n///\n", ["Some words", "More words"]),
        ("*[GFM]: GitHub's Markdown\n*[W3C]: A consortium\n", ["GitHub's Markdown", "A consortium"]),
        ("<Tabs items={['One', 'Two']}>\nWords.\n</Tabs>\n", ["Words."]),
        ("export function Foo() {\n  return <p>Some</p>\n}\n\nimport {\n  a,\n} from 'b'\n\nWords.\n", ["Words."]),
        ("::youtube{#abc}\n\n::video[Some words]{#abc}\n", ["Some words"]),
        ("| A line\n|    and another\n", ["A line", "and another"]),
        ("+-----+-----+\n| a b | c d |\n+=====+=====+\n| one | two |\n+-----+-----+\n\nWords.\n", ["Words."]),
        ("Words.\n\n  Right   Left\n-------   -----\n     12   some\n", ["Words."]),
        ("::: mkdocs-click\n    :module: pkg.cli\n    :style: table\n", []),
        ("\\[\nx = word\n\\]\n\n\\begin{equation}\na = words\n\\end{equation}\nWords.\n", ["Words."]),
    ],
)
def test_lines_that_have_to_stand_alone(text, words):
    """Alerts, containers, definitions, attributes and tags stay on their own lines, and no translation becomes one."""
    segments = markdown_format.FORMAT.split(text, "de")
    assert [s.text for s in segments] == words
    expected = text
    for word in words:
        expected = expected.replace(word if word in text else "A definition\n  of two lines", word.upper())
    assert join_segments(text, segments, [word.upper() for word in words]) == expected
    again = markdown_format.FORMAT.split(join_segments(text, segments, [":::x" for _ in words]), "de")
    assert [s.text for s in again] == [":::x" for _ in words]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (
            '!!! note "A title"\n    - one\n    - two\n      lines\n\n    Words.\n',
            ["paragraph", "item", "item", "paragraph"],
        ),
        ("??? tip\n    ```sh\n    code\n    ```\n    # A title\n", ["heading"]),
        ('=== "A tab"\n\n    | a | b |\n    |---|---|\n    | c | d |\n\n        code\n', ["paragraph", *["cell"] * 4]),
        ('- item\n  !!! tip "A title"\n      > Words.\n', ["item", "item", "item"]),
        ("Words\n!!! note\n    More words.\n!!! note\nNo content.\n", ["paragraph", "paragraph", "paragraph"]),
    ],
)
def test_blocks_in_blocks_of_mkdocs(text, kinds):
    """What is indented below a block's title are blocks of their own: lists, code, tables, with or without an empty line."""
    segments = markdown_format.FORMAT.split(text, "de")
    assert [s.kind for s in segments] == kinds
    put = join_segments(text, segments, [s.text.upper() for s in segments])
    assert [s.kind for s in markdown_format.FORMAT.split(put, "de")] == kinds
    assert put.count("\n") == text.count("\n") - text.count("\n      lines")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (":::{note}\n:class: tip\n:name: foo\nSome words\n:::\n", ["Some words"]),
        (":::{admonition} A title\n---\nclass: tip\n---\nSome words\n:::\n", ["A title", "Some words"]),
        (":::{figure} a.png\n:alt: Some words\n:width: 200px\n\nA caption\n:::\n", ["Some words", "A caption"]),
        (":::{code-block} python\n:linenos:\n# a comment\ndef f(): pass\n:::\n", []),
        (":::{toctree}\n:caption: Parts\n\nintro\nA title <page>\n:::\n", []),
        ("::::{grid} 2\n:::{card} A title\n:link: foo\nSome words\n:::\n::::\n", ["A title", "Some words"]),
        ("- :::{tip}\n  :class: x\n  Some words\n  :::\n", ["Some words"]),
        ("> :::{math}\n> a = words\n> :::\n>\n> Words.\n", ["Words."]),
        (
            ":::{glossary}\na term\nother term\n  Some words\n  of it.\n:::\n",
            ["a term", "other term", "Some words of it."],
        ),
        (":::{topic} A title\nSome words\nand more\n:::\n", ["A title", "Some words and more"]),
        (":::{unclosed} x\nSome words\n", ["Some words"]),
    ],
)
def test_directives_of_myst(text, words):
    """Titles, terms and prose are translated, each in its place; options stay, and what is no prose."""
    assert texts(text) == words
    assert join_segments(text, markdown_format.FORMAT.split(text, "de"), [None] * len(texts(text))) == text


def test_attributes_in_a_line_are_protected():
    """Kramdown's attributes do not change."""
    assert protected("![alt](i.png){: .wide} and *x*{.red}") == ["![", "](i.png)", "{: .wide}", "{.red}"]


def test_hard_breaks_are_protected():
    """A hard break comes back as one."""
    assert translated("a line  \nand more\n", "Zeile  \nund mehr") == "Zeile  \nund mehr\n"
    assert translated("a line\\\nand more\n", "Zeile\\\nund mehr") == "Zeile\\\nund mehr\n"


def test_windows_line_ends():
    """Line ends inside a translation are those of the document."""
    assert translated("> One.\r\n> Two.\r\n", "Eins.\nZwei.") == "> Eins.\r\n> Zwei.\r\n"


def test_line_ends_of_classic_mac_os():
    """If lines end with CR alone, so do wrapped lines and those with hard breaks."""
    text = "one two  \rthree\r\r" + "many words in lines " * 5 + "\rthat are wrapped\r"
    done = join_segments(text, markdown_format.FORMAT.split(text, "de"), ["eins  \nzwei", "wort " * 30])
    assert done.startswith("eins  \rzwei\r\rwort")
    assert "\n" not in done


def test_a_shortcut_reference_keeps_its_label():
    """The text of a link that is also its label is translated: the label is written after it."""
    assert translated("see [Home page] now\n\n[home page]: /\n", "siehe [Startseite][Home page] jetzt") == (
        "see [Home page] now\n\n[home page]: /\n".replace("see [Home page] now", "siehe [Startseite][Home page] jetzt")
    )


def test_words_that_look_like_markup_are_escaped():
    """Only characters that would be markup are escaped."""
    assert translated("a word\n", "ein [wort] < zwei * drei") == "ein [wort] < zwei * drei\n"
    assert translated("a word\n", "ein [wort](x) `y` <b>") == "ein \\[wort\\](x) \\`y\\` \\<b>\n"


def test_titles_keep_their_quotes():
    """A quotation mark in a translated title is escaped."""
    assert translated('[a](u "b")\n', '[x](u "y"z")') == '[x](u "y\\"z")\n'


def test_titles_of_definitions():
    """The title of a link definition is translated if it ends a line."""
    text = "[a]: http://x 'It is \\'so\\'' \n[b]: <u>\n  (Two &amp; more)\n[c]: u\n[d]: u \"of\ntwo lines\"\n"
    segments = markdown_format.FORMAT.split("see [a]\n\n" + text, "de")[1:]
    assert [(s.text, s.kind) for s in segments] == [("It is 'so'", "attribute"), ("Two &amp; more", "attribute")]
    assert translated('[a]: u "b"\n', 'x "y"\nz)') == '[a]: u "x \\"y\\" z\\)"\n'


def test_front_matter():
    """Values that readers see are translated, keys and everything else are not; broken front matter is left alone."""
    text = "---\ntitle: A title\nslug: a-slug\nsummary: >\n  Some words\n---\nText\n"
    assert texts(text) == ["A title", "Some words", "Text"]
    segments = markdown_format.FORMAT.split(text, "de")
    assert join_segments(text, segments, ["yes: it's", None, None]).startswith('---\ntitle: "yes: it\'s"\nslug')
    assert texts("---\ntitle: [x\n---\nText\n") == ["Text"]
    assert texts('+++\ntitle = "A title"\n+++\nText\n') == ["Text"]
    assert markdown_format.FORMAT.check("---\ntitle: [x\n---\n").startswith("line ")


def test_html_blocks():
    """The words of an HTML block are translated, also next to Markdown; a translation adds no blank line."""
    text = "<details>\n<summary>Why <b>so</b></summary>\n\nText\n\n</details>\n"
    assert texts(text) == ["Why <b>so</b>", "Text"]
    assert "\n\n\n" not in join_segments(text, markdown_format.FORMAT.split(text, "de"), ["x\n\ny <b>z</b>", None])
    assert texts("<script>\nvar words;\n</script>\n") == []


def test_deep_nesting_is_parsed():
    """A thousand nested quotes are parsed, and the document does not change."""
    text = (">" * 1000 + " words\n") * 20
    segments = markdown_format.FORMAT.split(text, "de")
    assert join_segments(text, segments, [None] * len(segments)) == text


@pytest.mark.parametrize("source", ["Note: yes\n", "# Note: yes\n", "Note:\nyes and more\n", "- Note: yes\n"])
def test_no_break_spaces_stay(source):
    """French has one before a colon."""
    (segment,) = markdown_format.FORMAT.split(source, "fr")
    assert "Remarque\u00a0: oui" in join_segments(source, [segment], ["Remarque\u00a0: oui"])


@pytest.mark.parametrize(
    ("text", "separators"),
    [
        (":::{topic} A title\n:alt: Words\nProse.\n:::\n", [" / ", " / ", "\n\n"]),
        (":::{glossary}\na term\n  Its text.\n:::\n", [" / ", "\n\n  "]),
        ("/// note | A title\nProse.\n///\n\n*[W3C]: A word\n", [" / ", "\n\n", " / "]),
        ('!!! note "A title"\n    - Prose.\n      - More.\n', [" / ", "\n\n      ", "\n\n        "]),
    ],
)
def test_both_languages_in_dialects(text, separators):
    """A title, an option and a term have their translation on their line, prose has it below."""
    segments = markdown_format.FORMAT.split(text, "de")
    assert [markdown_format.FORMAT.bilingual_separator(text, segment) for segment in segments] == separators
