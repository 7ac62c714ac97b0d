"""Jobs that survive: resumed after any kill with the output of an undisturbed run; refused after any change."""

from __future__ import annotations

import csv
import gc
import json
import os
import random
import signal
import threading
from pathlib import Path

import pytest
from killed_runs import KilledRuns
from scripted import last_message

from llmcli.cli.records import job_checkpoint, record_run
from llmcli.documents.records.job_state import JobState
from llmcli.documents.records.record_source import RecordSource
from llmcli.files import resumable_file

SEED = int(os.environ.get("LLMCLI_STRESS_SEED", "19"))
KILLS = 8
STRESS_KILLS = 30
CALLS = (60, 400)
"""About how often a run changes files, with few and with many checkpoints."""
ROWS = 40


@pytest.fixture
def table(write):
    """Return a CSV file with blank, failing and malformed rows."""
    texts = ["good", "", "boom", '"two\nlines"', "x,extra"]
    return write("in.csv", "id,text\n" + "".join(f"{n},{texts[n % 5]} \n" for n in range(ROWS)))


@pytest.fixture
def child(tiny, tmp_path, scores):
    """Run ``main`` in a process that may be killed."""
    return KilledRuns(scores, tiny("llama"), tmp_path / "messages")


def save_often():
    """Save a checkpoint after each record."""
    job_checkpoint._CHECKPOINT_S, job_checkpoint._MAX_CHECKPOINT_SHARE = 0.0, 1e9


def beside(out):
    return sorted(path.name for path in out.parent.glob(f"{out.name}*") if path != out)


@pytest.mark.slow
def test_kills_at_random_moments(child, table, tmp_path):
    """However often a job is killed, wherever, the resumed output is that of an undisturbed run."""
    check_kills(child, table, tmp_path, KILLS)


@pytest.mark.stress
def test_many_kills_at_random_moments(child, table, tmp_path):
    """The same with more of them."""
    check_kills(child, table, tmp_path, STRESS_KILLS)


def check_kills(child, table, tmp_path, count):
    """Kill jobs that many times, and compare their outputs with that of an undisturbed run."""
    argv = ("sentiment", table, "-o")
    whole = tmp_path / "whole.csv"
    assert child(*argv, str(whole)) == 3
    chance = random.Random(SEED)
    kills = 0
    while kills < count:
        out = tmp_path / f"out{kills}.csv"
        for _ in range(50):
            saves_often = kills % 2
            how = {"prepare": save_often} if saves_often else {}
            code = child(*argv, str(out), "--resume", kill_at=chance.randrange(1, CALLS[saves_often]), **how)
            if code != -signal.SIGKILL:
                break
            kills += 1
            assert not out.exists() or out.read_bytes() == whole.read_bytes()
            partial = out.with_name(out.name + ".partial")
            if (
                partial.exists() and chance.random() < 0.3
            ):  # a power failure may leave anything after the last checkpoint
                with partial.open("ab") as file:
                    file.write(b"\0garbage")
        if out.exists() and beside(out) == [f"{out.name}.job.json"]:
            code = 3  # it was complete before the last kill
        assert code in {2, 3}, child.said()
        if not out.exists():
            assert child(*argv, str(out), "--resume") == 3
        assert out.read_bytes() == whole.read_bytes()


def test_a_checkpoint_leaves_nothing_to_collect(tmp_path):
    """Garbage collection is rare in a command, so cycles would add up in a job of hours."""
    state = JobState(tmp_path / "out.csv", {"verb": "classify", "stop": [], "options": {"limit": None}})
    state.save()
    gc.collect()
    for _ in range(3):
        state.save()
    assert gc.collect() == 0 and json.loads(state.path.read_text())["manifest"] == state.manifest


def test_a_job_goes_on_where_it_stopped(llm, often, scores, write, tmp_path):
    """After an error, the records that are done are not processed again; the files of the job disappear at the end."""
    out = tmp_path / "out.jsonl"
    path = write("in.csv", "text\n" + "".join(f"t{n}\n" for n in range(9)))
    argv = ("sentiment", path, "-o", str(out))

    def broken(request):
        return ValueError("stop") if "t5\n" in last_message(request) else scores(request)

    assert llm(*argv, "--on-error", "fail", answer=broken).code == 3
    assert not out.exists() and beside(out) == ["out.jsonl.job.json", "out.jsonl.partial"]
    run = llm(*argv, "--on-error", "fail", "--resume", answer=scores)
    asked = [last_message(r).split("\n")[0] for r in run.backend.requests]
    assert run.code == 0 and asked == [f"Text: t{number}" for number in (5, 6, 7, 8)]
    assert beside(out) == []
    assert [json.loads(line)["text"] for line in out.read_text().splitlines()] == [f"t{n}" for n in range(9)]


