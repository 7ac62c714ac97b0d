"""Documents for the tests of the readers, made by other libraries than the readers, or byte by byte."""

from __future__ import annotations

import io
import zipfile
from email.message import EmailMessage

CHAPTER = "<html xmlns='http://www.w3.org/1999/xhtml'><head><title>t</title></head><body>{}</body></html>"


def make_pdf(*pages, password=None, bookmarks=()):
    """Return a PDF with a page for each text; an empty text is a page with a drawing only."""
    from reportlab.lib.pdfencrypt import StandardEncryption
    from reportlab.pdfgen.canvas import Canvas

    stream = io.BytesIO()
    encrypt = StandardEncryption(password, ownerPassword="owner", strength=128) if password else None
    canvas = Canvas(stream, encrypt=encrypt)
    for number, text in enumerate(pages):
        for title in [title for title, page in bookmarks if page == number + 1]:
            canvas.bookmarkPage(title)
            canvas.addOutlineEntry(title, title, level=0)
        for row, line in enumerate(text.splitlines()):
            canvas.drawString(72, 720 - 20 * row, line)
        canvas.rect(100, 100, 50, 50)
        canvas.showPage()
    canvas.save()
    return stream.getvalue()


def make_docx(fill):
    """Return a Word document; ``fill`` gets python-docx's Document."""
    import docx

    document = docx.Document()
    fill(document)
    return _saved(document)


def make_report_docx():
    """Return a Word document with headings, a list and a table."""

    def fill(document):
        document.add_heading("Annual report", 0)
        document.add_heading("Costs", 1)
        document.add_paragraph("Costs rose by 12 percent.")
        document.add_paragraph("rent", style="List Bullet")
        table = document.add_table(rows=2, cols=2)
        for cell, text in zip(
            [*table.rows[0].cells, *table.rows[1].cells], ["Year", "Cost", "2025", "a|b"], strict=True
        ):
            cell.text = text
        document.add_heading("Outlook", 2)
        document.add_paragraph("Better.")

    return make_docx(fill)


def make_pptx():
    """Return a presentation with a title, a text, a table and notes."""
    import pptx
    from pptx.util import Inches

    presentation = pptx.Presentation()
    first = presentation.slides.add_slide(presentation.slide_layouts[1])
    first.shapes.title.text = "Plan"
    first.placeholders[1].text = "Step one\nStep two"
    first.notes_slide.notes_text_frame.text = "Say hello"
    second = presentation.slides.add_slide(presentation.slide_layouts[5])
    second.shapes.title.text = "Numbers"
    table = second.shapes.add_table(2, 2, Inches(1), Inches(2), Inches(4), Inches(1)).table
    for row, column, text in ((0, 0, "Quarter"), (0, 1, "Sales"), (1, 0, "Q1"), (1, 1, "77")):
        table.cell(row, column).text = text
    return _saved(presentation)


def make_xlsx(**sheets):
    """Return a workbook with a sheet of rows for each name."""
    import openpyxl

    workbook = openpyxl.Workbook(write_only=True)
    for name, rows in sheets.items():
        sheet = workbook.create_sheet(name)
        for row in rows:
            sheet.append(row)
    return _saved(workbook)


def make_epub(*chapters, encrypted=()):
    """Return an EPUB; its chapters are bodies of XHTML, in the order of the spine, which is not that of the manifest."""
    manifest = "".join(
        f'<item id="c{number}" href="text/c%20{number}.xhtml" media-type="application/xhtml+xml"/>'
        for number in reversed(range(len(chapters)))
    )
    spine = "".join(f'<itemref idref="c{number}"/>' for number in range(len(chapters)))
    files = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>',
        "OEBPS/book.opf": '<package xmlns="http://www.idpf.org/2007/opf"><metadata '
        'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>The Sea</dc:title></metadata><manifest>'
        f'<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>{manifest}'
        f'</manifest><spine><itemref idref="nav"/>{spine}</spine></package>',
        "OEBPS/nav.xhtml": CHAPTER.format("<nav>Contents</nav>"),
    }
    files |= {f"OEBPS/text/c {number}.xhtml": CHAPTER.format(body) for number, body in enumerate(chapters)}
    if encrypted:
        entries = "".join(f'<CipherData><CipherReference URI="{file}"/></CipherData>' for file in encrypted)
        files["META-INF/encryption.xml"] = f"<encryption>{entries}</encryption>"
    return make_zip(files)


def make_zip(files):
    """Return an archive of names and contents."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def make_email(*, text="Dear all,\nthe roof leaks.\n", html=None, attachments=()):
    """Return an email; ``attachments`` are (bytes, type, file name)."""
    message = EmailMessage()
    message["From"] = "Ann <ann@example.org>"
    message["To"] = "bob@example.org"
    message["Subject"] = "Roof – übermorgen"
    message["Message-ID"] = "<1@example.org>"
    message["Received"] = "from a by b; Thu, 1 Jan 2026 00:00:00 +0000"
    if text is not None:
        message.set_content(text)
    if html is not None and text is not None:
        message.add_alternative(html, subtype="html")
    elif html is not None:
        message.set_content(html, subtype="html")
    for data, kind, name in attachments:
        main, _, sub = kind.partition("/")
        message.add_attachment(data, maintype=main, subtype=sub, filename=name)
    return message.as_bytes()


def _saved(document):
    stream = io.BytesIO()
    document.save(stream)
    return stream.getvalue()
