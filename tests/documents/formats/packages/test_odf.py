"""OpenDocument: which texts are found, what is a mark in them, and how translations are written."""

from __future__ import annotations

import pytest
from package_files import make_odf, odf_part

from llmcli.documents.formats.packages.odf import ODP, ODS, ODT

NOTE = "<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>{}</text:p></text:note-body></text:note>"
REVISION = '<office:automatic-styles><style:style style:name="R"><style:text-properties loext:rsid="12"/></style:style></office:automatic-styles>'  # fmt: skip


def split(content, form=ODT, **more):
    text = form.extract_text(make_odf(content, **more))
    return text, form.split(text, "de")


def texts(content, form=ODT, **more):
    return [segment.text for segment in split(content, form, **more)[1]]


def written(content, *translations, **more):
    """Return the content with translations."""
    text, segments = split(content, **more)
    out = ODT.join(text, segments, translations)
    assert ODT.check(out) == ""
    return out[out.index("<office:body>") + 13 : out.index("</office:body>")]


def span(words, style="T1"):
    return f'<text:span text:style-name="{style}">{words}</text:span>'


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (f"Good {span('mor')}{span('ning')}.", "Good <g1>morning</g1>."),
        (f"It {span('is', 'R')} new", "It is new"),
        (span("All of it"), "All of it"),
        ("One<text:tab/><text:line-break/>two", "One<x1/>two"),
        ('Three<text:s text:c="2"/>spaces\n   and one', "Three  spaces and one"),
        ('See <text:a xlink:href="u">the site</text:a>!', "See <g1>the site</g1>!"),
        (f"All: {span(span('<text:sequence>1</text:sequence>'))}{span('<text:tab/>')} b", "All: <x1/> b"),
        ("Page <text:page-number>3</text:page-number> of it", "Page <x1/> of it"),
        ('A <text:bookmark-start text:name="b"/>b c<text:bookmark-end text:name="b"/> d', "A <g1>b c</g1> d"),
        ("Dear <text:placeholder>your name</text:placeholder>, hi", "Dear <g1>your name</g1>, hi"),
        ("A <loext:content-control>fine day</loext:content-control>", "A <g1>fine day</g1>"),
        ('Go <text:bookmark text:name="b"/>on<text:soft-page-break/>!', "Go on!"),
        ('<text:change-start text:change-id="c"/>New<text:change-end text:change-id="c"/> text', "<g1>New</g1> text"),
        (f"{span('a ' + span('b', 'T2'))} c", "<g1>a <g2>b</g2></g1> c"),
    ],
)
def test_what_a_translator_reads(content, text):
    """Spans are formattings, unless they only say when a text was written."""
    assert texts(f"<text:p>{content}</text:p>", before=REVISION) == [text]


def test_underlined_blanks_of_a_form_stay():
    """Spaces that have a span of their own are a mark."""
    line = span('<text:s text:c="30"/>')
    content = f"<text:p>Name: {line}<text:s/>Date</text:p>"
    assert texts(content) == ["Name: <x1/> Date"]
    assert written(content, "Datum, Name: <x1/> hier") == f"<text:p>Datum, Name: {line} hier</text:p>"


def test_translations_are_written_with_spans_and_spaces():
    """No span is left without words."""
    content = f"<text:p>Good {span('day')}, {span('you', 'T2')}!</text:p>"
    assert written(content, "<g2>Du</g2>, gut  & schön<g1>er Tag</g1>") == (
        f"<text:p>{span('Du', 'T2')}, gut <text:s/>&amp; schön{span('er Tag')}</text:p>"
    )
    content = f"<text:p>{span('a<text:tab/>b c')}<text:tab/></text:p>"
    assert written(content, "x y<x1/>z") == content.replace("a<text:tab/>b c", "x y<text:tab/>z")


