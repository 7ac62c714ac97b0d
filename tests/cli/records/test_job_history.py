"""A job tells of its earlier runs: their failures, their rows in the summary, and the rows that are left to do."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from scripted import Reply, last_message

from llmcli.cli.records import job_checkpoint
from llmcli.errors import OutputError
from llmcli.files import resumable_file
from llmcli.types import FinishReason

ROWS = 60


@pytest.fixture
def terminated(monkeypatch):
    """Let SIGTERM stop a job after its 41st row, as often as it is called."""

    def terminate(run):
        with monkeypatch.context() as patch:
            write = job_checkpoint.JobCheckpoint.write_row

            def write_row(self, record, *row):
                write(self, record, *row)
                if record.index == 40:
                    os.kill(os.getpid(), signal.SIGTERM)

            patch.setattr(job_checkpoint.JobCheckpoint, "write_row", write_row)
            assert run().code == 143

    return terminate


@pytest.fixture
def stopped(llm, scores, terminated, write, tmp_path):
    """Return the command line of a job that SIGTERM has stopped, and its output: one record has failed, one is blank."""
    texts = [f"t{n}" for n in range(ROWS)]
    texts[2], texts[5] = "boom", ""
    path, out = (
        write("in.csv", "id,text\n" + "".join(f"{n},{text}\n" for n, text in enumerate(texts))),
        tmp_path / "out.csv",
    )
    argv = ("sentiment", path, "-o", str(out))

    def stop(*options):
        terminated(lambda: llm(*argv, *options, answer=scores))
        assert not out.exists()
        return argv, out

    return stop


def beside(out):
    return sorted(path.name for path in out.parent.glob(f"{out.name}*") if path != out)


@pytest.mark.parametrize(
    ("options", "said"), [([], "1 record failed\nThe column error"), (["--on-error", "skip"], "1 record failed\n")]
)
def test_failures_of_earlier_runs_count(llm, scores, stopped, options, said):
    """A run that completes a job ends with 3 if an earlier one has left a failed record in the output, or left one out."""
    argv, out = stopped(*options)
    run = llm(*argv, *options, "--resume", answer=scores)
    assert run.code == 3 and f"earlier runs of the job: {said}" in run.err and len(run.err.splitlines()) <= 2
    assert out.read_text().count("\n") == ROWS + (not options)
    assert "boom" not in {last_message(request).split("\n")[0] for request in run.backend.requests}


def test_incomplete_results_of_earlier_runs_count(llm, terminated, write, tmp_path):
    """An answer that was cut is told like a failure, also by a run that has nothing left to do."""
    out, texts = tmp_path / "out.csv", "text\nlong\n" + "".join(f"t{n}\n" for n in range(ROWS))
    argv = ("ask", "Q", "--column", "text", "-f", write("in.csv", texts), "-o", str(out))

    def answer(request):
        return Reply("A", reason=FinishReason.LENGTH) if "long" in last_message(request) else "A."

    terminated(lambda: llm(*argv, answer=answer))
    for _ in range(2):
        run = llm(*argv, "--resume", answer="A.".format)
        assert run.code == 3 and "1 result is incomplete" in run.err and run.err.count("\n") == 1


@pytest.mark.parametrize("options", [[], ["--on-error", "skip"], ["--json"]])
def test_a_summary_covers_the_whole_output(llm, scores, stopped, options):
    """That of a resumed job is the same as that of an undisturbed one."""
    argv, out = stopped(*options)
    path = out.with_name("summary.json")
    assert llm(*argv, *options, "--resume", "--summary", str(path), answer=scores).code == 3
    resumed = json.loads(path.read_text())
    whole = (*argv[:-1], str(out.with_name("whole.csv")))
    assert llm(*whole, *options, "--summary", str(path), answer=scores).code == 3
    expected = json.loads(path.read_text())
    assert resumed["records"] == ROWS and resumed["failed"] == resumed["blank"] == 1
    assert resumed == expected


def test_a_summary_of_filter_covers_the_whole_output(llm, scores, terminated, write, tmp_path):
    """The records without a match too, which have no rows."""
    out, path = tmp_path / "out.txt", tmp_path / "summary.json"
    argv = ("filter", "it fits", write("in.txt", "".join(f"t{n}\n" for n in range(ROWS))), "-o", str(out))

    terminated(lambda: llm(*argv, answer=scores))
    assert llm(*argv, "--resume", "--summary", str(path), answer=scores).code == 0
    found = json.loads(path.read_text())
    assert found["records"] == ROWS and found["labels"]["match"] == out.read_text().count("\n")


def test_a_retry_keeps_the_summary_whole(llm, scores, write, tmp_path):
    """Records that had failed are counted by their new result."""
    out, path = tmp_path / "out.csv", tmp_path / "summary.json"
    argv = ("sentiment", write("in.csv", "id,text\n1,a\n2,boom\n3,b\n"), "-o", str(out), "--summary", str(path))
    assert llm(*argv, answer=scores).code == 3 and json.loads(path.read_text())["failed"] == 1
    run = llm(*argv, "--retry-failed", answer=lambda request: dict.fromkeys(request.candidates, -1.0))
    found = json.loads(path.read_text())
    assert run.code == 0 and len(run.backend.requests) == 1
    assert (found["records"], found["scored"], found["failed"]) == (3, 3, 0)


@pytest.fixture
def finished(llm, scores, write, tmp_path):
    """Return the command line of a job that is complete, and its output."""
    path, out = write("in.csv", "id,text\n1,a\n2,b\n3,\n"), tmp_path / "out.csv"
    argv = ("sentiment", path, "-o", str(out))
    assert llm(*argv, answer=scores).code == 0 and beside(out) == []
    return argv, out


def test_a_complete_job_is_not_processed_again(llm, scores, finished, tmp_path):
    """Not by --resume, also with an option that changes no result; the summary covers the output."""
    argv, out = finished
    before, path = out.read_bytes(), tmp_path / "summary.json"
    status = out.stat()
    for options in ([], ["--summary", str(path)], ["--stats"]):
        run = llm(*argv, "--resume", *options, answer=scores)
        assert (run.code, run.backend.requests, out.read_bytes()) == (0, [], before)
    assert (out.stat().st_ino, out.stat().st_mtime_ns, beside(out)) == (status.st_ino, status.st_mtime_ns, [])
    found = json.loads(path.read_text())
    assert (found["records"], found["scored"], found["blank"]) == (3, 2, 1)


def test_a_job_begins_again_after_changes(llm, scores, finished, tmp_path):
    """Of an option, the input or the output, and when the output is gone or --resume is left out."""
    argv, out = finished
    table = out.read_bytes()

    def requests(*options):
        run = llm(*argv, *options, answer=scores)
        assert run.code == 0 and out.read_bytes().count(b"\n") >= 4, run.err
        return len(run.backend.requests)

    assert requests() == 2
    assert requests("--resume") == 0
    assert requests("--resume", "--scale", "5") == 2
    assert requests("--resume", "--scale", "5") == 0
    out.write_bytes(table)
    assert requests("--resume", "--scale", "5") == 2
    out.unlink()
    assert requests("--resume") == 2 and out.read_bytes() == table
    source = Path(argv[1])
    source.write_text(source.read_text() + "4,d\n")
    assert requests("--resume") == 3
    assert requests("--resume") == 0


def test_a_complete_job_with_failures_is_not_processed_again(llm, scores, write, tmp_path):
    """The failures are counted; --summary covers the output."""
    out, path = tmp_path / "out.csv", tmp_path / "summary.json"
    argv = ("sentiment", write("in.csv", "id,text\n1,a\n2,boom\n"), "-o", str(out))
    assert llm(*argv, answer=scores).code == 3
    run = llm(*argv, "--resume", "--summary", str(path), answer=scores)
    assert run.code == 3 and run.backend.requests == [] and "1 record failed" in run.err
    assert json.loads(path.read_text())["failed"] == 1 and beside(out) == ["out.csv.job.json"]
    out.unlink()
    assert llm(*argv, "--resume", answer=scores).code == 3 and out.exists()


def test_a_plot_is_drawn_beside_records(llm, scores, write, tmp_path):
    """Also when the job is complete: the calibration is fitted, and no record is processed again."""
    labelled = write(
        "labelled.csv", "text,label\n" + "".join(f"x{n},{'negative' if n % 2 else 'positive'}\n" for n in range(12))
    )
    out, plot = tmp_path / "out.csv", tmp_path / "fit.svg"
    argv = ("sentiment", write("in.csv", "text\na\nb\n"), "--calibrate", labelled, "-o", str(out))
    assert llm(*argv, answer=scores).code == 0 and not plot.exists()
    run = llm(*argv, "--resume", "--plot", str(plot), answer=scores)
    assert run.code == 0 and plot.read_text().startswith("<svg"), run.err
    assert {last_message(request).split("\n")[0] for request in run.backend.requests}.isdisjoint({"Text: a", "Text: b"})


CORRECTED = {
    "in.csv": ("id,text\n1,a\n2,b,c\n3,d\n4,boom\n", "id,text\n1,a\n2,b\n3,d\n4,e\n"),
    "in.jsonl": ('{"text": "a"}\n{"text": b}\n{"text": "d"}\n', '{"text": "a"}\n{"text": "b"}\n{"text": "d"}\n'),
    "in.txt": (b"a\n\xff\nd\n", "a\n\nd\n"),
}


@pytest.mark.parametrize("name", CORRECTED)
def test_corrected_records_are_retried(llm, scores, write, tmp_path, name):
    """Only those are processed; the result is that of the corrected input."""
    bad, good = CORRECTED[name]
    path, out = write(name, bad), tmp_path / "out.jsonl"
    argv = ("sentiment", path, "-o", str(out))
    assert llm(*argv, answer=scores).code == 3
    write(name, good)
    run = llm(*argv, "--retry-failed", answer=scores)
    assert run.code == 0 and run.err == "" and len(run.backend.requests) <= 2 and beside(out) == []
    retried = out.read_bytes()
    out.unlink()
    assert llm(*argv, answer=scores).code == 0 and out.read_bytes() == retried


@pytest.mark.parametrize(
    "changed", ["id,text\n1,A\n2,b\n3,d\n", "id,text\n1,a\n2,b\n3,d\n4,e\n", "id,text\n1,a\n2,b\n"]
)
def test_a_retry_that_is_refused_changes_nothing(llm, scores, write, tmp_path, changed):
    """Other records than those that failed have changed: one line says so, and the files are as they were."""
    path, out = write("in.csv", "id,text\n1,a\n2,b,c\n3,d\n"), tmp_path / "out.csv"
    argv = ("sentiment", path, "-o", str(out))
    assert llm(*argv, answer=scores).code == 3
    before = {each: each.read_bytes() for each in tmp_path.glob("out.csv*")}
    write("in.csv", changed)
    run = llm(*argv, "--retry-failed", answer=scores)
    assert run.code == 2 and "cannot be retried" in run.err and run.err.count("\n") == 2 and run.out == ""
    after = {each: each.read_bytes() for each in tmp_path.glob("out.csv*")}
    assert after.keys() == before.keys() and after[out] == before[out]
    assert llm(*argv, answer=scores).code == 0  # nothing is in the way of a new job


@pytest.fixture
def full_disk(tmp_path, monkeypatch):
    """Return a directory on a disk that becomes full when the function is called."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "llmcli", str(path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode == 0:
        yield path, lambda: _fill(path)
        subprocess.run(["umount", "-l", path], check=True, capture_output=True)
        return

    def fail(_fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    yield path, lambda: monkeypatch.setattr(resumable_file.os, "fsync", fail)


def _fill(path):
    with (path / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 12))
        except OSError:
            return


