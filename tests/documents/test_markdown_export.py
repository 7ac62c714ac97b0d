"""Markdown as HTML and as Word."""

from __future__ import annotations

import io

import pytest

from llmcli.documents.markdown_export import to_docx, to_html

TEXT = """\
# A title

## One

Some **bold**, *slanted* and `code` words
on two lines, and a [link](https://example.org).

- first
- second
  - inner

> Quoted \x0b\x01 words.

```sh
ls -l
```

---

3. third
"""


@pytest.fixture
def paragraphs():
    """The paragraphs of the Word document: style and text."""
    docx = pytest.importorskip("docx")
    document = docx.Document(io.BytesIO(to_docx(TEXT, "A title")))
    assert document.core_properties.title == "A title"
    return document.paragraphs


def test_word_has_the_structure(paragraphs):
    """Headings, lists, quotes and code by their styles; characters that XML does not allow are left out."""
    assert [(each.style.name, each.text) for each in paragraphs] == [
        ("Title", "A title"),
        ("Heading 1", "One"),
        ("Normal", "Some bold, slanted and code words on two lines, and a link (https://example.org)."),
        ("List Bullet", "first"),
        ("List Bullet", "second"),
        ("List Bullet 2", "inner"),
        ("Quote", "Quoted  words."),
        ("Normal", "ls -l"),
        ("Normal", ""),
        ("List", "3. third"),
    ]


def test_word_has_the_emphasis(paragraphs):
    """Bold, italic and code are runs of their own."""
    found = {run.text: (run.bold, run.italic, run.font.name) for run in paragraphs[2].runs}
    assert found["bold"] == (True, None, None)
    assert found["slanted"] == (None, True, None)
    assert found["code"] == (None, None, "Courier New")


def test_html_is_a_page():
    """Its title and HTML in the text are escaped, and no address runs a script."""
    page = to_html(f"{TEXT}\n<b>raw</b> [x](javascript:alert(1))\n", 'A "title" <x>', "de")
    assert '<html lang="de">' in page and "<title>A &quot;title&quot; &lt;x&gt;</title>" in page
    assert "<h2>One</h2>" in page and "<strong>bold</strong>" in page and "<hr />" in page
    assert "&lt;b&gt;raw&lt;/b&gt;" in page and 'href="javascript' not in page
