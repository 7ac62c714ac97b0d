"""Shares of a job: the merged outputs of all shards are the output of one run, and nothing else is merged."""

from __future__ import annotations

import json
import random
import resource
import signal
import struct
from pathlib import Path

import pytest
from killed_runs import KilledRuns
from scripted import last_message

from llmcli.cli.records import job_checkpoint

ROWS = 23
TEXTS = ["good", "", "boom", '"two\nlines"', "x,extra", "same", "same"]
KILLS = 4


@pytest.fixture
def table(write):
    """Return a CSV file with blank, failing, malformed and repeated rows."""
    rows = (f"k{number % 5},{TEXTS[number % 7]}{'' if number % 7 in {1, 5, 6} else ' '}\n" for number in range(ROWS))
    return write("in.csv", "key,text\n" + "".join(rows))


@pytest.fixture
def shards(llm, scores, tmp_path):
    """Run a command once for each shard, and return the paths of the parts."""

    def run(count, *argv, suffix=".csv", codes=(0, 1, 3)):
        paths = [str(tmp_path / f"part-{number}{suffix}") for number in range(1, count + 1)]
        for number, path in enumerate(paths, 1):
            ended = llm(*argv, "--shard", f"{number}/{count}", "-o", path, answer=scores)
            assert ended.code in codes, ended.err
        return paths

    return run


@pytest.mark.parametrize(
    "case",
    [
        ((), ".csv"),
        ((), ".tsv"),
        ((), ".jsonl"),
        ((), ".txt"),
        (("--json",), ".jsonl"),
        (("--on-error", "skip"), ".csv"),
        (("--on-error", "skip", "--json"), ".jsonl"),
        (("--dedupe",), ".csv"),
        (("--limit", "11"), ".csv"),
        (("--sample", "9", "--seed", "3"), ".csv"),
        (("--column", "key", "--overwrite"), ".csv"),
    ],
)
def test_merged_parts_are_the_output_of_one_run(llm, scores, shards, table, tmp_path, case):
    """Byte for byte, with records that are blank, malformed or fail; the exit code is that of one run, too."""
    options, suffix = case
    whole, merged = tmp_path / f"whole{suffix}", tmp_path / f"merged{suffix}"
    argv = ("sentiment", table, *options)
    code = llm(*argv, "-o", str(whole), answer=scores).code
    parts = shards(3, *argv, suffix=suffix)
    run = llm("merge", *reversed(parts), "-o", str(merged))
    assert run.code == code and merged.read_bytes() == whole.read_bytes(), run.err


@pytest.mark.parametrize("options", [(), ("--on-error", "skip")], ids=["all rows", "fewer rows"])
def test_parquet_parts_are_merged(llm, scores, shards, table, tmp_path, options):
    """The rows and the columns are those of one run."""
    import pyarrow.parquet as pq

    argv = ("sentiment", table, *options)
    llm(*argv, "-o", str(tmp_path / "whole.parquet"), answer=scores)
    parts = shards(3, *argv, suffix=".parquet")
    assert llm("merge", *parts, "-o", str(tmp_path / "merged.parquet")).code == 3
    whole, merged = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("whole", "merged"))
    assert merged.to_pylist() == whole.to_pylist() and merged.column_names == whole.column_names


def test_parquet_parts_of_several_row_groups_are_merged(llm, shards, write, tmp_path, scores):
    """A window of the merged rows needs other numbers of rows of each part."""
    import pyarrow.parquet as pq

    path = write("in.csv", "key,text\n" + "".join(f"{number % 11},t{number % 7}\n" for number in range(9_000)))
    parts = shards(2, "sentiment", path, "--dedupe", suffix=".parquet", codes=(0,))
    assert llm("merge", *parts, "-o", str(tmp_path / "merged.parquet")).code == 0
    merged = pq.read_table(tmp_path / "merged.parquet").to_pylist()
    assert [row["key"] for row in merged] == [str(number % 11) for number in range(9_000)]
    assert [row["text"] for row in merged] == [f"t{number % 7}" for number in range(9_000)]


