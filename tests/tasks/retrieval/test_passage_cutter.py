"""Cutting documents into passages that know where they stand."""

import pytest
from source_files import make_pdf

from llmcli.documents.reading.document import Document
from llmcli.documents.reading.source_reader import read_source
from llmcli.tasks.retrieval.passage_cutter import cut_document

MARKDOWN = "# Lease\n\nOne.\n\nTwo.\n\n## Notice\n\n" + "A sentence of six words here. " * 40 + "\n\n\nLast.\n"


@pytest.mark.parametrize("name", ["a.md", "a.txt"])
@pytest.mark.parametrize(
    "text", [MARKDOWN, MARKDOWN.replace("\n", "\r\n"), "\n\n\n  x\ty  ", "word " * 999, "東京" * 700]
)
def test_offsets_and_lines_are_those_of_the_text(name, text):
    """Each passage stands at its offset and lines; together they hold all but blanks."""
    passages = cut_document(Document(name, text), 200)
    lines = text.splitlines()
    for each in passages:
        assert text[each.start :].startswith(each.text) and len(each.text) <= 200
        assert each.text.splitlines()[0] in lines[each.first_line - 1]
        assert each.text.splitlines()[-1] in lines[each.last_line - 1]
    assert "".join("".join(each.text.split()) for each in passages) == "".join(text.split())


def test_passages_do_not_cross_headings():
    """A section begins a passage, with its path of headings."""
    first, *rest = cut_document(Document("a.md", MARKDOWN), 400)
    assert first.text == "# Lease\n\nOne.\n\nTwo." and first.headings == ("Lease",)
    assert {each.headings for each in rest} == {("Lease", "Notice")}


def test_prose_is_cut_at_sentences():
    """A long paragraph whose lines are wrapped is not cut inside of a sentence, where one fits."""
    text = "\n".join(f"The sentence number {n} begins here and\nends in the middle of a line. It" for n in range(20))
    passages = cut_document(Document("a.txt", text), 150)
    assert all(each.text.endswith((".", "It")) for each in passages)


def test_passages_of_text_do_not_cross_underlined_headings():
    """As those of Markdown; a line above the heading belongs to it."""
    text = "=====\nLease\n=====\n\nOne.\n\nNotice\n------\nTwo.\n\nTerm\n~~~~\n\nThree.\n\nEnd\n---\n\nFour.\n"
    passages = cut_document(Document("a.rst", text), 400)
    assert [(each.text, each.headings) for each in passages] == [
        ("=====\nLease\n=====\n\nOne.", ("Lease",)),
        ("Notice\n------\nTwo.", ("Lease", "Notice")),
        ("Term\n~~~~\n\nThree.", ("Lease", "Notice", "Term")),
        ("End\n---\n\nFour.", ("Lease", "End")),
    ]
    assert all(text[each.start :].startswith(each.text) for each in passages)


@pytest.mark.parametrize(
    "text",
    [
        "a | b\n--- | ---\n1 | 2",
        "---\ntitle: x\nlang: en\n---\n",
        "```\nTitle\n=====\n```",
        "Two lines\nof prose\n---\n",
        "=====\n-----\n",
    ],
)
def test_other_lines_of_marks_underline_no_heading(text):
    """Those of tables, of metadata, in code and below a paragraph."""
    assert [each.headings for each in cut_document(Document("a.md", text))] == [()]


def test_pages_are_kept():
    """A passage of a PDF knows its page."""
    pytest.importorskip("pypdfium2")
    document = read_source(make_pdf("first page", "second page"), "a.pdf")
    passages = cut_document(document)
    assert [(each.page, each.text) for each in passages] == [(1, "first page"), (2, "second page")]
    assert all(document.text[each.start :].startswith(each.text) for each in passages)


def test_blank_documents_have_no_passages():
    """Nothing is found in them."""
    assert cut_document(Document("a", " \n\n ")) == []
