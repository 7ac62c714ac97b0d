"""Books: chapters as HTML, the table of contents, and the title."""

from __future__ import annotations

import io
import zipfile

import pytest
from package_files import make_book
from source_files import make_epub

from llmcli.documents.formats.packages.epub import FORMAT
from llmcli.documents.reading.source_reader import read_source
from llmcli.errors import BadDocument

CONTENTS = "<docTitle><text>Book</text></docTitle><docAuthor><text>Jane Doe</text></docAuthor><navMap><navPoint><navLabel><text>One</text></navLabel></navPoint></navMap>"  # fmt: skip


def split(*chapters, **more):
    text = FORMAT.extract_text(make_book(*chapters, **more))
    return text, FORMAT.split(text, "de")


def test_chapters_contents_and_title_are_translated():
    """The author is not."""
    _, segments = split(
        "<h1>One</h1><p>Good <b>day</b></p>",
        "<p>Two</p>",
        title="Book",
        contents=CONTENTS,
        more="<dc:creator>Jane Doe</dc:creator><dc:description>About it</dc:description>",
    )
    assert [(segment.text, segment.kind, segment.part.removeprefix("OEBPS/")) for segment in segments] == [
        ("One", "heading", "c1.xhtml"), ("Good <b>day</b>", "paragraph", "c1.xhtml"), ("Two", "paragraph", "c2.xhtml"),
        ("Book", "item", "toc.ncx"), ("One", "item", "toc.ncx"), ("Book", "heading", "book.opf"), ("About it", "paragraph", "book.opf"),
    ]  # fmt: skip


def test_elements_in_one_tag_end_there():
    """In XHTML, an empty title or script does not hold the rest of the page, nor an empty anchor the next words."""
    page = (
        '<script src="x.js"/><p><a id="p1"/>Good <code/>day<a id="p2"/>, <a href="u">link</a>.</p><iframe/><p>More</p>'
    )
    text, segments = split(page)
    assert [segment.text for segment in segments] == ['Good <code/>day<a id="p2"/>, <a href="u">link</a>.', "More"]
    out = FORMAT.join(text, segments, ['<a href="u">Los</a> & <code/>gut<a id="p2"/>', "Mehr"])
    assert '<p><a id="p1"/><a href="u">Los</a> &amp; <code/>gut<a id="p2"/></p><iframe/><p>Mehr</p>' in out
    assert FORMAT.check(out) == ""


def test_a_chapter_may_be_html():
    """Such as older books have; it need not be well-formed XML."""
    page = "<title>12</title><p>One<br>two &nbsp; <b>three</b><p>Four"
    data = make_book("<p>Five</p>", more_files={"old.html": ("text/html", page)})
    text = FORMAT.extract_text(data)
    segments = FORMAT.split(text, "de")
    assert [(segment.text, segment.part.removeprefix("OEBPS/")) for segment in segments] == [
        ("Five", "c1.xhtml"), ("One<br>two &nbsp; <b>three</b>", "old.html"), ("Four", "old.html"),
    ]  # fmt: skip
    out = FORMAT.join(text, segments, [None, "Eins<br>zwei &nbsp; <b>drei</b>", "Vier"])
    assert "<title>12</title><p>Eins<br>zwei &nbsp; <b>drei</b><p>Vier" in out
    assert FORMAT.check(out) == ""


def test_the_type_of_a_book_stays_its_first_file():
    """Uncompressed, as reading systems need it; the reader of books reads the translation."""
    data = make_epub("<h1>One</h1><p>Words here</p>", "<p>Two</p>")
    text = FORMAT.extract_text(data)
    segments = FORMAT.split(text, "de")
    out = FORMAT.pack(data, FORMAT.join(text, segments, [segment.text.upper() for segment in segments]))
    with zipfile.ZipFile(io.BytesIO(out)) as archive:
        first = archive.infolist()[0]
        assert (first.filename, archive.read("mimetype")) == ("mimetype", b"application/epub+zip")
    found = [(passage.text, passage.headings) for passage in read_source(out, "a.epub").source.passages]
    assert found == [("# ONE\n\nWORDS HERE", ("THE SEA", "ONE")), ("TWO", ("THE SEA",))]


def test_a_protected_book_is_refused():
    """Fonts may be obfuscated, chapters not."""
    assert FORMAT.extract_text(make_epub("<p>One</p>", encrypted=["OEBPS/font.ttf"]))
    with pytest.raises(BadDocument, match="encrypted"):
        FORMAT.extract_text(make_epub("<p>One</p>", encrypted=["OEBPS/text/c%200.xhtml"]))
