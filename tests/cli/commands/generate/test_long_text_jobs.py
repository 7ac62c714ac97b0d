"""Long texts that stop half-way: what is kept of an outline, of an edited one, and of the sections."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from long_text_answers import LongTextModel
from scripted import Reply

from llmcli.cli.console import confirm
from llmcli.errors import OutputError
from llmcli.files import atomic_file
from llmcli.files.atomic_file import OutputFile

GONE = Reply(error=OSError("gone"))


@pytest.fixture
def model():
    """What the scripted model writes."""
    return LongTextModel()


@pytest.fixture
def editor(write):
    """Return a function that makes an editor of a shell script, and returns the environment with it."""

    def make(script, name="editor.sh"):
        path = write(name, f"#!/bin/sh\n{script}\n")
        Path(path).chmod(0o755)
        return {"VISUAL": path}

    return make


def replace_with(outline):
    """Return the script of an editor that leaves this outline."""
    return f"cat > \"$1\" <<'END'\n{outline}\nEND"


OUTLINE = "# Pumps\n\n## Costs (60 words)\n- prices\n\n## Noise (60 words)\n- fans\n"
EDITED = "# Edited\n\n## Windows (60 words)\n- new windows"


def run_report(llm, path, answer, *argv, **how):
    """Return the run of a report about pumps of 900 words into ``path``."""
    words = ["generate", "report", "1984: pumps and C#", "--words", "900", "-o", str(path), *argv]
    return llm(*words, answer=answer, context=8192, **how)


def test_the_outline_is_kept_before_the_first_section(llm, model, tmp_path):
    """The next run makes no other one, and the title is that of the topic, whatever it begins and ends with."""
    path = tmp_path / "report.md"
    run = run_report(llm, path, lambda request: GONE if request.id == "0.0" else model(request))
    assert run.code != 0 and "llm: the outline is kept. To go on: llm generate report" in run.err
    model.requests.clear()
    run = run_report(llm, path, model)
    assert (run.code, run.err) == (0, "") and "outline" not in {each.id for each in model.requests}
    assert path.read_text().startswith("# 1984: pumps and C#\n\n## ")
    assert not Path(f"{path}.job.json").exists()


def test_an_edited_outline_is_kept(llm, model, editor, tmp_path):
    """The editor opens again with it if no section is begun, and not later."""
    path = tmp_path / "report.md"
    env = editor(replace_with(EDITED))
    fails = {"0.0"}
    run = run_report(llm, path, lambda r: GONE if r.id in fails else model(r), "--edit", env=env)
    assert run.code != 0 and "the outline is kept" in run.err
    fails = {"0.1"}
    outline = EDITED.replace("60", "200") + "\n- old windows\n"
    env = editor(f'cp "$1" {tmp_path}/seen.md\n{replace_with(outline)}')
    run = run_report(llm, path, lambda r: GONE if r.id in fails else model(r), "--edit", env=env)
    assert (tmp_path / "seen.md").read_text().startswith("# Edited\n\n## Windows (60 words)\n- new windows\n")
    assert "1 section is begun" in run.err
    run = run_report(llm, path, model, "--edit", env=editor("exit 1", "other.sh"))
    assert run.code == 0, run.err
    assert path.read_text().startswith("# Edited\n\n## Windows\n\nNew windows:")
    assert [each.id for each in model.requests].count("outline") == 1


@pytest.mark.parametrize("env", [{"VISUAL": "/nowhere/ed"}, {"VISUAL": None, "EDITOR": None}])
def test_an_editor_that_is_missing_is_noticed_first(llm, model, tmp_path, env):
    """No outline was made for it."""
    run = run_report(llm, tmp_path / "report.md", model, "--edit", env=env)
    assert run.code in {2, 66} and "editor" in run.err and run.backend is None


def test_an_editor_that_fails(llm, model, editor, tmp_path):
    """Ends the command; the outline of the model is kept."""
    path = tmp_path / "report.md"
    run = run_report(llm, path, model, "--edit", env=editor("exit 3"))
    assert run.code == 1 and "exit code 3" in run.err and "the outline is kept" in run.err and not path.exists()
    run = run_report(llm, path, model, "--edit", env=editor("exit 0"))
    assert run.code == 0, run.err
    assert [each.id for each in model.requests].count("outline") == 1


def test_an_edited_outline_that_is_wrong_can_be_edited_again(llm, model, editor, tmp_path, monkeypatch):
    """The editor has what the user wrote; without a terminal, the error names the line."""
    path = tmp_path / "report.md"
    wrong = f"{EDITED}\n\n## Windows"
    script = f'if grep -q Edited "$1"; then {replace_with(EDITED)}\nelse {replace_with(wrong)}\nfi'
    run = run_report(llm, path, model, "--edit", env=editor(script))
    assert run.code == 65 and "line 6: the section 'Windows' is there twice" in run.err
    monkeypatch.setattr(confirm, "can_ask", lambda _console: True)
    monkeypatch.setattr(confirm, "ask_yes_no", lambda _console, _question: True)
    run = run_report(llm, path, model, "--edit", env=editor(script))
    assert run.code == 0 and run.err.count("there twice") == 1
    assert path.read_text().startswith("# Edited\n\n## Windows\n\nNew windows:")


def test_a_job_of_other_sections_is_refused(llm, model, tmp_path):
    """Its file is named, and nothing is written."""
    path = tmp_path / "report.md"
    run_report(llm, path, lambda request: GONE if request.id == "1.1" else model(request))
    job = Path(f"{path}.job.json")
    content = json.loads(job.read_bytes())
    content["progress"]["summary"]["answers"][-1]["id"] = "99.0"
    job.write_text(json.dumps(content))
    run = run_report(llm, path, model)
    assert run.code == 65 and "report.md.job.json" in run.err and not path.exists()


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        (["--set", "weights=bf16"], "weights"),
        (["--seed", "7"], "seed"),
        (["--temperature", "0.5"], "temperature"),
        (["--max-tokens", "99"], "max tokens"),
        ([], "model"),
    ],
)
def test_a_text_goes_on_only_with_the_same_settings(llm, model, write, mine, tmp_path, changed, name):
    """Other weights, another model or another option of answers is refused as it is for records, and is named."""
    path, people = tmp_path / "text.md", write("people.csv", "name\nAda\nBo\n")
    outline = write("outline.md", OUTLINE.replace("- prices", "- prices\n- repairs"))
    env = {} if changed else {"LLMCLI_MODEL": str(mine)}
    argv = ["generate", "report", "--outline", outline, "-o", str(path)]
    run = llm(*argv, answer=lambda request: GONE if request.id == "0.1" else model(request), context=8192)
    assert run.code != 0 and "begun. To go on: llm generate report" in run.err
    job = Path(f"{path}.job.json").read_bytes()
    text = llm(*argv, *changed, answer=model, context=8192, env=env)
    assert (text.code, Path(f"{path}.job.json").read_bytes(), path.exists()) == (2, job, False)
    assert f"text.md cannot be continued: these have changed: {name}\n" in text.err
    assert f"Repeat the command that began it, or begin again: rm {path}.job.json\n" in text.err
    table = str(tmp_path / "emails.csv")
    argv = ["generate", "email", "-f", people, "--var", "topic=rain", "-o", table, "--on-error", "fail"]
    emails = iter(["Hello."])
    assert llm(*argv, answer=lambda _request: next(emails, GONE)).code != 0
    records = llm(*argv, "--resume", *changed, env=env)
    assert records.code == 2 and records.err.startswith(text.err.splitlines()[0].replace(str(path), table))
    assert llm("generate", "report", "--outline", outline, "-o", str(path), answer=model, context=8192).code == 0


def test_a_job_of_an_earlier_version_is_refused(llm, model, write, tmp_path):
    """Its sections cannot be continued with the requests of an undisturbed run; the file stays."""
    path = tmp_path / "report.md"
    run_report(llm, path, lambda request: GONE if request.id == "1.1" else model(request))
    job = Path(f"{path}.job.json")
    content = json.loads(job.read_bytes())
    draft = {"turns": [], "num_requests": 1, "num_forgotten": 0, "generated": 9, "repeated": 0, "remarks": 0}
    outline = content["progress"]["summary"]["outline"]
    content["progress"]["summary"] = {"outline": outline, "sections": [{**draft, "looped": False, "unrestored": []}]}
    content["manifest"] = {"verb": "generate report", "--seed": None, "--temperature": None}
    job.write_text(json.dumps(content))
    run = run_report(llm, path, model)
    assert run.code == 2 and "report.md cannot be continued: these have changed: version of llm" in run.err
    assert "Traceback" not in run.err and json.loads(job.read_bytes()) == content and not path.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda summary: summary.update(answers=None),
        lambda summary: summary["answers"][0].update(reason="tired"),
        lambda summary: summary["answers"][0].update(text=1),
        lambda summary: summary["answers"][0].update(usage={"tokens": 1}),
        lambda summary: summary.pop("outline_usage"),
        lambda summary: summary.pop("outline"),
    ],
)
def test_a_damaged_job_is_refused(llm, model, tmp_path, change):
    """Its file is named."""
    path = tmp_path / "report.md"
    run_report(llm, path, lambda request: GONE if request.id == "1.1" else model(request))
    job = Path(f"{path}.job.json")
    content = json.loads(job.read_bytes())
    change(content["progress"]["summary"])
    job.write_text(json.dumps(content))
    run = run_report(llm, path, model)
    assert run.code == 65 and "report.md.job.json" in run.err and not path.exists()


def test_a_resumed_text_counts_all_runs(llm, tmp_path):
    """Its tokens are those of an undisturbed run, the outline's included; seconds and the rate are those of all runs."""

    def read_stats(name, *ends):
        model = LongTextModel()
        for end in ends:
            run = run_report(llm, tmp_path / name, lambda r, end=end: GONE if r.id == end else model(r))
            assert run.code != 0 and "To go on" in run.err
        run = run_report(llm, tmp_path / name, model, "--stats", "--json")
        assert run.code == 0, run.err
        stats = json.loads(run.err.splitlines()[-1])["stats"]
        return {key: stats[key] for key in ("prompt_tokens", "cached_tokens", "completion_tokens")}, stats

    whole, _ = read_stats("whole.md")
    tokens, stats = read_stats("resumed.md", "0.0", "1.1")
    assert tokens == whole
    assert stats["tokens_per_second"] == pytest.approx(tokens["completion_tokens"] / stats["total_s"])


