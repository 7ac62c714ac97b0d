"""Word documents: which texts are found, what is a mark in them, and how translations are written."""

from __future__ import annotations

import io
import zipfile

import pytest
from package_files import chart_part, make_archive, make_word, run, word_part

from llmcli.documents.formats.packages.docx import FORMAT
from llmcli.errors import BadDocument

FIELD = '<w:r><w:fldChar w:fldCharType="{}"/></w:r>'


def field(instruction, result):
    """Return a field of its own runs."""
    begin, middle, end = (FIELD.format(kind) for kind in ("begin", "separate", "end"))
    return f"{begin}<w:r><w:instrText>{instruction}</w:instrText></w:r>{middle}{result}{end}"


def paragraph(*content, properties=""):
    """Return a paragraph."""
    return f"<w:p>{f'<w:pPr>{properties}</w:pPr>' if properties else ''}{''.join(content)}</w:p>"


def split(body, **parts):
    """Return the text of a document with this body, and its segments."""
    text = FORMAT.extract_text(make_word(body, **parts))
    return text, FORMAT.split(text, "de")


def texts(body, **parts):
    return [segment.text for segment in split(body, **parts)[1]]


def written(body, *translations):
    """Return the body with translations."""
    text, segments = split(body)
    out = FORMAT.join(text, segments, translations)
    assert FORMAT.check(out) == ""
    return out[out.index("<w:body>") + 8 : out.index("</w:body>")]


BOLD = "<w:b/>"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (run("Good ") + run("morning", BOLD) + run("."), "Good <g1>morning</g1>."),
        (run("Good ") + run("mor", "<w:lang w:val='de'/>") + '<w:proofErr w:type="a"/>' + run("ning."), "Good morning."),
        (run("a b", BOLD) + run(" c d ", BOLD), "a b c d"),
        ("<w:r><w:t>One</w:t><w:tab/><w:br/><w:t>two</w:t></w:r>", "One<x1/>two"),
        ("<w:r><w:t>non</w:t><w:noBreakHyphen/><w:t>stop &amp;c.</w:t></w:r>", "non\u2011stop &c."),
        ("<w:r><w:t>hy</w:t><w:softHyphen/><w:t>phen</w:t></w:r>", "hyphen"),
        (run("See ") + f'<w:hyperlink r:id="r1">{run("the site", "<w:u/>")}</w:hyperlink>' + run("!"), "See <g1>the site</g1>!"),
        (run("Page ") + field(" PAGE ", run("3")) + run(" of it"), "Page <x1/> of it"),
        (run("See ") + field(' HYPERLINK "u" ', run("here")) + run("!"), "See <g1>here</g1>!"),
        (run("Text") + '<w:r><w:footnoteReference w:id="2"/></w:r>' + run(" more"), "Text<x1/> more"),
        (run("Old") + f'<w:del w:id="1"><w:r><w:delText>x y</w:delText></w:r></w:del><w:ins w:id="2">{run("new")}</w:ins>' + run(" z"), "Old<x1/><g1>new</g1> z"),
        (run("Go ") + '<w:bookmarkStart w:id="0" w:name="_GoBack"/><w:bookmarkEnd w:id="0"/>' + run("on"), "Go on"),
        (run("A ") + f'<w:bookmarkStart w:id="1" w:name="b"/>{run("b c")}<w:bookmarkEnd w:id="1"/>' + run(" d"), "A <g1>b c</g1> d"),
        (f'<w:bookmarkStart w:id="1" w:name="b"/>{run("All of it", BOLD)}<w:bookmarkEnd w:id="1"/>', "All of it"),
        (run("Let ") + "<m:oMath><m:r><m:t>x</m:t></m:r></m:oMath>" + run(" be 5"), "Let <x1/> be 5"),
        (run("A literal &lt;g1&gt; ") + run("b", BOLD) + run(" c"), "A literal <g1> <qg1>b</qg1> c"),
        (f"<w:sdt><w:sdtPr/><w:sdtContent>{run('Your name')}</w:sdtContent></w:sdt>", "Your name"),
        (run(" \t lead and "), "lead and"),
        (run("a ") + "<w:r><w:rPr><w:b/></w:rPr><w:lastRenderedPageBreak/></w:r>" + run("b"), "a b"),
    ],
)  # fmt: skip
def test_what_a_translator_reads(content, text):
    """Formatting inside of a sentence, links and ranges are pairs of marks; what is no text is one."""
    assert texts(paragraph(content)) == [text]


