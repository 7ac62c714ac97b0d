"""The shared options: one definition gives words, marks and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import typer
from llm_fixtures import llm, write

from llmcli.cli import command_registry
from llmcli.cli.flags import Flags, GivesSetting, flag_settings, model_options, option_words, shared_options
from llmcli.cli.reference import load_parser
from llmcli.errors import InternalError
from llmcli.fast_dataclass import frozen
from llmcli.settings import SETTING_SPECS

__all__ = ["llm", "write"]


def test_every_marked_option_gives_a_setting_that_exists():
    """The setting has the name of the option unless the mark says otherwise; the origin is its longest word."""
    given = flag_settings(Flags(model="m", ctx=512))
    assert set(given) <= {spec.name for spec in SETTING_SPECS}
    assert given["model"] == ("--model", "m") and given["ctx"] == ("--ctx", 512)
    assert given["base_url"] == ("--base-url", None)


def test_a_switch_gives_the_value_of_its_mark():
    """A switch that is not set gives nothing."""
    assert flag_settings(Flags())["stdin"] == ("--no-stdin", None)
    assert flag_settings(Flags(no_stdin=True))["stdin"] == ("--no-stdin", "off")


def test_options_that_choose_the_model_are_repeated_in_a_suggestion():
    """Without them another model would answer; other options are omitted."""
    flags = Flags(model="m", backend="b", base_url="http://h/v1", offline=True, ctx=64)
    assert model_options(flags) == ["-m", "m", "--backend", "b", "--base-url", "http://h/v1", "--offline"]
    assert model_options(Flags(ctx=64)) == []


def test_an_option_has_all_of_its_words():
    """Errors before a command line is parsed need them."""
    assert option_words("verbose") == {"-v", "--verbose"} and option_words("json") == {"--json"}


def test_an_option_is_added_by_one_field():
    """A derived class has the options of ``Flags`` and its own."""

    @frozen
    class MoreFlags(Flags):
        markdown: Annotated[str | None, typer.Option("--markdown"), GivesSetting()] = None

    assert [option.name for option in shared_options(MoreFlags)] == [
        *(option.name for option in shared_options()),
        "markdown",
    ]
    assert flag_settings(MoreFlags(markdown="off"))["markdown"] == ("--markdown", "off")


def option_words_by_command(name, parser):
    """Yield each command with its words; of a group, those of all its commands."""
    yield name, {word for param in parser.params for word in param.opts}
    for sub, command in getattr(parser, "commands", {}).items():
        yield from option_words_by_command(f"{name} {sub}", command)


def test_every_command_with_an_output_has_force():
    """So a script can give both to each command."""
    words = {}
    for command in command_registry.COMMANDS:
        words |= option_words_by_command(command.name, load_parser(command.name))
    writing = [name for name, own in words.items() if "-o" in own]
    assert {"ask", "summarize", "translate", "tm export", "models quantize", "quiz import"} <= {*writing}
    assert [name for name in writing if "--force" not in words[name]] == []


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_an_explicit_output_is_replaced_with_and_without_force(llm, write, force):
    """And completely."""
    path = write("out.txt", "an older and longer answer\n" * 9)
    assert llm("ask", "Why?", "-o", path, *force, answer=lambda _request: "new").code == 0
    assert Path(path).read_text(encoding="utf-8") == "new\n"


def test_force_is_no_part_of_a_job(llm, write, tmp_path):
    """A job that was begun without it is resumed with it: only the failed record is asked about again."""
    argv = ["classify", "--labels", "bug,idea", write("in.txt", "a bug\nboom\nan idea\n")]
    argv += ["-o", str(tmp_path / "out.csv"), "--resume"]

    def answer(request):
        failed = "boom" in request.messages[-1].content
        return InternalError(detail="boom") if failed else dict.fromkeys(request.candidates, -1.0)

    assert llm(*argv, answer=answer).code == 3
    again = llm(*argv, "--retry-failed", "--force", answer=lambda request: dict.fromkeys(request.candidates, -1.0))
    assert again.code == 0, again.err
    assert ["boom" in request.messages[-1].content for request in again.backend.requests] == [True]