@pytest.mark.parametrize(
    "options", [("--output-format", "lines"), ("--output-format", "lines", "-n"), ("--invert",), ("--json",)]
)
def test_parts_of_filter_are_merged(llm, scores, shards, table, tmp_path, options):
    """Only the records that match have rows, in the order of the input."""
    argv = ("filter", "it is good", table, "--column", "text", *options)
    whole, merged = tmp_path / "whole.txt", tmp_path / "merged.txt"
    assert llm(*argv, "-o", str(whole), answer=scores).code == 3
    parts = shards(4, *argv, suffix=".txt")
    assert llm("merge", *parts, "-o", str(merged)).code == 3
    assert merged.read_bytes() == whole.read_bytes() != b""


@pytest.mark.parametrize("argv", [("ask", "Say it", "-f"), ("summarize",), ("translate", "--to", "fr"), ("embed",)])
def test_other_verbs_take_a_share(llm, write, tmp_path, argv):
    """Each verb over records has the option."""
    path = write("in.csv", "text\none\ntwo\nthree\n")
    outputs = [str(tmp_path / f"part-{number}.csv") for number in (1, 2)]
    command = (*argv, path, "--column", "text")
    scripting = {"answer": lambda _: struct.pack("<2f", 0.6, 0.8) if argv[0] == "embed" else "a word"}
    for number, output in enumerate(outputs, 1):
        assert llm(*command, "--shard", f"{number}/2", "-o", output, **scripting).code == 0
    assert llm(*command, "-o", str(tmp_path / "whole.csv"), **scripting).code == 0
    assert llm("merge", *outputs, "-o", str(tmp_path / "merged.csv")).code == 0
    assert (tmp_path / "merged.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_shard_may_be_empty_or_fail_as_a_whole(llm, scores, write, shards, tmp_path):
    """With more shards than records, and where all records of one failed, the parts still make the whole."""
    path = write("in.csv", "text\ngood\nboom\n")
    parts = shards(4, "sentiment", path)
    merged = tmp_path / "merged.csv"
    assert llm("merge", *parts, "-o", str(merged)).code == 3
    assert [line.split(",")[0] for line in merged.read_text().splitlines()] == ["text", "good", "boom"]


def test_the_summary_of_all_parts_is_that_of_one_run(llm, scores, shards, table, tmp_path):
    """--summary of merge adds the counts of the parts."""
    whole, merged = tmp_path / "whole.json", tmp_path / "merged.json"
    argv = ("sentiment", table)
    llm(*argv, "--summary", str(whole), "-o", str(tmp_path / "whole.csv"), answer=scores)
    parts = shards(3, *argv)
    llm("merge", *parts, "-o", str(tmp_path / "merged.csv"), "--summary", str(merged))
    assert json.loads(merged.read_text()) == json.loads(whole.read_text())


def test_merge_prints_json(llm, shards, table, tmp_path):
    """An object with the counts; what failed is an object on standard error."""
    parts = shards(2, "sentiment", table)
    run = llm("merge", "--json", *parts, "-o", str(tmp_path / "merged.csv"))
    assert json.loads(run.out) == {"parts": 2, "records": ROWS, "failed": 6, "incomplete": 0}
    assert "6 records failed" in json.loads(run.err)["error"]["message"]


def even(request):
    """Return the same score for each label; no text fails."""
    return dict.fromkeys(request.candidates, -1.0)


# ---- jobs ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(llm, scores, write, tmp_path):
    """Return the command line of a shard that an error has stopped, its part, and the other part."""
    path = write("in.csv", "text\na\nb\nc\nd\nboom\nf\ng\n")
    argv = ("sentiment", path, "--on-error", "fail")
    other, part = str(tmp_path / "part-2.csv"), str(tmp_path / "part-1.csv")
    assert llm(*argv, "--shard", "2/2", "-o", other, answer=scores).code == 0
    assert llm(*argv, "--shard", "1/2", "-o", part, answer=scores).code == 3
    return (*argv, "--shard", "1/2", "-o", part), part, other


def test_a_part_is_merged_only_when_its_job_is_complete(llm, scores, stopped, tmp_path):
    """Until then merge says how to go on; --resume processes the rest, of this shard alone."""
    argv, part, other = stopped
    merged = tmp_path / "merged.csv"
    run = llm("merge", part, other, "-o", str(merged))
    assert run.code == 65 and "2 records are done" in run.err and "--resume" in run.err and not merged.exists()
    run = llm(*argv, "--resume", answer=even)
    assert run.code == 0 and [last_message(r).split("\n")[0] for r in run.backend.requests] == ["Text: boom", "Text: g"]
    assert llm("merge", part, other, "-o", str(merged)).code == 0
    assert [line.split(",")[0] for line in merged.read_text().splitlines()[1:]] == [
        "a",
        "b",
        "c",
        "d",
        "boom",
        "f",
        "g",
    ]


def test_another_shard_cannot_resume_the_job(llm, scores, stopped):
    """The manifest has the shard."""
    argv, _, _ = stopped
    run = llm(*(word.replace("1/2", "1/3") for word in argv), "--resume", answer=scores)
    assert run.code == 2 and "--shard" in run.err


def test_a_complete_shard_is_not_processed_again(llm, scores, shards, table):
    """--resume of a part that is complete asks nothing; without its index, the shard is processed again."""
    (part,) = shards(1, "filter", "it is good", table, "--column", "key")
    before = [Path(name).read_bytes() for name in (part, f"{part}.shard")]
    argv = ("filter", "it is good", table, "--column", "key", "--shard", "1/1", "--resume", "-o", part)
    assert llm(*argv, answer=scores).backend.requests == []
    index = Path(f"{part}.shard")
    index.unlink()
    assert llm(*argv, answer=scores).backend.requests
    assert [Path(part).read_bytes(), index.read_bytes()] == before


def test_failed_records_of_a_part_are_retried(llm, scores, shards, table, tmp_path):
    """--retry-failed repairs the part, and the parts are merged again."""
    argv = ("sentiment", table)
    parts = shards(2, *argv)
    for number, part in enumerate(parts, 1):
        run = llm(
            *argv,
            "--shard",
            f"{number}/2",
            "-o",
            part,
            "--retry-failed",
            answer=lambda r: dict.fromkeys(r.candidates, -1.0),
        )
        assert run.code == 3  # the malformed rows stay
        assert all("boom" in last_message(request) for request in run.backend.requests)
    merged = tmp_path / "merged.csv"
    assert llm("merge", *parts, "-o", str(merged)).code == 3
    assert merged.read_text().count("has 3 fields") == 3 and "internal error" not in merged.read_text()


def save_often():
    """Save a checkpoint after each record."""
    job_checkpoint._CHECKPOINT_S, job_checkpoint._MAX_CHECKPOINT_SHARE = 0.0, 1e9


@pytest.mark.slow
@pytest.mark.parametrize("saves_often", [False, True])
def test_kills_at_random_moments(llm, tiny, scores, table, tmp_path, saves_often):
    """However often a shard is killed, wherever, the resumed part is that of an undisturbed run, and can be merged."""
    child = KilledRuns(scores, tiny("llama"), tmp_path / "messages")
    argv = ("filter", "it is good", table, "--column", "text", "--shard", "1/1", "-o")
    whole = tmp_path / "whole.csv"
    assert child(*argv, str(whole)) == 3
    chance, kills, outputs = random.Random(41), 0, 0
    while kills < KILLS:
        part = tmp_path / f"part{outputs}.csv"
        outputs += 1
        code = -signal.SIGKILL
        while code == -signal.SIGKILL:
            how = {"prepare": save_often} if saves_often else {}
            code = child(*argv, str(part), "--resume", kill_at=chance.randrange(1, 400 if saves_often else 60), **how)
            kills += code == -signal.SIGKILL
        if not part.exists():
            assert child(*argv, str(part), "--resume") == 3
        assert part.read_bytes() == whole.read_bytes()
        merged = tmp_path / "merged.csv"
        assert llm("merge", str(part), "-o", str(merged)).code == 3
        assert merged.read_bytes() == whole.read_bytes()


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--temperature", "1"], "temperature"),
        (["--limit", "8"], "limit"),
        (["--column", "key"], "column"),
        (["--dedupe"], "--dedupe"),
    ],
)
def test_parts_of_other_options_are_refused(llm, scores, shards, table, tmp_path, change, named):
    """The message has one line with what differs; nothing is written."""
    shards(2, "sentiment", table)
    first, second = str(tmp_path / "part-1.csv"), str(tmp_path / "part-2.csv")
    assert llm("sentiment", table, *change, "--shard", "2/2", "-o", second, answer=scores).code in {0, 3}
    check_refused(llm, tmp_path, [first, second], 2, named)


