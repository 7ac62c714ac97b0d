"""OpenDocument texts, presentations and Jupyter notebooks become sections of Markdown, read in the child with limits."""

from __future__ import annotations

import json

import pytest
from package_files import make_odf
from source_files import make_zip

from llmcli.documents.reading import reader_process
from llmcli.documents.reading.source_reader import read_source
from llmcli.errors import BadDocument

STYLE = (
    '<office:automatic-styles><style:style style:name="P1" style:parent-style-name="Title"/></office:automatic-styles>'
)
TEXT = (
    '<office:text><text:tracked-changes><text:p>deleted</text:p></text:tracked-changes><text:p text:style-name="P1">Report</text:p>'
    '<text:h text:outline-level="1">Costs</text:h><text:p>Rent<text:note><text:note-citation>1</text:note-citation>'
    "<text:note-body><text:p>Of May.</text:p></text:note-body></text:note> rose<office:annotation><text:p>comment</text:p>"
    "</office:annotation>.</text:p><text:list><text:list-item><text:p>tea</text:p><text:list><text:list-item><text:p>green"
    "</text:p></text:list-item></text:list></text:list-item></text:list><table:table><table:table-row>"
    "<table:table-cell><text:p>Year</text:p></table:table-cell><table:table-cell><text:p>a|b</text:p></table:table-cell>"
    '</table:table-row></table:table><text:h text:outline-level="2">Outlook</text:h><text:p>Better.</text:p></office:text>'
)
SLIDES = (
    '<office:presentation><draw:page><draw:frame presentation:class="title"><draw:text-box><text:p>Plan</text:p></draw:text-box>'
    '</draw:frame><draw:frame><draw:text-box><text:p>Step one</text:p></draw:text-box></draw:frame><draw:frame presentation:class="footer">'
    "<draw:text-box><text:p>Acme</text:p></draw:text-box></draw:frame><presentation:notes><draw:frame><draw:text-box>"
    "<text:p>Say hello</text:p></draw:text-box></draw:frame></presentation:notes></draw:page><draw:page/><draw:page><draw:frame>"
    "<draw:text-box><text:p>End</text:p></draw:text-box></draw:frame></draw:page></office:presentation>"
)
CODE = {"cell_type": "code", "metadata": {}, "execution_count": 1}


def notebook(*cells, **more):
    """Return a notebook of version 4."""
    language = {"language_info": {"name": "python"}}
    return json.dumps({"cells": cells, "metadata": language, "nbformat": 4, "nbformat_minor": 5, **more}).encode()


def passages(data, name):
    """Return (text, page, headings) of each passage."""
    return [(each.text, each.page, each.headings) for each in read_source(data, name).source.passages]


def problem(data, name):
    """Return the reason for which an input is refused."""
    with pytest.raises(BadDocument) as caught:
        read_source(data, name)
    return caught.value.detail


def test_odt_keeps_headings_lists_tables_and_notes():
    """Without comments and deleted text; a note stands at the end of its section."""
    assert passages(make_odf(TEXT, before=STYLE), "r.odt") == [
        ("# Report", None, ("Report",)),
        ("# Costs\n\nRent[1] rose.\n\n- tea\n  - green\n\n| Year | a\\|b |\n\n[1] Of May.", None, ("Costs",)),
        ("## Outlook\n\nBetter.", None, ("Costs", "Outlook")),
    ]


def test_odp_keeps_slides_titles_and_notes():
    """A slide is a passage; one without text keeps its number, and a footer is no content."""
    assert passages(make_odf(SLIDES, "presentation"), "p.odp") == [
        ("# Plan\n\nStep one\n\nNotes: Say hello", 1, ("Plan",)),
        ("End", 3, ()),
    ]