@pytest.mark.parametrize("note", [None, "Anmerkung"])
def test_notes_and_comments_have_their_own_segments(note):
    """They go where their sentence goes."""
    content = f"<text:p>One{NOTE.format('Remark')} two.</text:p>"
    assert texts(content) == ["One<x1/> two.", "Remark"]
    inside = NOTE.format(note or "Remark")
    assert written(content, "Zwei<x1/> eins.", note) == f"<text:p>Zwei{inside} eins.</text:p>"
    assert written(content, None, note) == f"<text:p>One{inside} two.</text:p>"
    comment = '<office:annotation office:name="1"><dc:creator>Me</dc:creator><text:p>{}</text:p></office:annotation>'
    content = f'<text:p>A {comment.format("Why")}b<office:annotation-end office:name="1"/> c</text:p>'
    assert texts(content) == ["A <g1>b</g1> c", "Why"]
    assert comment.format("Warum") in written(content, "<g1>x</g1> y", "Warum")


def test_headings_lists_tables_headers_and_pictures():
    """Deleted text and the author of a comment are not translated."""
    content = (
        "<text:tracked-changes><text:p>Deleted</text:p></text:tracked-changes>"
        '<text:h text:outline-level="2">Head</text:h><text:list><text:list-item><text:p>Point</text:p></text:list-item></text:list>'
        "<table:table><table:table-cell><text:p>Cell</text:p></table:table-cell></table:table>"
        "<text:p><draw:frame><svg:title>Pet</svg:title><svg:desc>A cat</svg:desc></draw:frame></text:p>"
    )
    styles = odf_part("<style:header><text:p>Header</text:p></style:header>", root="document-styles")
    meta = odf_part("<dc:title>Title</dc:title><dc:creator>Me</dc:creator>", root="document-meta")
    _, segments = split(content, styles=styles, meta=meta)
    assert [(segment.text, segment.kind, segment.path) for segment in segments] == [
        ("Head", "heading", ()), ("Point", "item", ("Head",)), ("Cell", "cell", ("Head",)), ("Pet", "attribute", ("Head",)),
        ("A cat", "attribute", ("Head",)), ("Header", "paragraph", ()), ("Title", "heading", ()),
    ]  # fmt: skip


def test_cells_that_are_computed_or_known_stay():
    """Numbers and dates are shown as texts; a formula compares with others."""
    cell = "<table:table-cell{}><text:p>{}</text:p></table:table-cell>"
    content = (
        cell.format(' office:value-type="float" office:value="3"', "three EUR")
        + cell.format(' table:formula="of:=IF([.A1]=&quot;Yes&quot;;1;2)"', "result")
        + cell.format(' office:value-type="string"', "yes")
        + cell.format(' office:value-type="string"', "Words")
    )
    assert texts(content, ODS, kind="spreadsheet") == ["Words"]


def test_criteria_constants_and_names_for_indirect_stay():
    """A criterion begins with an operator; a constant has a name; INDIRECT makes a reference of a cell's text."""
    cell = "<table:table-cell{}><text:p>{}</text:p></table:table-cell>"
    names = "<table:named-expression table:name='C' table:expression='&quot;Pending&quot;'/><table:named-range table:name='MyRange'/>"
    formula = cell.format(' table:formula="of:=COUNTIF([.A1:.A9];&quot;&lt;&gt;Done&quot;){}"', "5")
    known = "".join(
        cell.format("", words) for words in ("Done", "Pending", "MyRange", "Two words", "$'Two words'.B2", "Free")
    )
    content = f'<table:table table:name="Two words">{formula}{known}{names}</table:table>'
    assert texts(content.format("+INDIRECT([.B1])"), ODS) == ["Free"]
    assert texts(content.format(""), ODS) == ["MyRange", "Two words", "$'Two words'.B2", "Free"]


def test_slides_have_titles():
    """They are the context of the other texts."""
    frame = "<draw:frame{}><draw:text-box><text:p>{}</text:p></draw:text-box></draw:frame>"
    title = frame.format(' presentation:class="title"', "Plan")
    content = f"<draw:page>{title}{frame.format('', 'First')}</draw:page>"
    _, segments = split(content, ODP, kind="presentation")
    assert [(segment.text, segment.kind, segment.path) for segment in segments] == [
        ("Plan", "heading", ()), ("First", "paragraph", ("Plan",)),
    ]  # fmt: skip