def test_parts_of_an_earlier_release_are_merged(llm, shards, table, tmp_path):
    """Its manifest has options that are gone, which were not given."""
    parts = shards(2, "sentiment", table)
    index = tmp_path / "part-1.csv.shard"
    content = index.read_bytes()
    begin = content.index(b'{"shard"')
    info = json.loads(content[begin:-12])
    info["manifest"] |= {"--unordered": False, "--shard-by": None}
    data = json.dumps(info).encode()
    index.write_bytes(content[:begin] + data + struct.pack("<I", len(data)) + content[-8:])
    assert llm("merge", *parts, "-o", str(tmp_path / "merged.csv")).code == 3


def test_parts_of_another_model_are_refused(llm, scores, shards, table, tiny, tmp_path):
    """The message says that the model differs."""
    parts = shards(2, "sentiment", table)
    other = tiny("gemma3")
    assert llm("sentiment", table, "-m", str(other), "--shard", "2/2", "-o", parts[1], answer=scores).code == 3
    check_refused(llm, tmp_path, parts, 2, "model")


def check_refused(llm, tmp_path, parts, code, *words):
    """Check that merging fails with this code, in one line and one of advice, and writes nothing."""
    merged = tmp_path / "merged.csv"
    merged.write_text("earlier")
    run = llm("merge", *parts, "-o", str(merged))
    assert run.code == code and all(word in run.err for word in words), run.err
    assert len(run.err.splitlines()) <= 2 and merged.read_text() == "earlier"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".llm")]


