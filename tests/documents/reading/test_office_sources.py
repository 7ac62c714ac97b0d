"""PDF, Word, presentations, workbooks, books and email, made by other libraries than the readers."""

from __future__ import annotations

import email
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from package_files import make_ods
from source_files import (
    make_docx,
    make_email,
    make_epub,
    make_pdf,
    make_pptx,
    make_report_docx,
    make_xlsx,
    make_zip,
)

from llmcli.documents.reading.passages import Section, number_passages
from llmcli.documents.reading.source_reader import read_source
from llmcli.documents.reading.sources import docx_source, table_source, zip_package
from llmcli.errors import BadDocument

DOCUMENT_TYPE = '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;">]>'


def passages(data, name):
    """Return (text, page, headings) of each passage."""
    return [(each.text, each.page, each.headings) for each in read_source(data, name).source.passages]


def problem(data, name):
    """Return the reason for which an input is refused."""
    with pytest.raises(BadDocument) as caught:
        read_source(data, name)
    return caught.value.detail


def changed(data, name, change):
    """Return an archive with one of its files changed."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        files = {each: archive.read(each) for each in archive.namelist()}
    files[name] = change(files[name])
    return make_zip(files)


def test_pdf_pages_keep_their_numbers_and_bookmarks():
    """A page is a passage; a page without text is named, not passed over in silence."""
    document = read_source(make_pdf("One\nline", "", "Three", bookmarks=[("Intro", 1), ("End", 3)]), "a.pdf")
    found = [(each.text, each.page, each.headings) for each in document.source.passages]
    assert found == [("One\nline", 1, ("Intro",)), ("Three", 3, ("End",))]
    assert document.source.notes == ("1 of 3 pages have no text (blank or scanned): 2",)
    assert document.text == "One\nline\n\nThree"


def test_unreadable_pdf_files_are_named_by_their_problem():
    """Encrypted, scanned, cut and broken."""
    assert "encrypted" in problem(make_pdf("secret", password="x"), "a.pdf")
    assert "no text" in problem(make_pdf("", ""), "a.pdf")
    assert "damaged" in problem(make_pdf("Hello")[:300], "a.pdf")
    assert "damaged" in problem(b"%PDF-1.7 nothing", "a.pdf")


def test_docx_keeps_headings_lists_and_tables():
    """In the order of the document."""
    assert passages(make_report_docx(), "r.docx") == [
        ("# Annual report", None, ("Annual report",)),
        ("# Costs\n\nCosts rose by 12 percent.\n\n- rent\n\n| Year | Cost |\n| 2025 | a\\|b |", None, ("Costs",)),
        ("## Outlook\n\nBetter.", None, ("Costs", "Outlook")),
    ]


def test_docx_leaves_out_pictures(tmp_path):
    """They are not unpacked, and nothing of them reaches the text."""
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cc\xf8\x0f\0\x01\x01\x01\0\x1b\xb6\xeeV\0\0\0\0IEND\xaeB`\x82"

    def fill(document):
        document.add_paragraph("Before")
        document.add_picture(BytesIO(png))
        document.add_paragraph("After")

    assert passages(make_docx(fill), "p.docx") == [("Before\n\nAfter", None, ())]


def test_pptx_keeps_slides_titles_tables_and_notes():
    """A slide is a passage, in the order of the presentation."""
    assert passages(make_pptx(), "p.pptx") == [
        ("# Plan\n\nStep one\nStep two\n\nNotes: Say hello", 1, ("Plan",)),
        ("# Numbers\n\n| Quarter | Sales |\n| Q1 | 77 |", 2, ("Numbers",)),
    ]


def test_small_sheets_are_read_whole():
    """Numbers stand as a person typed them; an empty sheet is nothing."""
    data = make_xlsx(Prices=[["item", "price"], ["tea", 3], [None, 2.5]], Empty=[], Last=[["x|y"]])
    assert passages(data, "x.xlsx") == [
        ("# Prices\n\n| item | price |\n| tea | 3 |\n|  | 2.5 |", 1, ("Prices",)),
        ("# Last\n\n| x\\|y |", 3, ("Last",)),
    ]


def test_sheets_of_an_open_document_are_read():
    """As those of Excel; the empty cells behind the last one, which office programs repeat, are none."""
    assert passages(make_ods(Prices=[["item", "price"], ["tea", 3]]), "x.ods") == [
        ("# Prices\n\n| item | price |\n| tea | 3 |", 1, ("Prices",))
    ]


def test_a_large_sheet_is_an_overview():
    """Columns, ranges and samples instead of a dump; a note says so."""
    document = read_source(make_xlsx(Log=[["id", "name"], *([i, f"n{i % 3}"] for i in range(4000))]), "x.xlsx")
    (passage,) = document.source.passages
    assert (
        "4,000 rows and 2 columns" in passage.text
        and "| id | number | 4,000 | 0 | over 1,000 | 0 to 3999 |" in passage.text
    )
    assert len(passage.text) < 4000 and passage.page == 1
    assert document.source.notes[0].startswith("sheet Log: a table with 4,000 rows and 2 columns is given")


def test_a_title_above_a_large_sheet_is_no_header():
    """It stands above the overview."""
    rows = [["Log of May"], [], ["id", "name"], *([i, f"n{i % 3}"] for i in range(4000))]
    (passage,) = read_source(make_xlsx(Log=rows), "x.xlsx").source.passages
    assert passage.text.startswith("# Log\nLog of May\nOverview of a table with 4,000 rows and 2 columns.")
    assert "| id | number | 4,000 |" in passage.text


def test_a_sheet_that_spans_a_huge_area_is_refused():
    """The reader would reserve memory for each cell of the area, though two cells have a value."""
    far = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    data = changed(make_xlsx(S=[[1]]), "xl/worksheets/sheet1.xml", lambda xml: xml.replace(b"</sheetData>", far))
    assert "1,048,576 rows and 16,384 columns" in problem(data, "x.xlsx")


def test_epub_follows_the_spine():
    """Chapters in reading order, below the title of the book; the table of contents is left out."""
    data = make_epub("<h1>One</h1><p>Caf&#233;</p>", "<p>Second</p>")
    assert passages(data, "b.epub") == [
        ("# One\n\nCaf\u00e9", None, ("The Sea", "One")),
        ("Second", None, ("The Sea",)),
    ]


def test_a_book_of_another_program_is_read():
    """``sea.epub`` was written by mkepub 1.2.2: chapters in their order, without the table of contents."""
    data = Path(__file__).with_name("sea.epub").read_bytes()
    assert passages(data, "sea.epub") == [
        ("# One\n\nThe ship left on 3 May.", None, ("The Sea", "One")),
        ("## Crew\n\nTen people.", None, ("The Sea", "Crew")),
        ("It came back \u00fcber Nacht.", None, ("The Sea",)),
    ]


def test_a_chapter_that_the_reading_order_repeats_is_read_once():
    """The standard forbids it; 100,000 references would make a book of some kilobytes a long one."""
    spine = '<itemref idref="c0"/>'
    data = make_epub("<p>Chapter</p>", "<p>Second</p>")
    with zipfile.ZipFile(BytesIO(data)) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    files["OEBPS/book.opf"] = (
        files["OEBPS/book.opf"].replace(spine, spine * 100_000).replace("</spine>", f"{spine}</spine>")
    )
    assert [text for text, _, _ in passages(make_zip(files), "b.epub")] == ["Chapter", "Second"]


def test_a_page_of_a_book_that_is_no_text_is_named():
    """Bytes that are neither UTF-8 nor what the page declares, and NUL bytes."""
    with zipfile.ZipFile(BytesIO(make_epub("<p>x</p>"))) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    page = "OEBPS/text/c 0.xhtml"
    assert f"{page} is neither UTF-8" in problem(make_zip(files | {page: b"<html><p>caf\xe9</p></html>"}), "b.epub")
    assert f"{page} is binary" in problem(make_zip(files | {page: b"<html>\0</html>"}), "b.epub")


def test_epub_with_copy_protection_is_refused():
    """Encrypted fonts alone are no obstacle."""
    assert "encrypted" in problem(make_epub("<p>x</p>", encrypted=["OEBPS/text/c 0.xhtml"]), "b.epub")
    assert passages(make_epub("<p>x</p>", encrypted=["OEBPS/font.otf"]), "b.epub")


def test_email_is_its_main_fields_its_text_and_its_attachments():
    """The plain text is preferred to HTML; fields that programs write are left out; other attachments are named."""
    attachments = [
        (make_pdf("in the PDF"), "application/pdf", "q.pdf"),
        (b"\x89PNG\r\n\x1a\n\0", "image/png", "i.png"),
        (b"%PDF-1.4 broken", "application/pdf", "broken.pdf"),
    ]
    document = read_source(make_email(html="<p>HTML</p>", attachments=attachments), "m.eml")
    fields, body, attached = document.source.passages
    assert fields.text == "From: Ann <ann@example.org>\nTo: bob@example.org\nSubject: Roof \u2013 \u00fcbermorgen"
    assert body.text == "Dear all,\nthe roof leaks." and body.headings == ("Roof \u2013 \u00fcbermorgen",)
    assert (attached.text, attached.source, attached.page) == ("Attachment q.pdf:\n\nin the PDF", "m.eml: q.pdf", 1)
    assert [note.partition(":")[0] for note in document.source.notes] == [
        "the attachment i.png was left out",
        "the attachment broken.pdf was left out",
    ]


def test_email_with_html_only():
    """Its markup does not reach the text."""
    document = read_source(make_email(text=None, html="<h1>News</h1><p>Only <b>HTML</b>.</p>"), "m.eml")
    assert document.text.endswith("# News\n\nOnly HTML.")


def test_an_email_in_an_email_is_read():
    """A forwarded message is an attachment."""
    outer = email.message.EmailMessage()
    outer["From"], outer["Subject"] = "a@example.org", "Fwd"
    outer.set_content("See below.")
    outer.add_attachment(email.message_from_bytes(make_email(), policy=email.policy.default))
    document = read_source(outer.as_bytes(), "m.eml")
    assert "See below." in document.text and "the roof leaks" in document.text
    assert document.source.passages[-1].headings == ("Fwd", "Roof \u2013 \u00fcbermorgen")


def test_archives_may_not_unpack_to_more_than_the_limit(monkeypatch, readers_in_process):
    """The sizes count that the archive declares, and no more is unpacked than that."""
    monkeypatch.setattr(zip_package, "MAX_UNPACKED_BYTES", 1 << 20)
    bomb = b"<a>" + b" " * (2 << 20) + b"</a>"
    assert "unpacks to more than 1 MiB" in problem(make_zip({"META-INF/container.xml": bomb}), "b.epub")
    assert "unpacks to more than 1 MiB" in problem(make_zip({"ppt/presentation.xml": bomb}), "b.pptx")
    monkeypatch.setattr(docx_source, "MAX_DOCX_XML_BYTES", 1 << 20)
    assert "larger than 1 MiB" in problem(make_zip({"word/document.xml": bomb}), "b.docx")
    monkeypatch.setattr(table_source, "MAX_SPREADSHEET_BYTES", 1 << 20)
    assert "more than 1 MiB" in problem(make_zip({"xl/workbook.xml": bomb}), "b.xlsx")


def test_an_archive_that_lies_about_its_sizes_is_damaged():
    """A file that unpacks to more than it declares fails its checksum."""
    data = bytearray(make_zip({"ppt/presentation.xml": b"<a>" + b" " * 5000 + b"</a>"}))
    at = data.rindex(b"PK\x01\x02") + 24
    data[at : at + 4] = (10).to_bytes(4, "little")
    assert "damaged" in problem(bytes(data), "b.pptx")


@pytest.mark.parametrize(
    ("name", "part"),
    [("b.docx", "word/document.xml"), ("b.pptx", "ppt/presentation.xml"), ("b.epub", "META-INF/container.xml")],
)
def test_hostile_xml_is_refused(name, part, monkeypatch, readers_in_process):
    """Entities that grow, nesting without end, and too many elements."""
    assert "entities" in problem(make_zip({part: f"{DOCUMENT_TYPE}<a>&y;</a>"}), name)
    assert "nested deeper" in problem(make_zip({part: "<a>" * 5000 + "</a>" * 5000}), name)
    assert "not well-formed" in problem(make_zip({part: "<a>"}), name)
    monkeypatch.setattr(zip_package, "MAX_XML_ELEMENTS", 10)
    assert "more than 10 elements" in problem(make_zip({part: f"<a>{'<b/>' * 20}</a>"}), name)


def test_the_text_of_a_document_is_bounded():
    """Whatever its format."""
    with pytest.raises(BadDocument, match="longer than 10 characters"):
        number_passages("x", [Section("abc"), Section("defghijk")], "pdf", max_chars=10)


@pytest.mark.slow
def test_an_email_may_have_many_recipients():
    """Long fields are decoded without being parsed, which would take time with the square of their length."""
    many = b",\r\n ".join(b"=?utf-8?q?J=C3=B6rg?= <j%d@example.org>" % number for number in range(40_000))
    data = b"From: a@b.c\r\nTo: " + many + b"\r\nSubject: Roof\r\nContent-Type: text/plain" + b";a=b" * 40_000
    text = read_source(data + b"\r\n\r\nIt leaks.\r\n", "m.eml").text
    assert text.count("Jörg") == 40_000 and text.endswith("<j39999@example.org>\nSubject: Roof\n\nIt leaks.")


def test_an_email_that_only_holds_another_one_is_read():
    """Its content type is message/rfc822; that of the inner email counts."""
    inner = b"From: d@e.f\nSubject: Inner\nMIME-Version: 1.0\n\nIt leaks.\n"
    outer = b"From: a@b.c\nSubject: Outer\nMIME-Version: 1.0\nContent-Type: message/rfc822\n\n"
    document = read_source(outer + inner, "m.eml")
    assert "It leaks." in document.text and document.source.passages[-1].headings == ("Outer", "Inner")
    deep = read_source(outer * 6 + inner, "m.eml")
    assert "too deep" in deep.source.notes[0]