def test_a_translation_has_no_reading():
    """Ruby text says how to read the words below it: these are words of their sentence."""
    ruby = "<text:ruby><text:ruby-base>東</text:ruby-base><text:ruby-text>とう</text:ruby-text></text:ruby>"
    text = ODT.extract_text(make_odf(f"<text:p>{ruby}は大きい</text:p>"))
    segments = ODT.split(text, "en")
    assert [segment.text for segment in segments] == ["東は大きい"]
    assert "<text:p>Tokyo is big</text:p>" in ODT.join(text, segments, ["Tokyo is big"])
    assert ODT.join(text, segments, [None]) == text


CHART = (
    "<office:chart><chart:chart><chart:title><text:p>By region</text:p></chart:title><table:table><table:table-row>"
    '<table:table-cell office:value-type="string"><text:p>East</text:p><draw:g><svg:desc>Sheet1.A2</svg:desc></draw:g></table:table-cell>'
    '<table:table-cell office:value-type="string"><text:p>Other</text:p></table:table-cell>'
    '<table:table-cell office:value-type="float" office:value="5"><text:p>five</text:p></table:table-cell>'
    "</table:table-row></table:table></chart:chart></office:chart>"
)


def test_the_data_of_a_chart():
    """Its words are texts of a document; in a spreadsheet they are copies of cells, and translated if these are."""
    parts = {"Object 1/content": odf_part(CHART)}
    _, segments = split("<text:p>See it</text:p>", **parts)
    assert [segment.text for segment in segments] == ["See it", "By region", "East", "Other"]
    sheet = '<table:table-cell office:value-type="string"><text:p>East</text:p></table:table-cell>'
    _, segments = split(sheet, ODS, kind="spreadsheet", **parts)
    assert [(segment.text, segment.kind) for segment in segments] == [
        ("East", "cell"), ("By region", "paragraph"), ("East", "label"),
    ]  # fmt: skip


def test_spreadsheets_in_a_document_are_named():
    """A picture of them is shown, so they stay."""
    sheet = "<office:spreadsheet><table:table><table:table-cell><text:p>East</text:p></table:table-cell></table:table></office:spreadsheet>"
    text, segments = split("<text:p>See it</text:p>", **{"Object 1/content": odf_part(sheet)})
    assert [segment.text for segment in segments] == ["See it"]
    assert ODT.find_omissions(text) == ["embedded spreadsheets are not translated: Object 1/content.xml"]


def test_the_title_of_an_index_and_its_template():
    """An index gets its title from there when it is updated."""
    index = "<text:index-title-template>Contents</text:index-title-template><text:index-title><text:p>Contents</text:p></text:index-title>"
    assert [segment.text for segment in split(index)[1]] == ["Contents", "Contents"]


@pytest.mark.parametrize(
    "control",
    [
        (
            '<loext:content-control loext:dropdown="true"><loext:list-item loext:display-text="Open" loext:value="1"/>'
            '<loext:list-item loext:display-text="Done" loext:value="2"/>Done</loext:content-control>'
        ),
        '<text:drop-down text:name="d"><text:label text:value="Open"/><text:label text:value="Done"/>Done</text:drop-down>',
    ],
)
def test_the_chosen_text_of_a_list_is_the_text_of_its_entry(control):
    """It is a text of its own beside its sentence, so both get one translation."""
    text, segments = split(f"<text:p>It is {control} now</text:p>")
    assert [segment.text for segment in segments] == ["It is <x1/> now", "Open", "Done", "Done"]
    out = ODT.join(text, segments, ["Jetzt: <x1/>", "Offen", "Fertig", "Fertig"])
    assert f"<text:p>Jetzt: {control.replace('Open', 'Offen').replace('Done', 'Fertig')}</text:p>" in out
    assert ODT.join(text, segments, [None] * 4) == text