def test_the_number_of_records_is_estimated(llm, scores, write, tmp_path, monkeypatch):
    """From the bytes of those that were read, which are more than those that are done; a resumed run has the others."""
    shown, estimate = [], record_run._RecordRun._progress
    monkeypatch.setattr(
        record_run._RecordRun, "_progress", lambda self, done: shown.append(estimate(self, done)) or shown[-1]
    )
    path = write("in.csv", "text\n" + "".join(f"t{n:04}\n" for n in range(1000)))
    argv = ("sentiment", path, "-o", str(tmp_path / "out.csv"), "--on-error", "fail")

    def broken(request):
        return ValueError("stop") if "t0600\n" in last_message(request) else scores(request)

    assert llm(*argv, answer=broken).code == 3
    assert shown[-1].total == pytest.approx(1000, rel=0.01) and shown[0].total == pytest.approx(1000, rel=0.5)
    assert shown[0].estimated
    shown.clear()
    assert llm(*argv, "--resume", answer=scores).code == 0
    assert {round(progress.total, -1) for progress in shown} == {400}
    assert all(each.estimated or each.total == 400 for each in shown) and not shown[-1].estimated


def test_the_estimate_is_of_one_moment(llm, scores, write, monkeypatch):
    """The thread that shows the progress may see a position from before the last records were read."""
    shown, progress, position = [], record_run._RecordRun._progress, RecordSource.position.fget
    monkeypatch.setattr(
        record_run._RecordRun, "_progress", lambda self, done: shown.append(progress(self, done)) or shown[-1]
    )

    def stale_position(source):
        return position(source) if threading.current_thread().name == "records" else 100

    monkeypatch.setattr(RecordSource, "position", property(stale_position))
    path = write("in.txt", "".join(f"t{n:04}\n" for n in range(300)))
    assert llm("sentiment", path, answer=scores).code == 0
    assert {each.total for each in shown} == {300}


@pytest.fixture
def stopped(llm, scores, write, tmp_path):
    """Return the command line of a job that an error has stopped after two records, and its output."""
    path = write("in.csv", "id,text\n1,a\n2,b\n3,boom\n4,d\n")
    argv = ("sentiment", path, "--on-error", "fail", "-o", str(tmp_path / "out.csv"))
    assert llm(*argv, answer=scores).code == 3
    return argv, tmp_path / "out.csv"


def test_a_stopped_job_is_not_overwritten(llm, scores, stopped):
    """Without --resume it is refused with the way on; the message says how much is done."""
    argv, out = stopped
    before = {path: path.read_bytes() for path in out.parent.glob("out.csv*")}
    run = llm(*argv, answer=scores)
    assert run.code == 73 and "2 records done" in run.err and "--resume" in run.err and "rm " in run.err
    assert before == {path: path.read_bytes() for path in out.parent.glob("out.csv*")}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--temperature", "1"], "temperature"),
        (["--column", "id"], "column"),
        (["--limit", "3"], "limit"),
        (["--output-format", "jsonl"], "output format"),
        (["--dedupe"], "--dedupe"),
        (["--json"], "--json"),
    ],
)
def test_other_options_are_refused(llm, scores, stopped, change, named):
    """Results of two settings are not mixed; the message names what has changed."""
    argv, out = stopped
    partial = out.with_name("out.csv.partial").read_bytes()
    run = llm(*argv, "--resume", *change, answer=scores)
    assert run.code == 2 and named in run.err and "rm " in run.err
    assert out.with_name("out.csv.partial").read_bytes() == partial