def test_a_notebook_is_markdown_code_and_the_text_of_outputs():
    """A picture is left out, colors and earlier states of a progress bar too; fences are longer than those in code."""
    outputs = [
        {"output_type": "stream", "text": ["10%\r", "99%\n", "done\n"]},
        {"output_type": "display_data", "data": {"image/png": "AAAA", "text/plain": ["<Figure>"]}},
        {"output_type": "error", "traceback": ["\x1b[31mValueError\x1b[0m: no"]},
    ]
    data = notebook(
        {"cell_type": "markdown", "source": ["# Sales\n", "Of May."]},
        {**CODE, "source": "s = '''\n```\n'''", "outputs": outputs},
        {"cell_type": "raw", "metadata": {"raw_mimetype": "text/latex"}, "source": "\\x"},
        {"cell_type": "markdown", "source": "## End"},
    )
    expected = [
        (
            "# Sales\nOf May.\n\n````python\ns = '''\n```\n'''\n````\n\n```text\n99%\ndone\n```\n\n```text\nValueError: no\n```",
            None,
            ("Sales",),
        ),
        ("## End", None, ("Sales", "End")),
    ]
    assert passages(data, "a.ipynb") == passages(data, "-") == expected


def test_a_notebook_of_version_3_is_read():
    """Its cells are in worksheets, and those of headings have a level."""
    cells = [
        {"cell_type": "heading", "level": 2, "source": "Old"},
        {"cell_type": "code", "language": "python", "input": "1+1", "outputs": [{"output_type": "pyout", "text": "2"}]},
    ]
    data = json.dumps({"metadata": {}, "nbformat": 3, "worksheets": [{"cells": cells}]}).encode()
    assert passages(data, "a.ipynb") == [("## Old\n\n```python\n1+1\n```\n\n```text\n2\n```", None, ("Old",))]


def test_they_are_read_in_the_child(monkeypatch):
    """All three by one process."""
    monkeypatch.setattr(reader_process, "_idle_processes", [])
    for data, name in (
        (make_odf(TEXT), "a.odt"),
        (make_odf(SLIDES, "presentation"), "a.odp"),
        (notebook({"cell_type": "markdown", "source": "x"}), "a.ipynb"),
    ):
        assert read_source(data, name).text
        (child,) = reader_process._idle_processes
    child.close()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<text:p>", "not well-formed"),
        ("<text:span>" * 5000 + "</text:span>" * 5000, "nested deeper"),
        ("<text:p>&x;</text:p>", "not well-formed"),
    ],
)
def test_hostile_content_is_refused(content, reason):
    """Open tags, nesting without end, and entities that nothing defines."""
    assert reason in problem(make_odf(f"<office:text>{content}</office:text>"), "a.odt")


def test_declared_entities_truncated_and_encrypted_files_are_refused():
    """Each with one reason."""
    mimetype = {"mimetype": "application/vnd.oasis.opendocument.text"}
    entity = '<!DOCTYPE a [<!ENTITY x "xx"><!ENTITY y "&x;&x;">]><a>&y;</a>'
    assert "entities" in problem(make_zip({**mimetype, "content.xml": entity}), "a.odt")
    assert "content.xml is missing" in problem(make_zip(mimetype), "a.odt")
    assert "damaged" in problem(make_odf(TEXT)[:300], "a.odt")
    manifest = "<manifest><encryption-data/></manifest>"
    assert "encrypted" in problem(make_zip({**mimetype, "META-INF/manifest.xml": manifest}), "a.odt")
    assert "not an OpenDocument text" in problem(make_odf(SLIDES, "presentation"), "a.odt")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"# Markdown", "it is not a Jupyter notebook"),
        (b'{"cells": [', "not JSON"),
        (b'{"a": 1}', "it has no cells"),
        (b'{"cells": [1]}', "cell 1 is no object"),
        (b'{"cells": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deeply"),
    ],
)
def test_what_is_no_notebook_is_refused(data, reason):
    """By its suffix alone it would be one."""
    assert reason in problem(data, "a.ipynb")


def test_json_that_holds_a_notebook_stays_json():
    """As a server of notebooks answers; only the outermost object counts."""
    data = b'{"name": "a.ipynb", "content": ' + notebook() + b"}"
    assert read_source(data, "-").source is None
