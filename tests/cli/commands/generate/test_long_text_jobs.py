"""Long texts that stop half-way: what is kept of an outline, of an edited one, and of the sections."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from long_text_answers import LongTextModel
from scripted import Reply

from llmcli.cli.console import confirm

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
    content["progress"]["summary"]["sections"].pop()
    job.write_text(json.dumps(content))
    run = run_report(llm, path, model)
    assert run.code == 65 and "report.md.job.json" in run.err and not path.exists()