def test_a_full_disk_at_the_end(llm, model, write, tmp_path, monkeypatch):
    """The sections are kept, and the next run writes them without a model."""
    path, outline = tmp_path / "text.md", write("outline.md", OUTLINE)
    argv = ["generate", "report", "--outline", outline, "-o", str(path)]

    def fail(*_):
        raise OutputError(str(path), detail="No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(OutputFile, "write", fail)
        run = llm(*argv, answer=model, context=8192)
    assert run.code == 74 and "No space left" in run.err and not path.exists()
    assert "llm: 2 sections are begun. To go on: llm generate report --outline" in run.err
    run = llm(*argv, answer=model, context=8192)
    assert (run.code, run.err, run.backend.requests) == (0, "", []) and path.read_text().count("\n## ") == 2
    assert not Path(f"{path}.job.json").exists()


def test_a_text_that_cannot_get_its_name(llm, model, write, tmp_path, monkeypatch):
    """The job is kept as well: it is removed only when the file is there."""
    path, outline = tmp_path / "text.md", write("outline.md", OUTLINE)
    argv = ["generate", "report", "--outline", outline, "-o", str(path)]

    def fail(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(atomic_file, "_rename_into_place", fail)
        run = llm(*argv, answer=model, context=8192)
    assert run.code == 73 and "Permission denied" in run.err and "To go on:" in run.err
    assert llm(*argv, answer=model, context=8192).backend.requests == [] and path.exists()


@pytest.fixture
def meanwhile(process):
    """Return a model that runs another ``llm`` at its first request, and the ends of these runs: code and messages."""
    ends = []

    def wrap(answer, *argv):
        def run_other(request):
            if not ends:
                with process(*argv) as other:
                    _, said = other.communicate()
                ends.append((other.returncode, said.decode()))
            return answer(request)

        return run_other, ends

    return wrap


@pytest.mark.parametrize(
    "other",
    [
        ["report", "--outline", "outline.md"],
        ["report", "Pumps", "--outline-only"],
        ["report", "--revise", "Costs", "Shorter"],
        ["email", "-f", "people.csv", "--var", "topic=rain"],
    ],
    ids=["text", "outline", "revision", "records"],
)
def test_two_processes_do_not_write_one_text(llm, meanwhile, model, write, tmp_path, other):
    """The second one is asked to try later, whatever it writes, and the first is not disturbed."""
    path = Path(write("text.md", "# Pumps\n\n## Costs\n\nOld.\n"))
    outline, _ = write("outline.md", OUTLINE), write("people.csv", "name\nAda\n")
    answer, ends = meanwhile(model, "generate", *other, "-o", str(path))
    run = llm("generate", "report", "--outline", outline, "-o", str(path), answer=answer, context=8192)
    assert (run.code, run.err) == (0, "") and path.read_text().count("\n## ") == 2
    ((code, said),) = ends
    assert code == 75 and f"{path}: another process writes it" in said
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_file()) == ["outline.md", "people.csv", "text.md"]


def test_a_text_that_goes_on_is_written_by_one_process(llm, meanwhile, model, write, tmp_path):
    """The job of the first process is not read by the second, and the text has what both runs of the first wrote."""
    path, outline = tmp_path / "text.md", write("outline.md", OUTLINE.replace("- prices", "- prices\n- repairs"))
    argv = ["generate", "report", "--outline", outline, "-o", str(path)]
    run = llm(*argv, answer=lambda request: GONE if request.id == "0.1" else model(request), context=8192)
    assert run.code != 0 and "begun. To go on" in run.err
    answer, ends = meanwhile(model, *argv)
    model.requests.clear()
    run = llm(*argv, answer=answer, context=8192)
    assert run.code == 0 and "0.0" not in {each.id for each in model.requests}, run.err
    ((code, said),) = ends
    assert code == 75 and "another process writes it" in said and "To go on" not in said


def test_two_processes_do_not_revise_one_text(llm, meanwhile, write, tmp_path):
    """The text is read under the lock: the second revision would undo the first."""
    path = Path(write("text.md", "# Pumps\n\n## Costs\n\nOld.\n\n## Noise\n\nLoud.\n"))
    argv = ["generate", "report", "-o", str(path), "--revise"]
    answer, ends = meanwhile(lambda _: "A new text of the costs.", *argv, "Noise", "Shorter")
    run = llm(*argv, "Costs", "Shorter", answer=answer, context=8192)
    assert (run.code, run.err) == (0, "") and "A new text of the costs." in path.read_text()
    ((code, said),) = ends
    assert code == 75 and "another process writes it" in said
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_file()) == ["text.md"]


def test_a_partial_output_of_another_job_stays(llm, model, write, tmp_path):
    """A revision only locks it; a long text is refused, since the job is another one."""
    path = Path(write("text.md", "# Pumps\n\n## Costs\n\nOld.\n"))
    rows = write("text.md.partial", "rows of a job\n")
    run = llm("generate", "report", "-o", str(path), "--revise", "Costs", "Shorter", answer=model, context=8192)
    assert run.code in {0, 3} and Path(rows).read_text() == "rows of a job\n"
