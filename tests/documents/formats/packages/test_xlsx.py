"""Workbooks: which texts are found, which stay since something knows them by their words, and how translations are written."""

from __future__ import annotations

import io

from package_files import SHEET, chart_part, make_workbook

from llmcli.documents.formats.packages.xlsx import FORMAT


def split(strings, sheet="", **parts):
    text = FORMAT.extract_text(make_workbook(strings, sheet, **parts))
    return text, FORMAT.split(text, "de")


def cell(text):
    return f"<si><t>{text}</t></si>"


def test_cells_with_words_are_translated():
    """Runs with formatting are marks, line ends stay, and phonetic guides go with their characters."""
    strings = (
        cell("12.5")
        + "<si><r><t>Good </t></r><r><rPr><b/></rPr><t>day</t></r></si>"
        + '<si><t xml:space="preserve"> Two\nlines &amp; more</t><rPh sb="0" eb="1"><t>ka na</t></rPh><phoneticPr fontId="1"/></si>'
    )
    text, segments = split(strings)
    assert [(segment.text, segment.kind) for segment in segments] == [
        ("Good <g1>day</g1>", "cell"), ("Two\nlines & more", "cell"),
    ]  # fmt: skip
    out = FORMAT.join(text, segments, ["<g1>Tag</g1>, gut", "Zwei\n\nZeilen"])
    assert (
        cell("12.5") + "<si><r><rPr><b/></rPr><t>Tag</t></r><r><t>, gut</t></r></si>"
        '<si><t xml:space="preserve"> Zwei\nZeilen</t><phoneticPr fontId="1"/></si>'
    ) in out


def test_the_labels_of_a_chart_are_those_of_their_cells():
    """A copy of a cell that is translated is translated, too, as the same text; one of a cell that stays is not."""
    text, _ = split("".join(map(cell, ["Sales", "East", "Open"])), '<row><c><f>A1="Open"</f></c></row>')
    chart = chart_part("Sales", categories=["East", "Open", "Q1 &amp; more"], title="By region")
    text = f"\x1cxl/charts/chart1.xml\n{chart}{text}"
    segments = FORMAT.split(text, "de")
    found = [(segment.text, segment.kind) for segment in segments]
    assert found == [
        ("By region", "paragraph"), ("Sales", "label"), ("East", "label"), ("Sales", "cell"), ("East", "cell"),
    ]  # fmt: skip
    out = FORMAT.join(text, segments, ["Nach Region", "Umsatz", "Ost & West", "Umsatz", "Ost & West"])
    assert '<c:v>Ost &amp; West</c:v></c:pt><c:pt idx="1"><c:v>Open</c:v>' in out
    assert FORMAT.find_omissions(text) == []


HEADER = '<headerFooter><oddHeader>&amp;L&amp;"Arial,Bold"&amp;12Our costs &amp;&amp; more&amp;CPage &amp;P of &amp;N</oddHeader><oddFooter>&amp;C&amp;A</oddFooter></headerFooter>'


def test_headers_and_footers_are_translated():
    """Their left, middle and right are texts of their own; the codes for fonts, pages and sheets stay."""
    text = FORMAT.extract_text(make_workbook(cell("Sales"), "</sheetData>" + HEADER + "<sheetData>"))
    segments = FORMAT.split(text, "de")
    assert [segment.text for segment in segments] == ["Sales", '&"Arial,Bold"&12Our costs && more', "Page &P of &N"]
    out = FORMAT.join(text, segments, ["Umsatz", '&"Arial,Bold"&12Kosten && < mehr', "Seite &P von &N"])
    assert (
        '<oddHeader>&amp;L&amp;"Arial,Bold"&amp;12Kosten &amp;&amp; &lt; mehr&amp;CSeite &amp;P von &amp;N</oddHeader>'
        in out
    )
    assert FORMAT.check(out) == ""
    assert "more than 255 characters" in FORMAT.check(FORMAT.join(text, segments, [None, None, "x" * 240]))
    assert "sheet1" not in FORMAT.extract_text(make_workbook(cell("Sales"))).rpartition("\x1c*")[0]


def test_headers_of_large_sheets_are_named(monkeypatch):
    """A sheet of millions of numbers is not read for them."""
    monkeypatch.setattr("llmcli.documents.formats.packages.xlsx._MAX_HEADED_BYTES", 600)
    text = FORMAT.extract_text(make_workbook(cell("Sales"), "<row/>" * 100 + "</sheetData>" + HEADER + "<sheetData>"))
    assert FORMAT.find_omissions(text) == [
        "the headers and footers of large sheets are not translated: xl/worksheets/sheet1.xml"
    ]
    assert [segment.text for segment in FORMAT.split(text, "de")] == ["Sales"]


def test_underlined_blanks_of_a_form_stay():
    """They are a mark."""
    line = '<r><rPr><u/></rPr><t xml:space="preserve">          </t></r>'
    text, segments = split(f"<si><r><t>Name:</t></r>{line}<r><t>Date</t></r></si>")
    assert [segment.text for segment in segments] == ["Name:<x1/>Date"]
    assert f"<r><t>Datum</t></r>{line}<r><t>hier</t></r>" in FORMAT.join(text, segments, ["Datum<x1/>hier"])


def test_texts_that_something_knows_by_their_words_stay():
    """Columns of tables and pivot tables, texts in formulas, filters and lists of values."""
    known = ["Month", "Total cost", "Region", "yes", "A &amp; B", "Open", "Closed", "March"]
    sheet = (
        '<row><c><f>IF(A1="YES",1,"A &amp; B")</f></c></row>'
        '<dataValidation><formula1>"Open,Closed"</formula1></dataValidation><filter val="March"/>'
    )
    table = f'<table xmlns="{SHEET}"><tableColumn id="1" name="Month"/><tableColumn id="2" name="Total_x000a_cost"/></table>'
    pivot = f'<pivotCacheDefinition xmlns="{SHEET}"><cacheField numFmtId="0" name="Region"/></pivotCacheDefinition>'
    strings = "".join(map(cell, [*known, "Free"]))
    _, segments = split(strings, sheet, **{"tables/table1": table, "pivotCache/pivotCacheDefinition1": pivot})
    assert [segment.text for segment in segments] == ["Free"]