def test_a_full_disk_leaves_no_empty_file(full_disk):
    """A checkpoint that cannot be written leaves the one before it."""
    path, fill = full_disk
    job = path / "out.csv.job.json"
    resumable_file.replace_durably(job, b"one")
    fill()
    with pytest.raises(OutputError):
        resumable_file.replace_durably(job, b"two")
    assert job.read_bytes() == b"one" and not list(path.glob("*.new"))


def test_a_job_on_a_full_disk(llm, scores, often, full_disk, write):
    """It ends with 74; after space was made, it goes on without losing or repeating a row."""
    path, fill = full_disk
    out = path / "out.csv"
    argv = ("sentiment", write("in.csv", "text\n" + "".join(f"t{n}\n" for n in range(ROWS))), "-o", str(out))

    def answer(request):
        if "t40\n" in last_message(request):
            fill()
        return scores(request)

    run = llm(*argv, answer=answer)
    assert run.code == 74 and "No space left" in run.err and not out.exists()
    assert not list(path.glob("*.new"))
    (path / "ballast").unlink(missing_ok=True)
    if (path / "ballast").parent.is_mount():
        assert llm(*argv, "--resume", answer=scores).code == 0
        assert [line.split(",")[0] for line in out.read_text().splitlines()[1:]] == [f"t{n}" for n in range(ROWS)]
