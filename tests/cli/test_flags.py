"""The shared options: one definition gives words, marks and settings."""

from __future__ import annotations

from typing import Annotated

import typer

from llmcli.cli.flags import Flags, GivesSetting, flag_settings, model_options, option_words, shared_options
from llmcli.fast_dataclass import frozen
from llmcli.settings import SETTING_SPECS


def test_every_marked_option_gives_a_setting_that_exists():
    """The setting has the name of the option unless the mark says otherwise; the origin is its longest word."""
    given = flag_settings(Flags(model="m", ctx=512))
    assert set(given) <= {spec.name for spec in SETTING_SPECS}
    assert given["model"] == ("--model", "m") and given["ctx"] == ("--ctx", 512)
    assert given["base_url"] == ("--base-url", None)


def test_a_switch_gives_the_value_of_its_mark():
    """A switch that is not set gives nothing."""
    assert flag_settings(Flags())["worker"] == ("--no-worker", None)
    assert flag_settings(Flags(no_worker=True, no_stdin=True))["worker"] == ("--no-worker", "off")
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