def test_criteria_of_formulas_and_names_for_indirect_stay():
    """A criterion begins with an operator; INDIRECT makes a reference of a cell's text."""
    known = ["Pending review", "Done", "Low level", "Other sheet", "MyRange", "'Other sheet'!B2", "Costs"]
    names = '<sheets><sheet name="Costs"/><sheet name="Other sheet"/></sheets><definedNames><definedName name="MyRange">A1</definedName></definedNames>'
    sheet = '<row><c><f>COUNTIF(A:A,"=Pending review")+COUNTIF(A:A,"&lt;&gt;Done")+COUNTIF(A:A,"&gt;=Low level"){}</f></c></row>'
    workbook = f'<workbook xmlns="{SHEET}">{names}</workbook>'
    strings = "".join(map(cell, [*known, "Free"]))
    _, segments = split(strings, sheet.format("+INDIRECT(B1)"), workbook=workbook)
    assert [segment.text for segment in segments] == ["Free"]
    _, segments = split(strings, sheet.format(""), workbook=workbook)
    assert [segment.text for segment in segments] == [*known[3:], "Free"]


def test_escapes_of_characters_are_no_words():
    """A line end is one, others are protected; what only looks like an escape in a translation is escaped."""
    strings = (
        cell("Two_x000D_\nlines")
        + cell("A bell_x0007_ rings")
        + cell("Say _x005F_x0041_ now")
        + cell("Total_x000a_cost")
    )
    table = f'<table xmlns="{SHEET}"><tableColumn id="2" name="Total_x000D__x000A_cost"/></table>'
    text, segments = split(strings, **{"tables/table1": table})
    assert [segment.text for segment in segments] == ["Two\nlines", "A bell\x07 rings", "Say _x0041_ now"]
    assert [span.kind for span in segments[1].protected] == ["control"]
    out = FORMAT.join(text, segments, ["Zwei\nZeilen _x000D_", "Es läutet\x07", "Sag _x0041_"])
    assert '<si><t xml:space="preserve">Zwei\nZeilen _x005F_x000D_</t></si>' in out
    assert cell("Es läutet_x0007_") + cell("Sag _x005F_x0041_") in out


def test_a_cell_is_no_longer_than_excel_allows():
    """A character beyond the first 65,536 counts twice; markup and escapes do not count."""
    assert FORMAT.check(split("")[0]) == ""
    text, segments = split(cell("Good") + "<si><r><t>Good &amp; </t></r><r><rPr><b/></rPr><t>day</t></r></si>")
    long = "a" * 32_767
    assert FORMAT.check(FORMAT.join(text, segments, [long, f"&<g1>{long[1:]}</g1>"])) == ""
    for words in (long + "a", long[1:] + "\U0001f6b2"):
        assert "more than 32,767 characters" in FORMAT.check(FORMAT.join(text, segments, [words, None]))
        assert "more than 32,767 characters" in FORMAT.check(FORMAT.join(text, segments, [None, f"{words}<g1>b</g1>"]))


def test_inline_strings_and_comments():
    """A sheet is read only if texts stand in it."""
    comment = f'<comments xmlns="{SHEET}"><comment ref="A1"><text><r><t>Why so</t></r></text></comment></comments>'
    text, segments = split(cell("One"), '<row><c t="inlineStr"><is><t>Two</t></is></c></row>', comments1=comment)
    assert [(segment.text, segment.part) for segment in segments] == [
        ("One", "xl/sharedStrings.xml"), ("Two", "xl/worksheets/sheet1.xml"), ("Why so", "xl/comments1.xml"),
    ]  # fmt: skip
    assert "worksheets/sheet1.xml\n" not in split(cell("One"), "<row><c><v>1</v></c></row>")[0]
    assert "<is><t>Zwei</t></is>" in FORMAT.join(text, segments, [None, "Zwei", None])


def test_openpyxl_reads_the_translation_with_the_same_structure():
    """Values, formulas, tables and comments of a workbook that openpyxl made."""
    import openpyxl
    from openpyxl.comments import Comment
    from openpyxl.worksheet.table import Table

    workbook = openpyxl.Workbook()
    sheet = workbook.active
    for row in (["Month", "Volume"], ["January", 3], ["Yes", '=IF(A3="Yes",B2,0)'], ["Some text", 1.5]):
        sheet.append(row)
    sheet["A4"].comment = Comment("A comment", "me")
    sheet.add_table(Table(displayName="T", ref="A1:B4"))
    stream = io.BytesIO()
    workbook.save(stream)
    text = FORMAT.extract_text(stream.getvalue())
    segments = FORMAT.split(text, "de")
    assert {segment.text for segment in segments} == {"January", "Some text", "A comment"}
    german = {"January": "Januar", "Some text": "Ein Text", "A comment": "Ein Kommentar"}
    changed = FORMAT.join(text, segments, [german[segment.text] for segment in segments])
    out = openpyxl.load_workbook(io.BytesIO(FORMAT.pack(stream.getvalue(), changed))).active
    assert list(out.values) == [("Month", "Volume"), ("Januar", 3), ("Yes", '=IF(A3="Yes",B2,0)'), ("Ein Text", 1.5)]
    assert (out["A4"].comment.text, list(out.tables)) == ("Ein Kommentar", ["T"])
