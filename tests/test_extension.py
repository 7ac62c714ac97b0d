"""A verb and an option added from an external package, through the same interfaces as the built-in ones."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from llm_fixtures import llm

from llmcli.cli import reference
from llmcli.cli.command_registry import ListedCommand, command_path, register_command, unregister_command
from llmcli.cli.commands.models.search_commands import task_by_use

__all__ = ["llm"]

_TASK = '''
"""shout: a text becomes the same text, louder."""

from llmcli.tasks.runner.task_requests import make_request
from llmcli.tasks.runner.task_run import run_task
from llmcli.tasks.runner.text_answers import write_text


def shout(backend, prompts, text, options):
    """Return the events of one answer."""
    prompt = prompts.get("shout")
    request = make_request("shout", prompt.render({"text": text}), prompt, options, max_tokens=16)
    return run_task(backend, lambda run: write_text(run, request, options, prompt=prompt.name))
'''
_COMMAND = '''
"""``llm shout``."""

from typing import Annotated

import typer

from llmcli.cli.flags import Flags, GivesSetting
from llmcli.cli.input import source_inputs
from llmcli.cli.options import FilesArgument, command
from llmcli.cli.render.renderer import render_task
from llmcli.fast_dataclass import frozen


@frozen
class ShoutFlags(Flags):
    """The recurring options, and one more."""

    markdown: Annotated[
        str | None, typer.Option("--markdown", metavar="on|off", help="Render Markdown."), GivesSetting()
    ] = None
    top_p: Annotated[float | None, typer.Option("--top-p", help="Sample from the likeliest tokens.")] = None


@command(examples="llm shout notes.txt", flags=ShoutFlags)
def shout(ctx, files: FilesArgument = None) -> int:
    """Say a text again, louder."""
    from extension_of_a_test.shout_task import shout as task

    (document,) = source_inputs.read_text_documents(ctx, files or [])
    options = ctx.generation_options()
    ctx.console.explain(f"markdown is {ctx.runtime.settings['markdown']} ({ctx.runtime.settings.origin('markdown')})")
    return render_task(ctx, lambda backend: task(backend, ctx.runtime.prompts, document.text, options)).exit_code
'''
_PROMPT = """\
description: Say a text again, louder
variables:
  text: {description: the text}
user: |
  Louder: {{ text }}
"""


@pytest.fixture
def shout(tmp_path, monkeypatch):
    """Write a package with a command and a task, write its prompt file, and register the command."""
    package = tmp_path / "packages" / "extension_of_a_test"
    package.mkdir(parents=True)
    for name, text in {"__init__": "", "shout_task": _TASK, "shout": _COMMAND}.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(package.parent))
    prompts = Path(os.environ["LLMCLI_CONFIG_DIR"]) / "prompts"
    prompts.mkdir(parents=True, exist_ok=True)
    (prompts / "shout.yaml").write_text(_PROMPT)
    register_command(
        ListedCommand("shout", "Say a text again, louder.", model_task="chat", module="extension_of_a_test.shout")
    )
    yield
    unregister_command("shout")
    for module in [name for name in sys.modules if name.startswith("extension_of_a_test")]:
        del sys.modules[module]


@pytest.mark.usefixtures("shout")
def test_a_verb_is_a_command_a_task_a_prompt_file_and_one_registration(llm):
    """It reads input, asks the model, and prints the answer to stdout."""
    run = llm("shout", stdin=b"hello")
    assert (run.code, run.out) == (0, "Louder: hello\n")
    assert '"prompt": "shout"' in llm("shout", "--json", stdin=b"hello").out


@pytest.mark.usefixtures("shout")
def test_an_added_option_reaches_the_requests(llm):
    """An option with the name of a generation option is one field of the flags."""
    (request,) = llm("shout", "--top-p", "0.5", stdin=b"hello").backend.requests
    assert request.sampling.top_p == 0.5


@pytest.mark.usefixtures("shout")
def test_an_added_verb_is_listed_everywhere(llm):
    """Help, errors, default models and recommendations list it."""
    assert "shout      " in llm("--help").out
    assert llm("shout", "--nope").err.endswith("Try: llm shout --help\n") and command_path(["shout"]) == "shout"
    assert "shout\t" in llm("models", "default", "--list", env={"LLMCLI_MODEL": None}).out
    assert task_by_use()["shout"] == "chat"


@pytest.mark.usefixtures("shout")
def test_an_option_is_one_definition(llm):
    """Help and reference show it, and its setting is resolved with its origin."""
    assert "--markdown on|off" in llm("shout", "--help").out
    assert "| `--markdown on\\|off` | Render Markdown. |" in reference.build_pages()["shout.md"]
    assert "markdown is off (--markdown)" in llm("shout", "--markdown", "off", "-v", stdin=b"hello").err
    assert llm("shout", "--markdown", "blue", stdin=b"hello").code == 2


@pytest.mark.usefixtures("shout")
def test_a_name_is_registered_once():
    """Two commands with the same name would hide each other."""
    with pytest.raises(ValueError, match="shout"):
        register_command(ListedCommand("shout", "Say it."))