def test_a_job_with_options_of_an_earlier_release(llm, scores, stopped):
    """It goes on where they were not given, and is refused where one was: its rows are in another order."""
    argv, out = stopped
    state = out.with_name("out.csv.job.json")
    job = json.loads(state.read_text())
    for options, code in (({"--unordered": True}, 2), ({"--shard-by": "id"}, 2), ({"--unordered": False}, 3)):
        done = {**job["progress"], "ahead": [], "hashed": 2}
        state.write_text(json.dumps({**job, "manifest": {**job["manifest"], **options}, "progress": done}))
        run = llm(*argv, "--resume", answer=scores)
        assert run.code == code and (code == 3 or f"have changed: {next(iter(options))}" in run.err), run.err
    assert [last_message(request).split("\n")[0] for request in run.backend.requests] == ["Text: boom", "Text: d"]


def test_another_model_prompt_or_input_is_refused(llm, scores, stopped, tmp_path, tiny):
    """So are changes in the records that are done; records after them may change or be added."""
    argv, out = stopped
    other = llm(*argv, "--resume", answer=scores, env={"LLMCLI_MODEL": str(tiny("chatml"))})
    assert other.code == 2 and "model" in other.err
    source = Path(argv[1])
    text = source.read_text()
    source.write_text(text.replace("1,a", "1,A"))
    run = llm(*argv, "--resume", answer=scores)
    assert run.code == 2 and "input" in run.err and run.backend.requests == []
    source.write_text("id,text\n1,a\n")
    assert llm(*argv, "--resume", answer=scores).code == 2
    source.write_text(text.replace("boom", "fine") + "5,e\n")
    prompts = tmp_path / "home" / "config" / "prompts"
    prompts.mkdir(parents=True)
    (prompts / "sentiment.yaml").write_text(
        'description: d\nuser: "{{ text }}"\noutput: {labels: [positive, negative]}\n'
    )
    assert "prompt file" in llm(*argv, "--resume", answer=scores).err
    (prompts / "sentiment.yaml").unlink()
    assert llm(*argv, "--resume", answer=scores).code == 0
    assert [line.split(",")[0] for line in out.read_text().splitlines()] == ["id", "1", "2", "3", "4", "5"]


def test_failed_records_are_retried(llm, scores, write, tmp_path):
    """Only these are processed again; the other rows stay as they are, byte by byte."""
    out = tmp_path / "out.csv"
    path = write("in.csv", 'id,text\n1,a\n2,"boom\nx"\n3,\n4,boom\n')
    argv = ("sentiment", path, "-o", str(out))
    assert llm(*argv, answer=scores).code == 3
    first = out.read_bytes()
    assert beside(out) == ["out.csv.job.json"]
    resumed = llm(*argv, "--resume", answer=scores)  # there is nothing left but to retry
    assert (resumed.code, resumed.backend.requests, out.read_bytes()) == (3, [], first)
    assert "2 records failed" in resumed.err and "--retry-failed" in resumed.err
    again = llm(*argv, "--retry-failed", answer=scores)
    assert (again.code, out.read_bytes(), len(again.backend.requests)) == (3, first, 2)
    healed = llm(*argv, "--retry-failed", answer=lambda r: dict.fromkeys(r.candidates, -1.0))
    assert healed.code == 0 and len(healed.backend.requests) == 2 and beside(out) == []
    assert first.splitlines()[1] in out.read_bytes() and b"boom" not in out.read_bytes().split(b"\n")[-1]
    assert [bool(row["label"]) for row in csv.DictReader(out.open(newline=""))] == [True, True, False, True]
    assert llm(*argv, "--retry-failed", answer=scores).code == 2


def test_a_retry_needs_the_output_of_the_job(llm, scores, write, tmp_path):
    """A row for each record, in a format that holds errors; otherwise it is refused."""
    out = tmp_path / "out.csv"
    argv = ("sentiment", write("in.csv", "id,text\n1,a\n2,boom\n3,c\n"), "-o", str(out))
    for options in (["--on-error", "skip"], ["--output-format", "lines"]):
        assert llm(*argv, *options, answer=scores).code == 3
        assert llm(*argv, *options, "--retry-failed", answer=scores).code == 2
    assert llm(*argv, answer=scores).code == 3
    source = Path(argv[1])
    text = source.read_text()
    source.write_text(text.replace("3,c", "3,C"))
    other = llm(*argv, "--retry-failed", answer=lambda r: dict.fromkeys(r.candidates, -1.0))
    assert other.code == 2 and "input" in other.err and "boom" in out.read_text()
    assert beside(out) == ["out.csv.job.json"]
    source.write_text(text)
    out.write_text("".join(out.read_text().splitlines(keepends=True)[:-1]))
    changed = llm(*argv, "--retry-failed", answer=scores)
    assert (
        changed.code == 2
        and beside(out) == ["out.csv.job.json"]
        and "row for each record" in changed.err
        and out.read_text().count("\n") == 3
    )


