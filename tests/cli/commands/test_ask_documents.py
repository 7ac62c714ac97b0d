"""``llm ask`` about documents that are too large, with citations, and about tables."""

import json
import os
from tempfile import mkdtemp

import pytest
from package_files import make_ods
from scripted import all_messages
from source_files import make_xlsx

from llmcli.cli.commands.ask import indexed_sources
from llmcli.cli.input import document_inputs
from llmcli.cli.input.document_inputs import ReloadableInputs
from llmcli.documents.reading import file_reader, streamed_file
from llmcli.errors.incomplete_results import NoLabelAnswered

ROWS = "receipt,shop,price\n" + "".join(f"{n},{'North' if n % 3 else 'South'},{n % 40}\n" for n in range(3000))


def respond(request):
    """Find the needle and quote it, or write SQL."""
    if request.candidates:
        return {"yes": -1.0, "no": -2.0}
    if request.id.startswith("excerpt."):
        return "The code is 4711." if "4711" in all_messages(request) else "NONE"
    if "CREATE TABLE" in all_messages(request):
        return "SELECT shop, count(*) FROM sales GROUP BY shop"
    return "It is 4711 [1]." if "4711" in all_messages(request) else "Not in these documents."


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file and returns its path."""

    def file(name, content):
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return str(tmp_path / name)

    return file


@pytest.fixture
def long_text(write):
    """Return a document larger than the context, with a needle at its end."""
    return write("long.txt", "\n".join(f"Line {n} is about the weather." for n in range(3000)) + "\nThe code is 4711.")


def test_the_passages_of_a_long_document_are_named(llm, long_text):
    """Below the answer, with quotes and their lines; stderr stays empty in a pipe."""
    run = llm("ask", "What is the code?", "-f", long_text, answer=respond)
    assert (run.code, run.err) == (0, "")
    answer, blank, reference = run.out.splitlines()
    assert (answer, blank) == (
        "It is 4711 [1].",
        "",
    ) and reference == f'[1] {long_text}, line 3001: "The code is 4711."'


def test_a_model_that_answers_neither_yes_nor_no_leaves_the_order_by_words(llm, long_text):
    """The passages are not ranked by it, and the question is answered."""

    def answer(request):
        return NoLabelAnswered("the server", detail="I cannot say") if request.candidates else respond(request)

    run = llm("ask", "--json", "What is the code?", "-f", long_text, answer=answer)
    assert (run.code, run.err) == (0, "")
    found = json.loads(run.out)
    assert found["text"] == "It is 4711 [1]." and found["ranking"] == ["words"]


def test_a_text_that_is_too_large_to_be_kept_is_searched_in_an_index(llm, long_text, monkeypatch):
    """The answer and its places are the same; the index is gone afterwards."""
    whole = llm("ask", "What is the code?", "-f", long_text, answer=respond)
    monkeypatch.setattr(file_reader, "MIN_LARGE_BYTES", 1000)
    monkeypatch.setattr(streamed_file, "BLOCK_CHARS", 5000)
    made: list[str] = []
    monkeypatch.setattr(indexed_sources, "mkdtemp", lambda **how: made.append(mkdtemp(**how)) or made[-1])
    run = llm("ask", "What is the code?", "-f", long_text, answer=respond)
    assert (run.code, run.out, run.err) == (0, whole.out, "")
    assert len(made) == 1 and not os.path.exists(made[0])  # noqa: PTH110 (the name is a text)
    shown = llm("ask", "--dry-run", "--json", "What is the code?", "-f", long_text)
    assert json.loads(shown.out)["method"] == "retrieval"


def test_several_large_texts_share_one_index(llm, long_text, write, monkeypatch):
    """An index of its own for each would take memory; the answer names the file of each place."""
    monkeypatch.setattr(file_reader, "MIN_LARGE_BYTES", 1000)
    other = write("other.txt", "Nothing but weather.\n\n" * 400 + "The code is 4711.\n")
    made: list[str] = []
    monkeypatch.setattr(indexed_sources, "mkdtemp", lambda **how: made.append(mkdtemp(**how)) or made[-1])
    run = llm("ask", "--json", "What is the code?", "-f", long_text, "-f", other, answer=respond)
    assert run.code == 0 and len(made) == 1
    assert {each["file"] for each in json.loads(run.out)["references"]} == {long_text, other}


def test_a_question_that_does_not_fit_is_refused_by_dry_run_too(llm, long_text):
    """With the same error and exit code as without."""
    question = "What is the code? " * 2000
    runs = [llm("ask", *options, question, "-f", long_text, answer=respond) for options in ([], ["--dry-run"])]
    ((code, error, out),) = {(run.code, run.err.splitlines()[0], run.out) for run in runs}
    assert (code, out) == (65, "") and "do not fit the context" in error


def test_many_documents_are_searched_in_an_index(llm, write, monkeypatch):
    """The answer, its places and the order of the passages are those of documents that are kept; one at a time is read."""
    weather = "\n".join(f"Line {n} is about the weather." for n in range(800))
    files = [write(f"{name}.txt", f"{weather}\nThe code of {name} is 4711.\n") for name in ("zoe", "adam", "mia")]
    argv = ["ask", "--json", "What is the code?", *(each for name in files for each in ("-f", name))]

    def run():
        called = llm(*argv, answer=respond)
        found = json.loads(called.out)
        return called.code, called.err, {name: each for name, each in found.items() if name != "timings"}

    whole = run()
    assert len(whole[2]["references"]) > 1 and whole[2]["method"] == "retrieval"
    monkeypatch.setattr(document_inputs, "MAX_KEPT_CHARACTERS", 100)
    again: list[int] = []
    original = ReloadableInputs._read_again
    monkeypatch.setattr(
        ReloadableInputs, "_read_again", lambda self, index: again.append(index) or original(self, index)
    )
    made: list[str] = []
    monkeypatch.setattr(indexed_sources, "mkdtemp", lambda **how: made.append(mkdtemp(**how)) or made[-1])
    assert run() == whole
    assert again == [0, 1, 2]
    assert len(made) == 1 and not os.path.exists(made[0])  # noqa: PTH110 (the name is a text)


def test_a_document_that_is_gone_when_it_is_indexed_fails_the_question(llm, write, monkeypatch):
    """With the exit code of a missing file."""
    files = [write(f"{n}.txt", "\n".join(f"Line {n} of {each}." for each in range(2000))) for n in range(2)]
    monkeypatch.setattr(document_inputs, "MAX_KEPT_CHARACTERS", 100)
    original = ReloadableInputs.add

    def add(self, name):
        original(self, name)
        if name == files[1]:
            os.remove(name)  # noqa: PTH107 (the name is a text)

    monkeypatch.setattr(ReloadableInputs, "add", add)
    run = llm("ask", "Which line?", "-f", files[0], "-f", files[1], answer=respond)
    assert (run.code, run.out) == (66, "") and files[1] in run.err


def test_many_tables_are_still_answered_by_sql(llm, write, monkeypatch):
    """Although their overviews are not kept."""
    monkeypatch.setattr(document_inputs, "MAX_KEPT_CHARACTERS", 100)
    files = [write("sales.csv", ROWS), write("more.csv", ROWS)]
    run = llm("ask", "How many rows has each shop?", "-f", files[0], "-f", files[1], answer=respond)
    assert (run.code, run.out) == (0, "North\t2000\nSouth\t1000\n")


def test_a_terminal_says_what_was_read(llm, long_text, terminal):
    """In one line on stderr."""
    screen = terminal(columns=200)
    run = llm("ask", "What is the code?", "-f", long_text, answer=respond, err=screen.slave)
    shown = screen.close()
    assert run.code == 0 and shown.count("do not fit the context, so the answer is from") == 1


def test_an_unanswered_question_is_flagged(llm, long_text):
    """With exit code 0 and without references in the text."""
    run = llm("ask", "Which line is about unicorns?", "-f", long_text, answer=respond)
    assert (run.code, run.out) == (0, "Not in these documents.\n")


def test_prose_is_read_before_code_that_ranks_near(llm, write):
    """Where the context has room for one of them, and the code has more of the words."""
    vault = "open the vault with the password of the porter and wait"
    code = write("code.md", "# Vault\n\n```sh\n" + f"{vault}\n" * 12 + "```\n")
    prose = write(
        "prose.md", "# Key\n\nThe password of the vault is kept by the porter. " + "He sits at the gate. " * 25
    )
    other = write("other.txt", "\n".join(f"Line {n} is about weather." for n in range(900)))
    files = [each for name in (code, prose, other) for each in ("-f", name)]
    run = llm("ask", "vault password porter", *files, answer=lambda _: "The porter.", context=400, scores=False)
    assert run.code == 0 and f"[1] {prose}, line" in run.out and code not in run.out


def test_a_small_model_is_asked_once(llm, long_text):
    """It does not rank passages: the order by words stands, and it reads them whole."""
    runs = [
        llm("ask", "--json", "What is the code?", "-f", long_text, answer=respond, parameters=parameters)
        for parameters in (135_000_000, 1_500_000_000)
    ]
    small, large = (json.loads(run.out) for run in runs)
    assert (small["ranking"], large["ranking"]) == (["words"], ["words", "yes/no"])
    assert small["text"] == large["text"] == "It is 4711 [1]."
    assert [each.id for each in runs[0].backend.requests if not each.id.startswith("quote.")] == ["ask"]


def test_a_small_document_is_cited_on_request(llm, write):
    """With the passages as references; without a citation in the answer it says so."""
    file = write("a.md", "# One\n\nalpha\n\n# Two\n\nbeta\n")
    run = llm("ask", "?", "--cite", "-f", file, answer=lambda _: "beta [2].")
    assert run.out == f"beta [2].\n\n[2] {file}, lines 5-7\n"
    run = llm("ask", "?", "--cite", "-f", file, answer=lambda _: "beta.")
    assert "cites no passage" in run.out and "[1]" in run.out and "[2]" in run.out
    found = json.loads(llm("ask", "?", "--cite", "--json", "-f", file, answer=lambda _: "beta [2].").out)
    assert (
        found["references"][1] | {"start": 14, "end": 25, "cited": True, "headings": ["Two"]} == found["references"][1]
    )


@pytest.mark.parametrize("argv", [[], ["--sql"]])
def test_a_large_table_is_answered_by_sql(llm, write, argv):
    """The rows are printed, with tabs between the values; -v shows the query."""
    file = write("sales.csv", ROWS)
    run = llm("ask", "How many receipts has each shop?", "-f", file, *argv, answer=respond)
    assert (run.code, run.out, run.err) == (0, "North\t2000\nSouth\t1000\n", "")
    assert "llm: SQL: SELECT shop, count(*)" in llm("ask", "?", "-v", "-f", file, *argv, answer=respond).err
    found = json.loads(llm("ask", "?", "--json", "-f", file, *argv, answer=respond).out)
    assert found["rows"] == [["North", 2000], ["South", 1000]] and found["columns"] == ["shop", "count(*)"]
    assert (found["method"], found["truncated"], "text" in found) == ("sql", False, False)


STAFF = [
    ["Staff of 2026"],
    ["name", "city", "age"],
    *([f"n{n}", ("Kiel", "Rome")[n % 2], 20 + n % 40] for n in range(3000)),
]
ORDERS = [["order", "amount"], ["a\nb", 1.5], ["c|d", 3]]


@pytest.mark.parametrize(("suffix", "make"), [("xlsx", make_xlsx), ("ods", make_ods)])
@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("How many people are there?", 3000),
        ("How many people live in Rome?", 1500),
        ("What is the average age?", 39.5),
        ("What is the total amount?", 4.5),
        ("How many orders are there?", 2),
    ],
)
def test_workbooks_are_answered_by_sql(llm, write, suffix, make, question, value):
    """All rows of all sheets count, large and small ones; a title above a header is none of them."""
    file = write(f"firm.{suffix}", make(People=STAFF, Orders=ORDERS))
    run = llm("ask", question, "-f", file, "--json", answer=respond)
    found = json.loads(run.out)
    assert (run.code, run.err, found["rows"], found["template"] is None) == (0, "", [[value]], False)
    assert not run.backend.requests


def test_the_only_sheet_of_a_workbook_has_the_name_of_the_file(llm, write, tmp_path):
    """Also in standard input, where a large sheet is an overview, which is said."""
    file = write("orders.xlsx", make_xlsx(Sheet1=ORDERS, Empty=[]))
    assert llm("ask", "How many orders are there?", "-f", file).out == "2\n"
    piped = (tmp_path / "orders.xlsx").read_bytes()
    assert llm("ask", "How many rows are there?", "-f", "-", stdin=piped).out == "2\n"
    run = llm("ask", "How many rows?", "-f", "-", "-v", stdin=make_xlsx(Sheet1=STAFF), answer=respond, context=1 << 16)
    assert "given to the model as an overview" in run.err and run.backend.requests
    run = llm("ask", "How many?", "--sql", "-f", "-", stdin=make_xlsx(Sheet1=STAFF), answer=respond)
    assert run.code == 65 and "too large for standard input; name the file" in run.err


@pytest.mark.parametrize("argv", [("ask", "--sql", "How many?", "-f"), ("summarize", "--insights")])
@pytest.mark.parametrize(("name", "text"), [("a.jsonl", '{"a": 1}\n{"a"\n'), ("a.csv", 'a,b\n1,2\n"x,1\n')])
def test_a_bad_row_is_to_be_corrected(llm, write, argv, name, text):
    """These commands read the format that the name shows; --format is not for them."""
    run = llm(*argv, write(name, text))
    assert run.code == 65 and f"{name}, line " in run.err and run.err.endswith("\nCorrect the file.\n")


def test_a_workbook_without_a_table_is_read(llm, write):
    """By the model; with --sql the error says why."""
    file = write("note.xlsx", make_xlsx(Sheet1=[["a note"]]))
    assert llm("ask", "How many?", "-f", file, answer=lambda _: "One.").out == "One.\n"
    run = llm("ask", "How many?", "--sql", "-f", file)
    assert run.code == 65 and "no sheet has a header and a row" in run.err


def test_nothing_in_a_table_is_said_in_words(llm, write):
    """On stdout, and in a pipe on stderr, too; never an empty line."""
    file = write("sales.csv", ROWS)
    nothing = "SELECT sum(price) FROM sales WHERE shop = 'west'"
    for argv in ([], ["-q"], ["--json"], ["-v"]):
        run = llm("ask", "How many receipts has the West?", "-f", file, *argv, answer=lambda _: nothing)
        assert run.code == 0 and len(run.backend.requests) == 2
        assert "All texts in \"sales\".\"shop\": 'North', 'South'" in all_messages(run.backend.requests[1])
        if argv == ["--json"]:
            found = json.loads(run.out)
            assert (found["answered"], found["rows"], found["sql"]) == (False, [[None]], nothing)
            assert (found["warnings"][1:], run.err) == (["two queries found nothing"], "")
        else:
            assert run.out == "no rows\n" and run.err.count("two queries found nothing") == (argv != ["-q"])


def test_how_many_is_answered_by_a_number(llm, write):
    """A column is asked for again; if no query gives a number, the exit code is 3."""
    file = write("sales.csv", ROWS)
    column, count = "SELECT price FROM sales", "SELECT count(*) FROM sales WHERE shop = 'North'"

    def answer(request):
        return count if "asks for one number, but it returns more than 1000 rows" in all_messages(request) else column

    run = llm("ask", "so how many, or not?", "-f", file, answer=answer)
    assert (run.code, run.out, run.err) == (0, "2000\n", "")
    run = llm("ask", "How many, or not?", "-f", file, answer=lambda _: column)
    assert (run.code, run.out) == (3, "") and "asks for one number" in run.err


@pytest.mark.parametrize("rows", [ROWS, "receipt,shop,price\n1,North,3\n2,South,4\n"])
def test_a_question_that_a_template_reads_needs_no_model(llm, write, rows):
    """Of a large and of a small table; the query is shown, and JSON says which template it is."""
    file = write("sales.csv", rows)
    count = rows.count("South")
    run = llm("ask", "How many receipts has the South?", "-f", file)
    assert (run.code, run.out, run.err, run.backend.requests) == (0, f"{count}\n", "", [])
    sql = """SELECT COUNT(*) FROM "sales" WHERE "shop" = 'South'"""
    assert f"llm: SQL: {sql}" in llm("ask", "How many receipts has the South?", "-v", "-f", file).err
    found = json.loads(llm("ask", "How many receipts has the South?", "--json", "-f", file).out)
    assert (found["template"], found["sql"], found["rows"], found["unexplained"]) == ("count", sql, [[count]], [])


def test_words_that_the_table_does_not_have_are_said(llm, write):
    """On stderr in a pipe, too: a script has to see that the answer may be to another question."""
    file = write("rated.csv", "text,label\ngood,positive\nbad,negative\nawful,negative\n")
    run = llm("ask", "How many reviews are negative?", "-f", file)
    assert (run.code, run.out, run.backend.requests) == (0, "2\n", [])
    assert run.err == "llm: warning: check the query, since the table has nothing called: reviews\n"
    run = llm("ask", "How many in Berlin?", "-f", file, answer=lambda _: "SELECT COUNT(*) FROM rated")
    assert (run.code, run.out) == (3, "") and 'it does not use "Berlin", which the question names' in run.err


def test_instructions_are_for_a_model(llm, write):
    """So it reads the table."""
    file = write("sales.csv", "shop,price\nNorth,3\nNorth,4\n")
    run = llm("ask", "-s", "In one sentence.", "How many rows are there?", "-f", file, answer=lambda _: "Two.")
    assert (run.out, len(run.backend.requests)) == ("Two.\n", 1)


def test_a_terminal_shows_the_query(llm, write, terminal):
    """Unless -q."""
    file, screens = write("sales.csv", ROWS), {}
    for argv in ((), ("-q",)):
        screen = terminal(columns=200)
        assert llm("ask", "?", "-f", file, *argv, answer=respond, err=screen.slave).code == 0
        screens[argv] = screen.close()
    assert "llm: SQL: SELECT shop, count(*)" in screens[()] and "SELECT" not in screens["-q",]


def test_a_small_table_is_read_as_it_is(llm, write):
    """Unless SQL is wanted."""
    file = write("sales.csv", "shop,price\nNorth,3\nNorth,4\n")
    assert llm("ask", "?", "-f", file, answer=lambda _: "yes").out == "yes\n"
    assert llm("ask", "?", "--sql", "-f", file, answer=respond).out == "North\t2\n"


def test_json_of_another_shape_is_read_as_an_overview(llm, write):
    """It has no rows."""
    file = write("a.json", json.dumps({f"key{n}": {"value": n} for n in range(5000)}))
    run = llm("ask", "?", "-f", file, answer=lambda _: "yes")
    assert run.code == 0 and "Overview of 1 JSON values" in all_messages(run.backend.requests[0])
    assert llm("ask", "?", "--sql", "-f", file, answer=respond).code == 65


def test_sql_that_does_not_work_is_a_failure(llm, write):
    """With exit code 3 and the reason."""
    run = llm("ask", "?", "-f", write("sales.csv", ROWS), answer=lambda _: "ATTACH 'x' AS y")
    assert (run.code, run.out) == (3, "")
    assert (
        "no query of the model answers the question; the last one was: ATTACH 'x' AS y: only SELECT is allowed"
        in run.err
    )
    run = llm("ask", "?", "-f", write("sales.csv", ROWS), answer=lambda _: "")
    assert run.code == 3 and run.err.startswith("llm: the model wrote no SQL\n")


@pytest.mark.parametrize(("argv", "said"), [(["--sql"], "needs tables"), (["--cite"], "needs documents")])
def test_options_without_documents(llm, argv, said):
    """They are wrong."""
    run = llm("ask", "?", "--no-stdin", *argv)
    assert run.code == 2 and said in run.err
