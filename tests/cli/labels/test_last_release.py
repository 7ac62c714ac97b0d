"""Calibrations, unfinished jobs and kept scores that the last release wrote are still used."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import scripted
from last_release_runs import FILES, RUNS, LastReleaseBackend, answer, records

from llmcli.documents.records.record import Record
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.classify import PROMPT, ClassifySpec
from llmcli.tasks.label.state_store import StateStore
from llmcli.tasks.labels.label_set import parse_label_names

OPTIONS = {
    "calibrated": lambda name: ("--calibration", name, *RUNS[name].calibrated),
    "plain": lambda name: RUNS[name].more,
}


@pytest.fixture
def last_release(llm, monkeypatch):
    """Return the runner of commands where prompts and calibrations are those of the last release."""
    shutil.copytree(FILES / "prompts", Path(os.environ["LLMCLI_CONFIG_DIR"], "prompts"), dirs_exist_ok=True)
    shutil.copytree(FILES / "calibrations", Path(os.environ["LLMCLI_DATA_DIR"], "calibrations"), dirs_exist_ok=True)
    monkeypatch.setattr(scripted, "ScriptedBackend", LastReleaseBackend)
    return llm


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("name", RUNS)
def test_a_job_of_the_last_release_goes_on(last_release, write, tmp_path, name, kind):
    """Its rows stay, the rest is labelled as before, and nothing that was done is asked again."""
    out = tmp_path / f"{name}.{kind}.csv"
    for suffix in (".job.json", ".partial"):
        shutil.copy(FILES / "jobs" / f"{out.name}{suffix}", tmp_path)
    argv = (*RUNS[name].argv, *OPTIONS[kind](name), write("in.csv", records()), "-o", str(out), "--on-error", "fail")
    run = last_release(*argv, "--resume", answer=answer)
    assert run.code == 0, run.err
    assert out.read_bytes() == (FILES / "outputs" / out.name).read_bytes()
    assert not any("a bug 50" in scripted.last_message(request) for request in run.backend.requests)


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("name", RUNS)
def test_labels_are_those_of_the_last_release(last_release, write, tmp_path, name, kind):
    """With its calibration, and without one."""
    out = tmp_path / "out.csv"
    argv = (*RUNS[name].argv, *OPTIONS[kind](name), write("in.csv", records()), "-o", str(out), "--on-error", "fail")
    assert last_release(*argv, answer=answer).code == 0
    assert out.read_bytes() == (FILES / "outputs" / f"{name}.{kind}.csv").read_bytes()


def test_a_job_of_the_last_release_is_not_continued_with_other_labels(last_release, write, tmp_path):
    """The manifest says what differs."""
    out = tmp_path / "classify.plain.csv"
    shutil.copy(FILES / "jobs" / f"{out.name}.job.json", tmp_path)
    argv = ("classify", "--labels", "bug,idea", *RUNS["classify"].more, write("in.csv", records()), "-o", str(out))
    run = last_release(*argv, "--on-error", "fail", "--resume", answer=answer)
    assert run.code == 2 and "these have changed: labels\n" in run.err


def test_scores_of_the_last_release_are_not_computed_again(tmp_path):
    """``llm label`` finds them by the identity of a calibration for ``llm classify``."""
    shutil.copytree(FILES / "label_states", tmp_path / "states")
    spec = ClassifySpec(PromptLibrary(FILES / "prompts").get(PROMPT), parse_label_names("bug,idea"))
    store = StateStore(tmp_path / "states", spec.identity("last-release-id", "original"), "0" * 64)
    kept = store.get(Record(0, "a bug", 1))
    store.close()
    assert kept is not None and kept.raw == {"bug": -0.25, "idea": -1.5}
