"""Small files that make a reader take much memory or time, made byte by byte."""

from __future__ import annotations

import io
import zipfile
import zlib

_RELATIONS = '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{}</Relationships>'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/></Types>'
)
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def pdf_of_many_texts(count):
    """Return a PDF whose page shows ``count`` texts; its content is compressed to a hundredth."""
    return _pdf(zlib.compress(b"BT /F1 12 Tf 72 700 Td " + b"(hello world aaaaaaa) Tj " * count + b"ET", 9))


def pdf_of_blanks(megabytes):
    """Return a PDF whose page has a content of so many blanks, compressed to a thousandth."""
    compressor = zlib.compressobj(9)
    return _pdf(b"".join([*(compressor.compress(b" " * (1 << 20)) for _ in range(megabytes)), compressor.flush()]))


def _pdf(content):
    """Return a PDF of one page with a compressed content."""
    resources = b"/Resources<</Font<</F1 5 0 R>>>>"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R" + resources + b">>",
        b"<</Length %d/Filter/FlateDecode>>stream\n%b\nendstream" % (len(content), content),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    data, offsets = bytearray(b"%PDF-1.7\n"), []
    for number, each in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%b\nendobj\n" % (number, each)
    table = len(data)
    data += b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return bytes(data + b"trailer\n<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % table)


def docx_of_paragraphs(count):
    """Return a Word document of ``count`` paragraphs."""
    paragraphs = "<w:p><w:r><w:t>a</w:t></w:r></w:p>" * count
    return _package(
        "word/document.xml",
        {"word/document.xml": f'<w:document xmlns:w="{_WORD}"><w:body>{paragraphs}</w:body></w:document>'},
    )


def docx_of_runs(count):
    """Return a Word document with one paragraph of ``count`` runs, each second one in bold."""
    bold = "<w:r><w:rPr><w:b/></w:rPr><w:t>ab </w:t></w:r>"
    paragraph = f"<w:p>{(bold + '<w:r><w:t>cd </w:t></w:r>') * (count // 2)}</w:p>"
    return _package(
        "word/document.xml",
        {"word/document.xml": f'<w:document xmlns:w="{_WORD}"><w:body>{paragraph}</w:body></w:document>'},
    )


def xlsx_of_long_strings(rows, characters):
    """Return a workbook whose cells share one string, of which the reader makes a copy for each."""
    cells = "".join(f'<row r="{n}"><c r="A{n}" t="s"><v>0</v></c></row>' for n in range(1, rows + 1))
    sheets = '<sheets><sheet name="A" sheetId="1" r:id="rId1"/></sheets>'
    relations = (
        f'<Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/>'
        f'<Relationship Id="rId2" Type="{_OFFICE}/sharedStrings" Target="sharedStrings.xml"/>'
    )
    return _package(
        "xl/workbook.xml",
        {
            "xl/workbook.xml": f'<workbook xmlns="{_SHEET}" xmlns:r="{_OFFICE}">{sheets}</workbook>',
            "xl/_rels/workbook.xml.rels": _RELATIONS.format(relations),
            "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_SHEET}"><sheetData>{cells}</sheetData></worksheet>',
            "xl/sharedStrings.xml": f'<sst xmlns="{_SHEET}"><si><t>{"x" * characters}</t></si></sst>',
        },
    )


def _package(main, files):
    root = f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="{main}"/>'
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, text in {"[Content_Types].xml": _TYPES, "_rels/.rels": _RELATIONS.format(root), **files}.items():
            archive.writestr(name, text)
    return stream.getvalue()


def html_of_attributes(count):
    """Return a page whose paragraph has ``count`` attributes."""
    attributes = " ".join(f'a{number}="{number}"' for number in range(count))
    return f"<html><body><p {attributes}>The workshop opens on Monday.</p></body></html>".encode()


def mail_of_recipients(count):
    """Return a mail to ``count`` addresses."""
    addresses = ",\r\n ".join(f'"Doe, Jane {number}" <jane{number}@example.org>' for number in range(count))
    return f"From: a@example.org\r\nTo: {addresses}\r\nSubject: Hi\r\n\r\nThe workshop opens on Monday.\r\n".encode()


def mail_in_mails(depth):
    """Return a mail that is a mail (message/rfc822), which is one, and so on."""
    mail = "From: a@example.org\r\nSubject: Hi\r\n\r\nThe workshop opens on Monday.\r\n"
    for number in range(depth):
        head = f"From: b@example.org\r\nSubject: Level {number}\r\nContent-Type: message/rfc822\r\n\r\n"
        mail = head + mail
    return mail.encode()


def json_of_digits(digits, count):
    """Return a JSON list of ``count`` objects with a number of so many digits each."""
    item = '{"id": 1, "n": ' + "9" * digits + "}"
    return f"[{', '.join([item] * count)}]".encode()


def xliff_of_entities(levels):
    """Return XLIFF whose entities stand for ten of the one before, ``levels`` times: a kilobyte that means gigabytes."""
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, levels))
    unit = f'<trans-unit id="a"><source>&e{levels - 1};</source></trans-unit>'
    return f'<!DOCTYPE xliff [<!ENTITY e0 "words">{entities}]><xliff version="1.2"><file>{unit}</file></xliff>'.encode()


def xliff_of_units(count):
    """Return XLIFF 2 with so many units in one file."""
    unit = "<unit id='a'><segment><source>a</source></segment></unit>"
    return f"<xliff version='2.0'><file>{unit * count}</file></xliff>".encode()


def android_of_nested_tags(depth):
    """Return a string of Android with tags in tags."""
    return f"<resources><string name='a'>{'<b>' * depth}a{'</b>' * depth}</string></resources>".encode()


def catalog_of_nested_variations(depth):
    """Return a string catalog whose one text varies by so many things."""
    value = '{"variations":' * depth + '{"stringUnit":{"value":"a b"}}' + "}" * depth
    return f'{{"sourceLanguage":"en","strings":{{"a b":{{"localizations":{{"en":{value}}}}}}}}}'.encode()