@pytest.mark.parametrize("content", [run("12.5"), run(" "), "<w:r><w:t/></w:r>", field("PAGE", run("3")), run("https://a.example")])  # fmt: skip
def test_paragraphs_without_words(content):
    """Nobody translates them."""
    assert texts(paragraph(content)) == []


def test_translations_are_written_in_runs_with_the_old_formatting():
    """What stands before and behind the words is not touched, and no empty runs are left."""
    body = paragraph(run("Good ") + run("morning", BOLD) + run(", ") + run("it", BOLD) + run("!"))
    assert written(body, "<g2>Es</g2>, guten <g1>Morgen & mehr</g1>") == paragraph(
        f"<w:r><w:rPr>{BOLD}</w:rPr><w:t>Es</w:t></w:r>", run(", guten "), f"<w:r><w:rPr>{BOLD}</w:rPr><w:t>Morgen &amp; mehr</w:t></w:r>"
    )  # fmt: skip
    body = paragraph("<w:r><w:tab/><w:t>One </w:t><w:footnoteReference/><w:t>two</w:t><w:tab/></w:r>")
    assert written(body, "Zwei <x1/> eins") == paragraph(
        '<w:r><w:tab/><w:t xml:space="preserve">Zwei </w:t><w:footnoteReference/><w:t xml:space="preserve"> eins</w:t><w:tab/></w:r>'
    )
    link = '<w:hyperlink r:id="r1">{}</w:hyperlink>'
    body = paragraph(run("See "), link.format(run("it", "<w:u/>")), run(" now"))
    assert written(body, "Jetzt <g1>das</g1> sehen") == paragraph(
        run("Jetzt "), link.format("<w:r><w:rPr><w:u/></w:rPr><w:t>das</w:t></w:r>"), run(" sehen")
    )
    begin = "<w:r><w:t>Go </w:t><w:fldChar w:fldCharType='begin'/><w:instrText>HYPERLINK x</w:instrText><w:fldChar w:fldCharType='separate'/>"
    body = paragraph(begin + "<w:t>there</w:t><w:fldChar w:fldCharType='end'/><w:t>!</w:t></w:r>")
    assert written(body, "<g1>Dahin</g1> jetzt!") == body.replace("<w:t>Go </w:t>", "").replace(
        "there", "Dahin"
    ).replace("<w:t>!", '<w:t xml:space="preserve"> jetzt!')


def test_underlined_blanks_of_a_form_stay():
    """A line to write on is a mark; one blank between words is not."""
    line = run(" " * 30, "<w:u/>")
    body = paragraph(run("Name: "), line, run(" Date: "), run(" ", "<w:u/>"), run("today"), run(" " * 9, "<w:u/>"))
    assert texts(body) == ["Name: <x1/> Date:  today"]
    assert written(body, "Datum: heute, Name: <x1/> hier") == paragraph(
        run("Datum: heute, Name: "), line, run(" hier"), run(" " * 9, "<w:u/>")
    )


def test_the_same_translation_changes_nothing():
    """A document whose translations are all None, or their sources, is the same bytes."""
    data = make_word(
        paragraph(run("Good ") + run("morning", "<w:i/>")), header1=word_part(paragraph(run("Head")), "hdr")
    )
    text = FORMAT.extract_text(data)
    segments = FORMAT.split(text, "de")
    assert FORMAT.pack(data, FORMAT.join(text, segments, [None] * 2)) is data
    assert FORMAT.pack(data, FORMAT.join(text, segments, [segment.text for segment in segments])) is data


