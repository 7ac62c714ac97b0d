"""Office documents and books written by hand, for the tests of the formats of archives."""

from __future__ import annotations

import io
import re
import struct
import zipfile

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_OFFICE = "application/vnd.openxmlformats-officedocument."


def make_archive(files, comment=b"made by hand"):
    """Return an archive whose files have dates, attributes and extra fields; a name with "=" at its end is stored."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = comment
        for number, (name, content) in enumerate(files.items()):
            entry = zipfile.ZipInfo(name.rstrip("="), (1999, 12, 31, 23, 59, 2 * number))
            entry.compress_type = zipfile.ZIP_STORED if name.endswith("=") else zipfile.ZIP_DEFLATED
            entry.external_attr = 0o600 << 16
            entry.extra = struct.pack("<2H4s", 0xCAFE, 4, b"keep")
            entry.comment = b"a comment"
            archive.writestr(entry, content)
    return stream.getvalue()


def content_types(parts):
    """Return [Content_Types].xml: the type of each part, without the prefix of Office's types."""
    rows = "".join(f'<Override PartName="/{name}" ContentType="{_OFFICE}{kind}+xml"/>' for name, kind in parts.items())
    return f'<?xml version="1.0" encoding="UTF-8"?><Types xmlns="{_TYPES}">{rows}</Types>'


def word_part(body, root="document"):
    """Return a file of a Word document."""
    return (
        f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\r\n<w:{root} xmlns:w="{WORD}" '
        'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" '
        'xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing" '
        f'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
        f'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math">{body}</w:{root}>'
    )


def run(text, properties=""):
    """Return a run of a Word document."""
    properties = f"<w:rPr>{properties}</w:rPr>" if properties else ""
    return f'<w:r>{properties}<w:t xml:space="preserve">{text}</w:t></w:r>'


DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"


def make_slides(*slides, **parts):
    """Return a presentation with the shapes of each slide; ``parts`` are other files of ppt/ by their names."""
    kinds = {f"ppt/slides/slide{number}.xml": "presentationml.slide" for number in range(1, len(slides) + 1)}
    space = f'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" xmlns:a="{DRAWING}" xmlns:r="r"'
    files = {
        "[Content_Types].xml": content_types({"ppt/presentation.xml": "presentationml.presentation.main", **kinds}),
        "ppt/presentation.xml": f"<p:presentation {space}/>",
        **{name: f"<p:sld {space}>{slide}</p:sld>" for name, slide in zip(kinds, slides, strict=True)},
        **{f"ppt/{name}.xml": text for name, text in parts.items()},
    }
    return make_archive(files)


def chart_part(*series, categories=(), title="", more=""):
    """Return a chart with copies of the cells that have the names of its series and categories."""
    space = f'xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart" xmlns:a="{DRAWING}"'

    def copies(words):
        points = "".join(f'<c:pt idx="{index}"><c:v>{word}</c:v></c:pt>' for index, word in enumerate(words))
        return f"<c:strRef><c:f>Sheet1!$A$1</c:f><c:strCache>{points}</c:strCache></c:strRef>"

    rows = "".join(
        f"<c:ser><c:tx>{copies([name])}</c:tx><c:cat>{copies(categories)}</c:cat><c:val><c:numRef><c:numCache>"
        '<c:formatCode>General</c:formatCode><c:pt idx="0"><c:v>1E5</c:v></c:pt></c:numCache></c:numRef></c:val></c:ser>'
        for name in series
    )
    heading = (
        f"<c:title><c:tx><c:rich><a:p><a:r><a:t>{title}</a:t></a:r></a:p></c:rich></c:tx></c:title>" if title else ""
    )
    return f"<c:chartSpace {space}><c:chart>{heading}<c:barChart>{rows}</c:barChart></c:chart>{more}</c:chartSpace>"


SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def make_workbook(strings, sheet="", **parts):
    """Return a workbook with shared strings and the content of its sheet; ``parts`` are other files of xl/ by their names."""
    kinds = {"workbook": "sheet.main", "sharedStrings": "sharedStrings", "worksheets/sheet1": "worksheet"}
    kinds |= {name: re.sub(r".*/|\d", "", name) for name in parts}
    files = {
        "[Content_Types].xml": content_types(
            {f"xl/{name}.xml": f"spreadsheetml.{kind}" for name, kind in kinds.items()}
        ),
        "xl/workbook.xml": f'<workbook xmlns="{SHEET}"><sheets><sheet name="Costs"/></sheets></workbook>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{SHEET}"><sheetData>{sheet}</sheetData></worksheet>',
        "xl/sharedStrings.xml": f'<sst xmlns="{SHEET}">{strings}</sst>',
        **{f"xl/{name}.xml": text for name, text in parts.items()},
    }
    return make_archive(files)


