"""Presentations: which texts are found, and how translations are written."""

from __future__ import annotations

import io

import pytest
from package_files import DRAWING, make_slides

from llmcli.documents.formats.packages.pptx import FORMAT

TITLE = '<p:sp><p:nvSpPr><p:cNvPr id="2" name="Title 1"/><p:nvPr><p:ph type="title"/></p:nvPr></p:nvSpPr><p:txBody>{}</p:txBody></p:sp>'


def paragraph(*runs):
    return f"<a:p><a:pPr/>{''.join(runs)}<a:endParaRPr lang='en'/></a:p>"


def run(text, properties=""):
    return f"<a:r>{properties}<a:t>{text}</a:t></a:r>"


def split(*slides, **parts):
    text = FORMAT.extract_text(make_slides(*slides, **parts))
    return text, FORMAT.split(text, "de")


def test_slides_in_their_order_with_titles_as_context():
    """The tenth comes after the second; tables have cells, shapes alternative texts, notes and comments follow."""
    table = f"<p:graphicFrame><a:tbl><a:tr><a:tc>{paragraph(run('Cell'))}</a:tc></a:tr></a:tbl></p:graphicFrame>"
    picture = '<p:pic><p:nvPicPr><p:cNvPr id="3" name="Picture" descr="A bicycle"/></p:nvPicPr></p:pic>'
    slides = [TITLE.format(paragraph(run("First"))) + table + picture, *[TITLE.format(paragraph(run("More")))] * 9]
    space = f'xmlns:a="{DRAWING}" xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
    notes, comment = f"<p:notes {space}>{paragraph(run('Say it'))}</p:notes>", f"<p:cmLst {space}><p:cm><p:text>Why?</p:text></p:cm></p:cmLst>"  # fmt: skip
    _, segments = split(*slides, **{"notesSlides/notesSlide1": notes, "comments/comment1": comment})
    found = [(segment.text, segment.kind, segment.path) for segment in segments]
    assert found[:3] == [("First", "heading", ()), ("Cell", "cell", ("First",)), ("A bicycle", "attribute", ("First",))]
    assert [segment.part for segment in segments[3:12]] == [f"ppt/slides/slide{number}.xml" for number in range(2, 11)]
    assert [row[0] for row in found[12:]] == ["Say it", "Why?"]


SPACE = f'xmlns:a="{DRAWING}" xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'


def shape(words, place=""):
    """Return a shape, a placeholder if it says of what."""
    place = f"<p:ph {place}/>" if place else ""
    properties = f'<p:nvSpPr><p:cNvPr id="2" name="A 1"/><p:cNvSpPr/><p:nvPr>{place}</p:nvPr></p:nvSpPr>'
    return f"<p:sp>{properties}<p:txBody>{paragraph(run(words))}</p:txBody></p:sp>"


@pytest.mark.parametrize(
    ("name", "root", "shown"),
    [
        ("slideLayouts/slideLayout2", "sldLayout", ["For members only", "Your name here"]),
        ("slideMasters/slideMaster1", "sldMaster", ["For members only", "Your name here"]),
        ("notesMasters/notesMaster1", "notesMaster", ["For members only", "Your name here"]),
        ("handoutMasters/handoutMaster1", "handoutMaster", ["For members only", "Click to edit", "Your name here"]),
    ],
)
def test_what_slides_show_of_layouts_and_masters(name, root, shown):
    """Shapes of their own, and prompts that an author wrote; a placeholder stands for a shape of the slide."""
    words = shape("For members only") + shape("Click to edit", 'type="title"')
    words += shape("Your name here", 'type="body" hasCustomPrompt="1"')
    _, segments = split(TITLE.format(paragraph(run("First"))), **{name: f"<p:{root} {SPACE}>{words}</p:{root}>"})
    assert [segment.text for segment in segments] == ["First", *shown]