def test_all_parts_of_a_document_are_found():
    """Headers, footers, notes, comments; tables, text boxes and alternative texts in them."""
    box = (
        '<w:r><w:drawing><wp:docPr id="1" name="Box 1" descr="A cat &amp; a dog" title="Pets"/><w:txbxContent>'
        + paragraph(run("In the box"))
        + "</w:txbxContent></w:drawing></w:r>"
    )
    body = (
        paragraph(run("Title"), properties='<w:pStyle w:val="berschrift1"/>')
        + paragraph(run("Before "), box, run(" behind"))
        + f"<w:tbl><w:tr><w:tc>{paragraph(run('Cell'))}</w:tc></w:tr></w:tbl>"
        + paragraph(run("Point"), properties="<w:numPr/>")
    )
    styles = word_part(
        '<w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style><w:style w:styleId="x"><w:name w:val="Body"/></w:style>',
        "styles",
    )
    others = {name: word_part(paragraph(run(f"In {name}")), "x") for name in ("header1", "footer1", "footnotes", "endnotes", "comments")}  # fmt: skip
    _, segments = split(body, styles=styles, **others)
    found = [(segment.text, segment.kind, segment.part.removeprefix("word/")) for segment in segments]
    assert found[:7] == [
        ("Title", "heading", "document.xml"), ("Before <x1/> behind", "paragraph", "document.xml"),
        ("A cat & a dog", "attribute", "document.xml"), ("Pets", "attribute", "document.xml"), ("In the box", "paragraph", "document.xml"),
        ("Cell", "cell", "document.xml"), ("Point", "item", "document.xml"),
    ]  # fmt: skip
    assert [row[0] for row in found[7:]] == ["In header1", "In footer1", "In footnotes", "In endnotes", "In comments"]
    assert segments[1].path == ("Title",)


@pytest.mark.parametrize("inner", [None, "Kasten <x1/>"])
@pytest.mark.parametrize("alternative", [None, "Katze"])
def test_texts_inside_of_a_paragraph_go_where_it_goes(inner, alternative):
    """A text box with a picture in the middle of a sentence: each text is translated, or not, by itself."""

    def box(words, cat):
        picture = f'<w:r><w:drawing><wp:docPr id="1" descr="{cat}"/></w:drawing></w:r>'
        inside = paragraph(run(words[0]), picture, run(words[1]))
        return f"<w:r><w:pict><w:txbxContent>{inside}</w:txbxContent></w:pict></w:r>"

    body = paragraph(run("See "), box(["The ", " box"], "Cat"), run(" here"))
    assert texts(body) == ["See <x1/> here", "The <x1/> box", "Cat"]
    inside = box(["The ", " box"], alternative or "Cat")
    if inner:
        inside = inside.replace(run("The "), run("Kasten ")).replace(run(" box"), "")
    assert written(body, None, inner, alternative) == paragraph(run("See "), inside, run(" here"))
    assert written(body, "Hier <x1/> da", inner, alternative) == paragraph(run("Hier "), inside, run(" da"))
    assert written(body, "See <x1/> here", inner, alternative) == paragraph(run("See "), inside, run(" here"))


def test_the_labels_of_a_chart():
    """Those of a chart with a workbook stay, and that is said; those of a chart without one are texts as its title is."""
    chart = chart_part("Sales", categories=["East"], title="By region")
    with_workbook = chart_part(
        "Sales", categories=["East"], title="By region", more='<c:externalData r:id="r1" xmlns:r="r"/>'
    )
    text, _ = split(paragraph(run("See it")))
    both = f"\x1cword/charts/chart1.xml\n{chart}\x1cword/charts/chart2.xml\n{with_workbook}{text}"
    segments = FORMAT.split(both, "de")
    assert [each.text for each in segments] == ["By region", "Sales", "East", "By region", "See it"]
    assert FORMAT.find_omissions(both) == [
        "a chart keeps the names of series and categories, which come from a workbook in the document: word/charts/chart2.xml"
    ]


