"""Lines as records."""

from hypothesis import given
from hypothesis import strategies as st

from llmcli.documents.records import Record, iter_line_records


def test_a_line_is_a_record():
    """Line ends are not part of a record, blank lines count, the last line may lack its end."""
    assert list(iter_line_records("a\r\n\n b \nc")) == [
        Record(0, "a", 1),
        Record(1, "", 2),
        Record(2, " b ", 3),
        Record(3, "c", 4),
    ]


def test_an_empty_input_has_no_records():
    """An empty input has none, a lone line end has one blank record."""
    assert list(iter_line_records("")) == []
    assert list(iter_line_records("\n")) == [Record(0, "", 1)]


@given(st.text(alphabet="a\n\u2028\x0b\x85"))
def test_output_lines_up_with_input(text):
    """There are as many records as ``wc -l`` counts lines, plus one for a last line without an end."""
    assert len(list(iter_line_records(text))) == text.count("\n") + (not text.endswith("\n") and text != "")
