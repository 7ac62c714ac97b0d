"""Tables of CSV and JSON documents."""

from pathlib import Path

import pytest

from llmcli.documents.reading import file_reader
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.source_reader import read_source
from llmcli.errors import BadDocument
from llmcli.interrupt import Interrupt
from llmcli.tasks.tables.streamed_rows import StreamedRows
from llmcli.tasks.tables.table_database import TableDatabase
from llmcli.tasks.tables.table_loader import load_tables


def load(name, text):
    return load_tables([Document(name, text, Path(name))], Interrupt())


def test_values_of_csv_are_numbers_where_most_are():
    """Codes with leading zeros stay texts, and so does a column of texts; "n/a" among numbers is an empty cell."""
    (table,) = load("My sales.csv", "zip,price,name,x\n00123,3.50,1984,\n04567,n/a,Emma,\n10115,7,Ulysses,\n,8,Dune,\n")
    assert (table.name, table.columns) == ("my_sales", ("zip", "price", "name", "x"))
    assert table.rows[0] == ["00123", 3.5, "1984", None]
    assert [row[1] for row in table.rows] == [3.5, None, 7, 8] and table.rows[3][0] is None


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('a,b\nx,"3,600,000"\ny,330\nz,"1,200.5"\n', [3600000, 330, 1200.5]),
        ('a,b\nx,"3,600"\ny,"2,800"\n', [3600, 2800]),  # commas separate the columns, so they are no decimal ones
        ('a,b\nx,"1,5"\ny,"2,25"\nz,"3"\n', ["1,5", "2,25", "3"]),  # a list, or a decimal comma?
        ("a;b\nx;1,50\ny;2\nz;1.200,5\n", [1.5, 2, 1200.5]),
        ("a;b;c\nx;1.234;1,5\ny;330;2,5\n", [1234, 330]),  # the other column shows what a comma is
        ("a;b\nx;1.234\ny;330.5\n", [1.234, 330.5]),
        ("a;b\nx;1,234\ny;2,345\n", ["1,234", "2,345"]),  # thousands, or a little more than one?
        ("a;b\nx;1,234\ny;345\n", [1234, 345]),
        ("a,b\nx,0.0013080000000000001\ny,2\n", [0.0013080000000000001, 2]),
        ('a,b\nx,"1,234"\ny,5 kg\nz,7\nz,7\nz,7\n', ["1,234", "5 kg", 7, 7, 7]),
    ],
)
def test_numbers_with_separators(text, values):
    """Separators of thousands and decimal commas, where it is clear which they are."""
    assert [row[1] for row in load("a.csv", text)[0].rows] == values


def test_rows_of_other_lengths_are_kept():
    """More columns get names, and missing values are empty."""
    (table,) = load("a.csv", "a;A;\n1\n1;2;3;4\n\n")
    assert table.columns == ("a", "A_2", "column_3", "column_4")
    assert table.rows == [[1, None, None, None], [1, 2, 3, 4]]


def test_a_csv_file_is_read_as_records_are():
    """Blank lines, a line that names the delimiter, and quotes in the header."""
    (table,) = load("a.csv", '\nsep=;\na;"b,c,d"\n\n1;2\n;\n')
    assert (table.columns, table.rows) == (("a", "b,c,d"), [[1, 2], [None, None]])
    assert load("a.tsv", "a,b\tc\n1,2\t3\n")[0].columns == ("a,b", "c")
    with pytest.raises(BadDocument) as raised:
        load("a.csv", 'a,b\n1,"2\n3,4\n')
    assert raised.value.line == 2 and "quote" in raised.value.detail


def test_paths_of_json_are_columns():
    """Objects are flattened, lists stay JSON."""
    (table,) = load("a.json", '[{"a": {"b": 1}, "t": ["x"]}, {"a": {"b": null}, "c": true}]')
    assert table.columns == ("a.b", "t", "c")
    assert table.rows == [[1, '["x"]', None], [None, None, True]]


def test_each_list_of_an_object_is_a_table():
    """Named by its key; a single one by the file."""
    assert [each.name for each in load("a.json", '{"x": [{"a": 1}], "y": [{"b": 2}], "n": 3}')] == ["x", "y"]
    assert [each.name for each in load("2024.json", '{"rows": [{"a": 1}]}')] == ["t_2024"]


def test_json_lines_are_rows():
    """A broken line is reported with its number."""
    assert load("a.jsonl", '{"a": 1}\n\n{"a": 2}\n')[0].rows == [[1], [2]]
    with pytest.raises(BadDocument) as raised:
        load("a.jsonl", '{"a": 1}\n{"a": \n')
    assert raised.value.line == 2


@pytest.mark.parametrize(("name", "text"), [("a.json", '{"a": 1}'), ("a.json", "3"), ("a.json", "[]"), ("a.csv", "\n")])
def test_what_is_no_table_is_refused(name, text):
    """With the name of the file."""
    with pytest.raises(BadDocument) as raised:
        load(name, text)
    assert raised.value.subject == name


def test_a_large_file_is_loaded_whole(tmp_path):
    """Though the model would read an overview."""
    file = tmp_path / "big.csv"
    file.write_text("a,b\n" + "1,2\n" * 20_000)
    document = read_source(file.read_bytes(), str(file), file)
    assert document.source is not None and len(load_tables([document], Interrupt())[0].rows) == 20_000


def test_huge_numbers_are_kept():
    """SQLite's integers have 64 bits."""
    assert load("a.json", f'[{{"a": {2**70}}}]')[0].rows == [[float(2**70)]]
    assert load("a.csv", f"a\n{10**30}\n")[0].rows == [[str(10**30)]]


def test_a_large_table_stays_in_its_file(tmp_path, monkeypatch):
    """Its columns and rows are those of the whole; a query sees all of them."""
    rows = "".join(f'{n},"ship ""{n}"", line\n{n}",00{n}\n' for n in range(3000))
    texts = {"a.csv": "number,name,code\n" + rows}
    texts["b.jsonl"] = (
        "".join(f'{{"number": {n}, "at": {{"x": {n / 2}}}}}\n' for n in range(3000)) + '{"other": true}\n'
    )
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        document = read_source(text.encode(), str(tmp_path / name), tmp_path / name)
        (whole,) = load_tables([document], Interrupt())
        with monkeypatch.context() as patch:
            patch.setattr(file_reader, "MIN_LARGE_BYTES", 1000)
            (found,) = load_tables([document], Interrupt())
            assert isinstance(found.rows, StreamedRows) and not isinstance(whole.rows, StreamedRows)
            assert (found.name, found.columns, len(found.rows)) == (whole.name, whole.columns, len(whole.rows))
            assert found.rows[:3] == whole.rows[:3] and found.rows[5:9] == whole.rows[5:9]
            assert found.rows[0] == whole.rows[0] and found.rows[:] == [*whole.rows]
            with TableDatabase([found], Interrupt()) as database:
                query = f"SELECT count(*), count(number) FROM {found.name}"
                assert database.query(query).rows[0][0] == len(whole.rows)