def test_a_translation_has_no_reading():
    """Ruby text says how to read the words below it: these are words of their sentence, and the reading goes with them."""
    ruby = (
        "<w:r><w:ruby><w:rubyPr><w:hps w:val='10'/></w:rubyPr><w:rt>{}</w:rt><w:rubyBase>{}</w:rubyBase></w:ruby></w:r>"
    )
    body = paragraph(ruby.format(run("とう"), run("東")), run("は大きい"))
    assert texts(body) == ["東は大きい"]
    assert written(body, "Tokyo is big") == paragraph("<w:r><w:t>Tokyo is big</w:t></w:r>")
    assert written(body, None) == written(body, "東は大きい") == body
    picture = paragraph(run("A "), ruby.format(run("b"), "<w:r><w:drawing/></w:r>"), run(" c"))
    assert texts(picture) == ["A <x1/> c"]


@pytest.mark.parametrize(
    ("source", "target", "before", "after"),
    [
        ("en", "de", 'w:val="en-US" w:eastAsia="en-US" w:bidi="ar-SA"', 'w:val="de" w:eastAsia="de" w:bidi="ar-SA"'),
        ("en", "ja", 'w:val="en-US" w:eastAsia="zh-CN" w:bidi="hi-IN"', 'w:val="ja" w:eastAsia="ja" w:bidi="hi-IN"'),
        ("en", "he", 'w:val="en-US" w:eastAsia="zh-CN" w:bidi="hi-IN"', 'w:val="he" w:eastAsia="zh-CN" w:bidi="he"'),
        ("en", "ja", 'w:val="fr-FR" w:eastAsia="zh-CN"', 'w:val="fr-FR" w:eastAsia="zh-CN"'),
        ("ja", "fr", 'w:val="en-US" w:eastAsia="ja-JP"', 'w:val="fr" w:eastAsia="fr"'),
        ("ar", "fr", 'w:val="en-US" w:eastAsia="ja-JP" w:bidi="ar-SA"', 'w:val="fr" w:eastAsia="ja-JP" w:bidi="fr"'),
        ("", "ja", 'w:val="en-US" w:eastAsia="zh-CN"', 'w:val="ja" w:eastAsia="ja"'),
        ("", "de", 'w:val="en-US" w:eastAsia="zh-CN"', 'w:val="de" w:eastAsia="zh-CN"'),
    ],
)
def test_the_languages_of_word_s_scripts(source, target, before, after):
    """The one for the target's script is replaced, whatever it was: Japanese is not checked and drawn as Chinese."""
    text, segments = split(paragraph(run("Good day", f"<w:lang {before}/>")))
    assert f"<w:lang {after}/>" in FORMAT.replace_language(text, segments, source, target)


def test_a_watermark_is_translated():
    """Its text is an attribute of a shape of VML."""
    shape = '<w:r><w:pict xmlns:v="urn:schemas-microsoft-com:vml"><v:shape alt="A stamp"><v:textpath string="DRAFT"/></v:shape></w:pict></w:r>'
    assert texts(paragraph(shape)) == ["A stamp", "DRAFT"]


def drop_down(chosen, *entries, kind="dropDownList"):
    """Return a content control with a list; an entry is its text."""
    items = "".join(f'<w:listItem w:displayText="{entry}" w:value="{entry.lower()}"/>' for entry in entries)
    properties = f"<w:sdtPr><w:{kind}>{items}</w:{kind}></w:sdtPr>"
    return f"<w:sdt>{properties}<w:sdtContent>{chosen}</w:sdtContent></w:sdt>"


