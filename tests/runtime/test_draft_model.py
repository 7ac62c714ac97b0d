"""The draft model of a command: where it comes from, what is checked before the model is loaded, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from declared_commands import DECLARED

from llmcli.engine.llama import hardware
from llmcli.errors import OutOfMemory
from llmcli.models.files.model_file import ModelFile
from llmcli.runtime import preflight
from llmcli.settings import resolve_settings
from llmcli.types import BackendStats, Usage

VERBS = ("ask", "chat", "generate", "summarize", "translate")


@pytest.fixture
def draft(tiny, tried, tmp_path):
    """Return the file of a draft model for the model of ``llm``."""
    path = Path(shutil.copy(tiny("llama"), tmp_path / "draft.gguf"))
    tried(path)
    return path


@pytest.mark.parametrize(
    "argv",
    [
        ("ask", "Q"),
        ("chat", "--no-save"),
        ("generate", "poem", "--var", "topic=rain"),
        ("summarize",),
        ("translate", "--to", "de", "--no-tm"),
        ("extract", "--schema", "name"),
        ("command", "list files"),
    ],
    ids=[*VERBS, "extract", "command"],
)
def test_the_setting_of_a_command_reaches_the_engine(llm, draft, argv):
    """Of every command that writes text."""
    answers = {
        "summarize": "ein Text",
        "translate": "ein Text",
        "extract": '{"name": "text"}',
        "command": '{"command": "ls", "explanation": "Lists."}',
    }
    said = {"answer": lambda _: answers[argv[0]]} if argv[0] in answers else {}
    reads = argv[0] not in {"ask", "generate", "command"}
    run = llm(*argv, "--set", f"draft={draft}", stdin=b"a text\n" if reads else b"", **said)
    assert run.code == 0, run.err
    assert llm.options.draft == draft


def test_every_command_that_writes_is_tried():
    """And those of a server and of a kept answer, which other tests try."""
    tried = {*VERBS, "extract", "command", "serve", "logs repeat", "audit ask"}
    assert {name for name, declared in DECLARED.items() if declared.needs.drafts} == tried


def test_the_setting_reaches_the_engine_and_off_overrides_it(llm, draft):
    """From the environment and the file; in YAML a bare off is a boolean."""
    assert llm("ask", "Q").code == 0
    assert llm.options.draft is None
    assert llm("ask", "Q", env={"LLMCLI_DRAFT": str(draft)}).code == 0
    assert llm.options.draft == draft
    assert llm("ask", "Q", "--set", "draft=off", env={"LLMCLI_DRAFT": str(draft)}).code == 0
    assert llm.options.draft is None
    file = Path(os.environ["LLMCLI_CONFIG_DIR"]) / "config.yaml"
    file.parent.mkdir(parents=True)
    for text, used in ((f"draft: {draft}", draft), ("draft: off", None)):
        file.write_text(text + "\n")
        assert llm("ask", "Q").code == 0
        assert llm.options.draft == used


def test_labels_need_no_draft_model(llm, draft):
    """``sentiment`` ignores the setting, wherever it comes from."""

    def scores(request):
        return dict.fromkeys(request.candidates, -1.0)

    for words, env in ((("--set", f"draft={draft}"), None), ((), {"LLMCLI_DRAFT": str(draft)})):
        assert llm("sentiment", *words, stdin=b"good\n", env=env, answer=scores).code == 0
        assert llm.options.draft is None


def test_a_draft_model_that_is_missing_is_an_error(llm, tmp_path):
    """As for -m: a path that does not exist, an unknown name, and a known model that was not downloaded."""
    run = llm("ask", "Q", "--set", f"draft={tmp_path / 'none.gguf'}")
    assert (run.code, run.backend) == (66, None)
    assert "none.gguf" in run.err
    assert llm("ask", "Q", "--set", "draft=no-such-model").code == 66
    run = llm("ask", "Q", "--set", "draft=qwen3-0.6b")
    assert run.code == 69
    assert "qwen3-0.6b" in run.err


def test_a_broken_draft_model_is_an_error(llm, draft):
    """The file is named, and nothing is loaded."""
    draft.write_bytes(draft.read_bytes()[:1000])
    run = llm("ask", "Q", "--set", f"draft={draft}")
    assert (run.code, run.backend) == (65, None)
    assert "draft.gguf" in run.err


def test_the_model_itself_is_no_draft_model(llm, tiny):
    """An error for the option; a setting is ignored, with an explanation, since it may suit other models."""
    model = str(tiny("llama"))
    run = llm("ask", "Q", "--set", f"draft={model}")
    assert (run.code, run.backend) == (2, None)
    assert "llama.gguf cannot draft for itself" in run.err
    run = llm("ask", "Q", "-v", env={"LLMCLI_DRAFT": model})
    assert (run.code, llm.options.draft) == (0, None)
    assert "llama.gguf is the model itself (LLMCLI_DRAFT)" in run.err


def test_a_server_refuses_the_setting_by_name(llm, draft, server):
    """Nothing is sent; the setting is for models on this machine."""
    run = llm("ask", "Q", "--base-url", server.url, "--set", f"draft={draft}")
    assert run.code == 69
    assert "--set draft" in run.err
    assert server.asked == []
    assert llm("ask", "Q", "--base-url", server.url, env={"LLMCLI_DRAFT": str(draft)}).code == 0


def test_the_memory_of_both_models_has_to_be_free(tiny, draft, monkeypatch):
    """The suggestion is to do without, if the model alone fits."""

    def file(path):
        return ModelFile("tiny", path, path.stat().st_size, context=256, parts=(path,))

    settings = resolve_settings({}, {}, None)
    model, small = file(tiny("llama")), file(draft)
    drafted = replace(model, draft=small)
    alone, both = (preflight.estimate_memory(each, settings).needed_bytes for each in (model, drafted))
    assert both > alone + small.size
    monkeypatch.setattr(hardware, "list_gpus", list)
    monkeypatch.setattr(hardware, "available_memory", lambda: (alone + both) // 2)
    preflight.check_memory(model, settings, None)
    with pytest.raises(OutOfMemory) as raised:
        preflight.check_memory(drafted, settings, None)
    assert (raised.value.needed, raised.value.fits) == (both, "--set draft=off")


# ---- what is said ----------------------------------------------------------------------------------------------------


@pytest.fixture
def counted(llm, monkeypatch):
    """Run ``llm ask`` on a backend with these statistics of drafts."""
    import scripted

    def run(*argv, usage, off=""):
        monkeypatch.setattr(scripted, "Usage", lambda *_args, **_more: usage)
        monkeypatch.setattr(scripted.ScriptedBackend, "stats", lambda _self: BackendStats(draft_off=off))
        return llm("ask", "Q", *argv)

    return run


def test_stats_say_what_became_of_the_drafts(counted):
    """Drafted and accepted tokens, or why it is off; nothing without a draft model."""
    drafted = Usage(5, 0, 9, 12, 7)
    assert "7 of 12 draft tokens accepted, " in counted("--stats", usage=drafted).err
    assert "draft model off (too slow)" in counted("--stats", usage=Usage(5, 0, 9), off="too slow").err
    assert "draft" not in counted("--stats", usage=Usage(5, 0, 9)).err


def test_json_has_the_counts_if_there_were_drafts(counted):
    """In the usage of the record, and in the statistics with the reason."""
    run = counted("--stats", "--json", usage=Usage(5, 0, 9, 12, 7), off="too slow")
    assert json.loads(run.out)["usage"] == {
        "prompt_tokens": 5,
        "cached_tokens": 0,
        "completion_tokens": 9,
        "draft_tokens": 12,
        "accepted_draft_tokens": 7,
    }
    stats = json.loads(run.err)["stats"]
    assert (stats["draft_tokens"], stats["accepted_draft_tokens"], stats["draft_off"]) == (12, 7, "too slow")
    run = counted("--stats", "--json", usage=Usage(5, 0, 9))
    assert "draft" not in run.out + run.err
