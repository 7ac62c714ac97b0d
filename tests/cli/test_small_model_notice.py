"""The line below an answer of a small model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from scripted import last_message

from llmcli.cli import small_model_notice
from llmcli.models.library.resolver import STARTER_MODEL
from llmcli.models.memory_estimate import FitPolicy, MachineResources
from llmcli.runtime.runtime import Runtime

NOTICE = "smollm2-135m is a toy and often wrong; better here: llm models pull qwen3-8b && llm models default qwen3-8b"


@pytest.fixture
def show(llm, terminal, monkeypatch, tiny):
    """Run a command on a model with the name of the starter on a terminal; return what is shown on stderr."""
    policy = FitPolicy(lambda: MachineResources(8 * 10**9, (), 60.0 * 10**9))
    monkeypatch.setattr(Runtime, "fit_policy", lambda _self, **_: policy)

    def run(*argv, model=STARTER_MODEL, on_terminal=True, answer=lambda _: "A.", parameters=134_515_008):
        monkeypatch.setattr(Runtime, "responder_name", property(lambda _: model, lambda _self, _: None), raising=False)
        screen = terminal(columns=200)
        run = llm(
            *argv,
            answer=answer,
            parameters=parameters,
            env={"LLMCLI_MODEL": str(tiny("chatml"))},
            err=screen.slave if on_terminal else None,
        )
        return screen.close() if on_terminal else run.err

    return run


@pytest.fixture
def ask(show):
    """Ask the model on a terminal; return what is shown."""
    return lambda *argv, **how: show("ask", "Q", *argv, **how)


def test_the_notice_is_shown_once_a_day(ask):
    """And again after a day; a clock that was set back does not silence it."""
    marker = Path(os.environ["LLMCLI_CACHE_DIR"], small_model_notice.NOTICE_DIRECTORY, "ask")
    assert ask() == f"llm: {NOTICE}" and ask() == ""
    shown = marker.stat().st_mtime
    for other in (shown - 86_500, shown + 86_500):
        os.utime(marker, (other, other))
        assert NOTICE in ask() and ask() == ""


def test_it_is_for_people_and_for_small_models_only(ask):
    """Not with -q or --json, in a pipe, or for larger models; none of these counts as shown."""
    assert (
        ask("-q") == ask("--json") == ask(on_terminal=False) == ask(parameters=5 * 10**8) == ask(parameters=None) == ""
    )
    assert NOTICE in ask()


def test_other_small_models_are_named(ask):
    """By the name with which they are called."""
    assert "gemma-3-270m is a toy and often wrong" in ask(model="gemma-3-270m", parameters=268_098_176)


LABELLED = "text,label\n" + "".join(f"x{n},{'a' if n % 2 else 'b'}\n" for n in range(12))
SCHEMA = "name string"
UNSUITED = {
    "filter": ["filter", "it is about music", "words.txt"],
    "classify": ["classify", "--labels", "a,b", "words.txt"],
    "classify --multi": ["classify", "--labels", "a,b", "--multi", "words.txt"],
    "extract": ["extract", "--schema", SCHEMA, "words.txt"],
    "command": ["command", "list", "files"],
    "aspects": ["sentiment", "--aspects", "words.txt"],
    "table question": ["ask", "Which music, or not?", "-f", "labelled.csv"],
    "check": ["check", "words.txt", "--against", "words.txt"],
}
SUITED = {
    "sentiment": ["sentiment", "words.txt"],
    "classify with examples": ["classify", "--labels", "a,b", "--examples", "labelled.csv", "words.txt"],
    "classify with a calibration": ["classify", "--labels", "a,b", "--calibrate", "labelled.csv", "words.txt"],
}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Work in a directory with the inputs."""
    monkeypatch.chdir(tmp_path)
    Path("words.txt").write_text("The music was loud.\n")
    Path("labelled.csv").write_text(LABELLED)


def answer(request):
    """Return an answer of the kind that a request asks for."""
    if request.candidates:
        return {candidate: -1.0 - number for number, candidate in enumerate(request.candidates)}
    properties = (request.schema or {}).get("properties", {})
    if "command" in properties:
        return '{"command": "ls", "explanation": "It lists files."}'
    if "Text:" in last_message(request):
        return '{"name": "music"}'
    return '{"sql": "SELECT count(*) FROM labelled", "aspects": []}'


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("verb", UNSUITED)
def test_verbs_that_need_larger_models_say_so(show, verb):
    """Once a day for each of them."""
    assert "is a toy and often wrong" in show(*UNSUITED[verb], answer=answer)
    assert "is a toy" not in show(*UNSUITED[verb], answer=answer)
    assert "is a toy" in show("generate", "poem", "--var", "topic=rain")


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("verb", SUITED)
def test_verbs_that_small_models_do_well_say_nothing(show, verb):
    """Labels of a sentiment, and those that labelled rows correct."""
    assert "is a toy" not in show(*SUITED[verb], answer=answer)


def test_doctor_and_models_show_say_it(llm, tiny):
    """In words and as a field."""
    env = {"LLMCLI_MODEL": str(tiny("chatml"))}
    shown = llm("models", "show", env=env, out=None)
    assert json.loads(llm("models", "show", "--json", env=env).out)["toy"] is True and shown.code == 0
    assert "toy" in shown.out
    checks = [json.loads(line) for line in llm("doctor", "--json", env=env).out.splitlines()]
    (found,) = [each for each in checks if each["check"] == "default model"]
    assert "is a toy and often wrong" in found["text"] and found["data"]["toy"] is True


def test_a_read_only_home_is_fine(ask, monkeypatch):
    """Without a place to record the notice it is not shown, and the answer is as usual."""
    monkeypatch.setenv("LLMCLI_CACHE_DIR", "/proc/none")
    assert ask() == ""


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("verb", ["filter", "classify", "classify --multi"])
def test_labels_that_nothing_corrects_are_warned_about_in_pipes(show, verb):
    """In one line: how many margins were low, and how to measure the labels; not with -q, and for larger models not."""
    Path("words.txt").write_text("sure one\nunsure two\nunsure three\n\n")

    def unsure(request):
        if not any(word in last_message(request) for word in ("sure", "unsure")):  # a text of the prior
            return dict.fromkeys(request.candidates, -1.0)
        lead = 0.05 if "unsure" in last_message(request) else 5.0
        return {name: -lead * number for number, name in enumerate(request.candidates)}

    def run(*argv, **how):
        return show(*UNSUITED[verb], *argv, answer=unsure, on_terminal=False, **how)

    said = "2 of 3 margins were below 0.2, and labels of a model as small as smollm2-135m are often wrong"
    assert run() == f"llm: warning: {said}; to measure them: --eval LABELLED_FILE\n"
    assert run("-q") == run(parameters=5 * 10**8) == run(parameters=None) == ""
    assert said in json.loads(run("--json"))["warning"]
    run("--summary", "summary.json")
    assert said in json.loads(Path("summary.json").read_text())["warning"]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("verb", ["classify with examples", "classify with a calibration"])
def test_labels_that_rows_correct_are_not_warned_about(show, verb):
    """Nor those of a report on labelled rows, nor an input without records."""
    assert "margins" not in show(*SUITED[verb], answer=answer, on_terminal=False)
    assert "margins" not in show(*UNSUITED["classify"][:3], "--eval", "labelled.csv", answer=answer, on_terminal=False)
    Path("words.txt").write_text("")
    assert show(*UNSUITED["classify"], answer=answer, on_terminal=False) == ""