@pytest.mark.parametrize("kind", ["dropDownList", "comboBox"])
def test_the_chosen_text_of_a_list_is_the_text_of_its_entry(kind):
    """It is a text of its own beside its sentence, so both get one translation; values, which programs read, stay."""
    body = paragraph(run("State: "), drop_down(run("Done"), "Open", "Done", kind=kind), run(" today"))
    assert texts(body) == ["State: <x1/> today", "Open", "Done", "Done"]
    out = paragraph(run("Stand: "), drop_down(run("Fertig"), "Open", "Done", kind=kind), run(" heute"))
    out = out.replace('"Open"', '"Offen"').replace('"Done"', '"Fertig"')
    assert written(body, "Stand: <x1/> heute", "Offen", "Fertig", "Fertig") == out.replace(
        ' xml:space="preserve">Fertig', ">Fertig"
    )
    assert texts(drop_down(paragraph(run("Done")), "Open", "Done", kind=kind)) == ["Open", "Done", "Done"]
    assert texts(paragraph(drop_down(run("Choose one"), "Open"))) == ["Open", "Choose one"]
    assert texts(paragraph(drop_down(run("done"), "Open", "Done").replace('w:displayText="Done"', ""))) == ["Open"]


def test_the_texts_of_a_form_are_translated():
    """The entries of a list, what stands in a text field, and the help; a computed field stays."""

    def form(data, instruction, result):
        begin = (
            f'<w:r><w:fldChar w:fldCharType="begin"><w:ffData><w:name w:val="F1"/>{data}</w:ffData></w:fldChar></w:r>'
        )
        return begin + field(instruction, result).partition("</w:r>")[2]

    entries = '<w:ddList><w:result w:val="1"/><w:listEntry w:val="Open"/><w:listEntry w:val="Done"/></w:ddList>'
    body = paragraph(run("State: "), form(entries, " FORMDROPDOWN ", ""), run(" today"))
    assert texts(body) == ["State: <x1/> today", "Open", "Done"]
    assert 'w:val="Offen"/>' in written(body, "<x1/> heute", "Offen", "Fertig")
    body = paragraph(run("State: "), form(entries, " FORMDROPDOWN ", run("Done")), run(" today"))
    assert texts(body) == ["State: <x1/> today", "Open", "Done", "Done"]
    assert written(body, "<x1/> heute", "Offen", "Fertig", "Fertig").count("Fertig") == 2
    text = (
        '<w:helpText w:type="text" w:val="Family name first"/><w:textInput><w:default w:val="Your name"/></w:textInput>'
    )
    body = paragraph(run("Name: "), form(text, " FORMTEXT ", run("Your name")), run(" now"))
    assert texts(body) == ["Name: <g1>Your name</g1> now", "Family name first", "Your name"]
    computed = '<w:textInput><w:type w:val="calculated"/><w:default w:val="=sum(A1)"/></w:textInput>'
    assert texts(paragraph(run("Sum: "), form(computed, " FORMTEXT ", run("five")))) == ["Sum:"]


def test_a_help_that_is_too_long_for_word_is_found():
    """Word does not open a document with it."""
    data = '<w:ffData><w:statusText w:type="text" w:val="Say it"/></w:ffData>'
    text, segments = split(paragraph(run("A b"), f'<w:r><w:fldChar w:fldCharType="begin">{data}</w:fldChar></w:r>'))
    assert FORMAT.check(FORMAT.join(text, segments, ["A b", "x " * 70])) == ""
    assert "more than 140 characters" in FORMAT.check(FORMAT.join(text, segments, ["A b", "x" * 141]))


def test_other_prefixes_and_the_strict_variant():
    """Names count by their namespaces, whatever their prefixes."""
    body = '<body><p><r><rPr><b/></rPr><t xml:space="preserve">Bold </t></r><r><t>and plain</t></r></p></body>'
    for space in ("http://schemas.openxmlformats.org/wordprocessingml/2006/main", "http://purl.oclc.org/ooxml/wordprocessingml/main"):  # fmt: skip
        data = make_archive({"word/document.xml": f'<document xmlns="{space}">{body}</document>'})
        text = FORMAT.extract_text(data)
        (segment,) = FORMAT.split(text, "de")
        assert segment.text == "<g1>Bold </g1>and plain"
        out = FORMAT.join(text, [segment], ["und <g1>fett</g1>"])
        assert '<r><t xml:space="preserve">und </t></r><r><rPr><b/></rPr><t>fett</t></r></p>' in out