def test_parts_of_another_input_are_refused(llm, scores, shards, table, write, tmp_path):
    """Also if only a record of another shard has changed."""
    parts = shards(2, "sentiment", table)
    changed = write("changed.csv", Path(table).read_text().replace("k0,good", "k0,bad", 1))
    assert llm("sentiment", changed, "--shard", "2/2", "-o", parts[1], answer=scores).code == 3
    check_refused(llm, tmp_path, parts, 2, "input")


def test_the_same_input_under_another_name_is_fine(llm, scores, shards, table, write, tmp_path):
    """Nodes mount a file in different places."""
    parts = shards(2, "sentiment", table)
    moved = write("moved.csv", Path(table).read_text())
    assert llm("sentiment", moved, "--shard", "2/2", "-o", parts[1], answer=scores).code == 3
    assert llm("merge", *parts, "-o", str(tmp_path / "merged.csv")).code == 3


def test_missing_parts_are_named(llm, shards, table, tmp_path):
    """By the argument of --shard, a few of them."""
    parts = shards(9, "sentiment", table)
    check_refused(llm, tmp_path, [*parts[:2], *parts[3:]], 66, "the part of --shard 3/9 is missing")
    check_refused(llm, tmp_path, parts[:1], 66, "2/9, 3/9, 4/9, 5/9, 6/9 and 3 more are missing")


def test_two_parts_of_one_shard_are_refused(llm, scores, shards, table, tmp_path):
    """Both are named; so is a part of another number of shards."""
    parts = shards(2, "sentiment", table)
    again = str(tmp_path / "again.csv")
    assert llm("sentiment", table, "--shard", "2/2", "-o", again, answer=scores).code == 3
    check_refused(llm, tmp_path, [*parts, again], 2, "part-2.csv", "again.csv", "2/2")
    assert llm("sentiment", table, "--shard", "2/3", "-o", again, answer=scores).code == 3
    check_refused(llm, tmp_path, [*parts, again], 2, "again.csv", "(2, 3)")