@pytest.mark.parametrize("options", [["-o", "out.parquet"], [], ["-o", "/dev/null"]])
def test_outputs_that_cannot_be_continued(llm, write, tmp_path, monkeypatch, options):
    """They say so before anything runs."""
    monkeypatch.chdir(tmp_path)
    run = llm("sentiment", write("in.csv", "text\na\n"), *options, "--resume")
    assert (run.code, run.backend) == (2, None) and ("Parquet" in run.err or "regular file" in run.err)


def test_two_processes_do_not_write_one_output(llm, scores, write, tmp_path):
    """The second one is asked to try later."""
    out = tmp_path / "out.csv"
    with_lock = resumable_file.ResumableFile(str(out))
    run = llm("sentiment", write("in.csv", "text\na\n"), "-o", str(out), answer=scores)
    assert run.code == 75 and "another process" in run.err
    with_lock.discard()


def test_an_interrupt_finishes_what_runs(llm, scores, write, tmp_path):
    """The records that run are written, the others are not begun; the message is the command that goes on."""
    out = tmp_path / "out.csv"
    path = write("in file.csv", "text\n" + "".join(f"t{n}\n" for n in range(1000)))
    argv = ("sentiment", path, "-o", str(out))
    sent = threading.Event()

    def interrupt(request):
        if "t30\n" in last_message(request) and not sent.is_set():
            sent.set()
            os.kill(os.getpid(), signal.SIGINT)
        return scores(request)

    run = llm(*argv, answer=interrupt)
    assert run.code == 130 and not out.exists()
    assert f"To go on: llm sentiment '{path}' -o {out} --resume" in run.err
    done = json.loads(out.with_name("out.csv.job.json").read_text())["progress"]["done"]
    assert 0 < done < 1000 and out.with_name("out.csv.partial").read_text().count("\n") == done + 1
    resumed = llm(*argv, "--resume", answer=scores)
    assert resumed.code == 0 and len(resumed.backend.requests) == 1000 - done
    assert [line.split(",")[0] for line in out.read_text().splitlines()[1:]] == [f"t{n}" for n in range(1000)]


def test_termination_keeps_what_is_done(llm, scores, write, tmp_path):
    """SIGTERM stops at once, and the job can go on."""
    out = tmp_path / "out.csv"
    argv = ("sentiment", write("in.csv", "text\n" + "".join(f"t{n}\n" for n in range(300))), "-o", str(out))

    def terminate(request):
        if "t99\n" in last_message(request):
            os.kill(os.getpid(), signal.SIGTERM)
        return scores(request)

    assert llm(*argv, answer=terminate).code == 143
    assert llm(*argv, "--resume", answer=scores).code == 0 and out.read_text().count("\n") == 301


def test_the_output_keeps_its_mode_and_link(llm, scores, write, tmp_path):
    """A symbolic link is followed, and a file that is replaced keeps its permissions."""
    target = tmp_path / "target.csv"
    target.write_text("old")
    target.chmod(0o640)
    (tmp_path / "out.csv").symlink_to(target)
    assert llm("sentiment", write("in.csv", "text\na\n"), "-o", str(tmp_path / "out.csv"), answer=scores).code == 0
    assert (tmp_path / "out.csv").is_symlink() and target.stat().st_mode & 0o777 == 0o640
    assert target.read_text().startswith("text,label")


def test_statistics_cover_all_runs(llm, stopped, scores):
    """--stats of a resumed job counts the tokens of the runs before."""
    argv, _ = stopped
    run = llm(*argv, "--resume", "--stats", answer=lambda r: dict.fromkeys(r.candidates, -1.0))
    words = {request.messages[-1].content for request in run.backend.requests}
    assert run.code == 0 and len(words) == 2
    single = run.backend.prompt_tokens(run.backend.requests[0])
    assert f"{4 * single} tokens in" in run.err