def test_a_part_in_utf16_stays_so():
    """Its other parts may be in UTF-8."""
    document = word_part(f"<w:body>{paragraph(run('Good day'))}</w:body>").replace("UTF-8", "UTF-16")
    data = make_archive({"word/document.xml": b"\xff\xfe" + document.encode("utf-16-le")})
    text = FORMAT.extract_text(data)
    out = FORMAT.pack(data, FORMAT.join(text, FORMAT.split(text, "de"), ["Guten Tag"]))
    with zipfile.ZipFile(io.BytesIO(out)) as archive:
        assert archive.read("word/document.xml").decode("utf-16") == document.replace(
            ' xml:space="preserve">Good day', ">Guten Tag"
        )


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("<w:document><w:p></w:document>", "word/document.xml: mismatched tag"),
        ("<!DOCTYPE a [<!ENTITY a 'b'><!ENTITY c '&a;'>]><a/>", "declares entities of its own"),
        ("<w:d xmlns:w='x'>" + "<w:p>" * 300 + "</w:p>" * 300 + "</w:d>", "nested deeper"),
        (b"\xff\xfa\x00", "neither UTF-8 nor UTF-16"),
        ("<a>\x1c</a>", "control character"),
    ],
)
def test_damaged_documents_are_refused(document, problem):
    """With the name of the part."""
    with pytest.raises(BadDocument) as caught:
        FORMAT.split(FORMAT.extract_text(make_archive({"word/document.xml": document})), "de")
    assert problem in caught.value.detail


def test_large_documents_are_refused_before_they_are_parsed(monkeypatch):
    """By the bytes of their texts, and by their tags."""
    data = make_word(paragraph(run("Good")) * 300)
    monkeypatch.setattr("llmcli.documents.formats.packages.package_format.MAX_TAGS", 1000)
    with pytest.raises(BadDocument, match="more than 1,000 tags"):
        FORMAT.extract_text(data)
    monkeypatch.setattr("llmcli.documents.formats.packages.package_format.MAX_TEXT_BYTES", 1000)
    with pytest.raises(BadDocument, match="larger than"):
        FORMAT.extract_text(data)


def test_python_docx_reads_the_translation_with_the_same_structure():
    """Paragraphs, styles, formatting of runs and tables of a document that python-docx made."""
    import docx
    from source_files import make_docx

    def fill(document):
        document.add_heading("Annual report", 1)
        paragraph = document.add_paragraph("Costs rose by ", style="List Bullet")
        paragraph.add_run("12 percent").bold = True
        paragraph.add_run(" in ")
        paragraph.add_run("May").italic = True
        document.add_table(rows=1, cols=2).cell(0, 1).text = "Cell"
        document.sections[0].footer.paragraphs[0].text = "The footer"
        document.core_properties.title = "A title"

    data = make_docx(fill)
    text = FORMAT.extract_text(data)
    segments = FORMAT.split(text, "de")
    assert [segment.text for segment in segments] == [
        "Annual report", "Costs rose by <g1>12 percent</g1> in <g2>May</g2>", "Cell", "The footer", "A title",
    ]  # fmt: skip
    changed = ["Bericht", "Im <g2>Mai</g2> sind es <g1>12 Prozent</g1> mehr", "Zelle", "Der Fuß", "Ein Titel"]
    out = docx.Document(io.BytesIO(FORMAT.pack(data, FORMAT.join(text, segments, changed))))
    assert [(paragraph.style.name, paragraph.text) for paragraph in out.paragraphs] == [
        ("Heading 1", "Bericht"), ("List Bullet", "Im Mai sind es 12 Prozent mehr"),
    ]  # fmt: skip
    assert [(run.text, run.bold, run.italic) for run in out.paragraphs[1].runs] == [
        ("Im ", None, None), ("Mai", None, True), (" sind es ", None, None), ("12 Prozent", True, None), (" mehr", None, None),
    ]  # fmt: skip
    assert out.tables[0].cell(0, 1).text == "Zelle"
    assert (out.sections[0].footer.paragraphs[0].text, out.core_properties.title) == ("Der Fuß", "Ein Titel")