def test_a_changed_part_is_refused(llm, shards, table, tmp_path):
    """One that was cut, one that was edited, one with an index that was cut, and one without."""
    parts = shards(2, "sentiment", table)
    part, index = tmp_path / "part-1.csv", tmp_path / "part-1.csv.shard"
    rows, entries = part.read_bytes(), index.read_bytes()
    part.write_bytes(rows[:-9])
    check_refused(llm, tmp_path, parts, 65, "part-1.csv", "was cut")
    part.write_bytes(rows.replace(b"good", b"best"))
    check_refused(llm, tmp_path, parts, 65, "part-1.csv", "has changed")
    part.write_bytes(rows)
    index.write_bytes(entries[:-9])
    check_refused(llm, tmp_path, parts, 65, "part-1.csv.shard")
    index.unlink()
    check_refused(llm, tmp_path, parts, 65, "part-1.csv.shard is missing")
    part.unlink()
    check_refused(llm, tmp_path, parts, 66, "part-1.csv")


def test_an_index_that_skips_a_record_is_refused(llm, shards, table, tmp_path):
    """Each record of the input is in one part."""
    parts = shards(2, "sentiment", table)
    index = tmp_path / "part-2.csv.shard"
    index.write_bytes(index.read_bytes()[12:])
    check_refused(llm, tmp_path, parts, 65, "record 2 of the input")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--shard", "0/2"), "1"),
        (("--shard", "3/2"), "1"),
        (("--shard", "1"), "I/N"),
    ],
)
def test_shards_that_make_no_sense_are_refused(llm, scores, table, tmp_path, argv, words):
    """Before anything is written."""
    run = llm("sentiment", table, *argv, "-o", str(tmp_path / "part.csv"), answer=scores)
    assert run.code == 2 and words in run.err and not list(tmp_path.glob("part*"))


def test_a_shard_needs_a_file(llm, scores, table, tmp_path):
    """The index stands beside it; and a count, a NumPy file and the nearest texts are of no use to merge."""
    assert "-o FILE" in llm("sentiment", table, "--shard", "1/2", answer=scores).err
    numpy = llm("embed", table, "--column", "text", "--shard", "1/2", "-o", str(tmp_path / "part.npy"))
    assert numpy.code == 2 and "JSON Lines" in numpy.err
    count = llm("filter", "good", table, "-c", "--column", "text", "--shard", "1/2", "-o", str(tmp_path / "count"))
    assert count.code == 2 and "-c" in count.err
    assert llm("similar", "good", table, "--shard", "1/2").code == 2


def test_more_parts_than_files_that_may_be_open(llm, scores, write, tmp_path):
    """The limit is raised; a part takes one descriptor."""
    path = write("in.txt", "good\n")
    parts = [str(tmp_path / f"part-{number}.txt") for number in range(1, 41)]
    for number, part in enumerate(parts, 1):
        assert llm("sentiment", path, "--shard", f"{number}/40", "-o", part, answer=scores).code == 0
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (sum(1 for _ in Path("/proc/self/fd").iterdir()) + 20, before[1]))
    try:
        run = llm("merge", *parts, "-o", str(tmp_path / "merged.txt"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert run.code == 0 and len((tmp_path / "merged.txt").read_text().splitlines()) == 1


def test_merge_refuses_outputs_that_would_mislead(llm, shards, table, tmp_path):
    """No output, one that is a part, and one with the name of another format."""
    parts = shards(2, "sentiment", table)
    assert "-o FILE" in llm("merge", *parts).err
    assert llm("merge", *parts, "-o", parts[0]).code == 2
    run = llm("merge", *parts, "-o", str(tmp_path / "merged.jsonl"))
    assert run.code == 2 and "csv" in run.err and not (tmp_path / "merged.jsonl").exists()
    assert llm("merge", *parts, f"{parts[0]}.shard", "-o", str(tmp_path / "merged.csv")).code == 3


@pytest.mark.parametrize("summary", ["PART", "PART.shard", "MERGED", "-", "/nonexistent/summary.json"])
def test_merge_refuses_a_summary_that_would_overwrite_or_cannot_be_written(llm, shards, table, tmp_path, summary):
    """Before it writes anything: a part is the work of a machine."""
    parts, merged = shards(2, "sentiment", table), tmp_path / "merged.csv"
    before = [Path(each).read_bytes() for each in parts]
    path = summary.replace("PART", parts[1]).replace("MERGED", str(merged))
    run = llm("merge", *parts, "-o", str(merged), "--summary", path)
    assert run.code in {2, 73} and run.err and not merged.exists()
    assert [Path(each).read_bytes() for each in parts] == before