def test_layouts_without_words_stay():
    """So that not even their languages change."""
    placeholder = shape("Click to edit", 'type="body"')
    layout = f"<p:sldLayout {SPACE}>{placeholder}</p:sldLayout>"
    text, _ = split(TITLE.format(paragraph(run("First"))), **{"slideLayouts/slideLayout1": layout})
    assert "slideLayout1" not in text.rpartition("\x1c*")[0]


def test_runs_links_breaks_and_fields():
    """A link is part of a run's formatting; languages and spelling marks are none."""
    content = paragraph(
        run("Good ", '<a:rPr lang="en" dirty="0"/>'), run("mor", '<a:rPr lang="en-US" err="1"/>'), run("ning", '<a:rPr lang="en"/>'), "<a:br/>",
        run("see ", '<a:rPr lang="en"/>'), run("this", '<a:rPr lang="en"><a:hlinkClick r:id="r1"/></a:rPr>'), run(" on "),
        '<a:fld type="slidenum"><a:rPr/><a:t>3</a:t></a:fld>', run(" now"),
    )  # fmt: skip
    text, (segment,) = split(TITLE.format(content))
    assert segment.text == "Good morning<x1/>see <g1>this</g1> on <x2/> now"
    out = FORMAT.join(text, [segment], ["Guten Morgen<x1/>sieh <g1>das</g1> auf <x2/> an"])
    first = '<a:rPr lang="en" dirty="0"/>'
    assert paragraph(
        run("Guten Morgen", first), "<a:br/>", run("sieh ", first), run("das", '<a:rPr lang="en"><a:hlinkClick r:id="r1"/></a:rPr>'), run(" auf ", first),
        '<a:fld type="slidenum"><a:rPr/><a:t>3</a:t></a:fld>', run(" an", first),
    ) in out  # fmt: skip


def test_python_pptx_reads_the_translation_with_the_same_structure():
    """Shapes, tables, notes, charts and the formatting of runs of a presentation that python-pptx made."""
    import pptx
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from source_files import make_pptx

    presentation = pptx.Presentation(io.BytesIO(make_pptx()))
    first = presentation.slides[0]
    paragraph = first.placeholders[1].text_frame.add_paragraph()
    for words, bold in (("Good ", None), ("morning", True)):
        paragraph.add_run().text = words
        paragraph.runs[-1].font.bold = bold
    data = CategoryChartData()
    data.categories = ["East"]
    data.add_series("Sales", (1,))
    chart = first.shapes.add_chart(XL_CHART_TYPE.BAR_CLUSTERED, 0, 0, 100, 100, data).chart
    chart.chart_title.text_frame.text = "By region"
    stream = io.BytesIO()
    presentation.save(stream)
    text = FORMAT.extract_text(stream.getvalue())
    segments = FORMAT.split(text, "de")
    changed = [segment.text.replace("o", "ö").replace("i", "ï") for segment in segments]
    out = pptx.Presentation(io.BytesIO(FORMAT.pack(stream.getvalue(), FORMAT.join(text, segments, changed))))
    one, two = out.slides
    texts = [[[(each.text, each.font.bold) for each in row.runs] for row in shape.text_frame.paragraphs] for shape in one.shapes if shape.has_text_frame]  # fmt: skip
    assert texts == [
        [[("Plan", None)]], [[("Step öne", None)], [("Step twö", None)], [("Gööd ", None), ("mörnïng", True)]],
    ]  # fmt: skip
    assert one.shapes[2].chart.chart_title.text_frame.text == "By regïön"
    assert one.notes_slide.notes_text_frame.text == "Say hellö"
    assert [cell.text for row in two.shapes[1].table.rows for cell in row.cells] == ["Quarter", "Sales", "Q1", "77"]


def test_underlined_blanks_of_a_form_stay():
    """They are a mark."""
    line = run(" " * 20, '<a:rPr u="sng"/>')
    text, segments = split(f"<p:sp>{paragraph(run('Name: '), line, run(' Date'))}</p:sp>")
    assert [segment.text for segment in segments] == ["Name: <x1/> Date"]
    assert f"{run('Datum, Name: ')}{line}{run(' hier')}" in FORMAT.join(text, segments, ["Datum, Name: <x1/> hier"])