_ODF = {
    "text": "text",
    "office": "office",
    "draw": "drawing",
    "svg": "svg-compatible",
    "table": "table",
    "chart": "chart",
    "style": "style",
    "presentation": "presentation",
    "fo": "xsl-fo-compatible",
}


def odf_part(content, before="", root="document-content"):
    """Return a file of an OpenDocument; ``before`` stands before its body."""
    space = " ".join(
        f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for prefix, name in _ODF.items()
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<office:{root} {space} xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:loext="urn:org:documentfoundation:names:experimental:office:xmlns:loext:1.0">{before}<office:body>{content}</office:body></office:{root}>'
    )


def make_odf(content, kind="text", before="", **parts):
    """Return an OpenDocument; ``parts`` are its other files by their names."""
    files = {
        "mimetype=": f"application/vnd.oasis.opendocument.{kind}",
        "content.xml": odf_part(content, before),
        **{f"{name}.xml": text for name, text in parts.items()},
        "META-INF/manifest.xml": "<manifest/>",
    }
    return make_archive(files)


def make_ods(**sheets):
    """Return an OpenDocument spreadsheet with a sheet of texts and numbers for each name."""

    def cell(value):
        kind = "string" if isinstance(value, str) else f'float" office:value="{value}'
        return f'<table:table-cell office:value-type="{kind}"><text:p>{value}</text:p></table:table-cell>'

    empty = '<table:table-cell table:number-columns-repeated="16000"/>'
    tables = ""
    for name, rows in sheets.items():
        written = "".join(f"<table:table-row>{''.join(map(cell, row))}{empty}</table:table-row>" for row in rows)
        rest = f'<table:table-row table:number-rows-repeated="1000000">{empty}</table:table-row>'
        tables += f'<table:table table:name="{name}">{written}{rest}</table:table>'
    return make_odf(f"<office:spreadsheet>{tables}</office:spreadsheet>", "spreadsheet")


XHTML = '<?xml version="1.0" encoding="utf-8"?>\n<html xmlns="http://www.w3.org/1999/xhtml"{}><head><title/></head><body>{}</body></html>'


def make_book(*chapters, title="12", contents="", more="", more_files=(), root=""):
    """Return an EPUB with these chapters; ``contents`` is that of the table of contents, ``more`` stands in the metadata.

    ``more_files``: other files with their types and texts; ``root``: attributes of the pages.
    """
    others = dict(more_files)
    names = [f"c{number}.xhtml" for number in range(1, len(chapters) + 1)]
    items = "".join(f'<item id="{name}" href="{name}" media-type="application/xhtml+xml"/>' for name in names)
    items += "".join(f'<item id="{name}" href="{name}" media-type="{kind}"/>' for name, (kind, _) in others.items())
    order = "".join(f'<itemref idref="{name}"/>' for name in [*names, *others])
    files = {
        "mimetype=": "application/epub+zip",
        "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>',
        "OEBPS/book.opf": '<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<dc:title>{title}</dc:title>{more}</metadata><manifest>{items}"
        f'<item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/></manifest><spine toc="ncx">{order}</spine></package>',
        "OEBPS/toc.ncx": f'<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/">{contents}</ncx>',
        **{
            f"OEBPS/{name}": XHTML.format(f" {root}" if root else "", chapter)
            for name, chapter in zip(names, chapters, strict=True)
        },
        **{f"OEBPS/{name}": text for name, (_, text) in others.items()},
    }
    return make_archive(files)


def make_word(body, **parts):
    """Return a Word document; ``parts`` are other files of word/ by their names."""
    files = {
        "[Content_Types].xml": content_types(
            {
                "word/document.xml": "wordprocessingml.document.main",
                **{f"word/{name}.xml": f"wordprocessingml.{name.rstrip('0123456789')}" for name in parts},
            }
        ),
        "word/document.xml": word_part(f"<w:body>{body}</w:body>"),
        **{f"word/{name}.xml": text for name, text in parts.items()},
        "word/media/image1.png=": b"\x89PNG\r\n\x1a\n\0picture",
    }
    return make_archive(files)
