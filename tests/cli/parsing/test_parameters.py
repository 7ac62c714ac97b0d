"""The parser of usual command lines gives what Typer gives, or leaves the words to Typer."""

from __future__ import annotations

import functools
from typing import Annotated

import pytest
import typer
from row_table import all_rows

from llmcli.cli.command_registry import COMMANDS, find_command
from llmcli.cli.options import command
from llmcli.cli.parsing import typer_parser
from llmcli.cli.parsing.parameters import parse_words
from llmcli.errors import UsageError

PLAIN = [
    "ask",
    "ask hi",
    "ask what is new -x --copy --editor",
    "ask -p review -s text --var a=b --session x --continue",
    "ask -t review -c hi",
    "chat -ttutor -c -s x",
    "ask hi -f a.txt -f b.txt --max-tokens 5 --temperature 0",
    "ask -- -1",
    "ask - --json -q -v",
    "ask hi -mqwen3-4b --ctx=512 --seed 7 --seed 8",
    "ask --lora a:0.5 --lora b hi",
    "ask hi --temperature=-0.0",
    "ask hi --timeout 1e3 --max-cost .5",
    "ask hi -o - --pull --offline --deterministic",
    "ask --column=a --column b --on-error skip q",
    "ask hi --base-url=http://h/v1?a=b --output-format=-x",
    "ask hi --seed 1_0",
    "sentiment",
    "sentiment a b c --by paragraph --scale 5 --aspects",
    "sentiment --threshold 0.5 a --delimiter tab -- --b",
    "sentiment --limit 3 --dedupe --overwrite -",
    "classify --labels a,b",
    "classify --labels a,b --multi --examples e.csv x",
    "filter yes a b -c -n --not x --and y --and z",
    "translate --to fr a.po -o b.po --formality formal",
    "translate --to fr --to de --format po --pseudo identity",
    "summarize a --words 20 --style bullets",
    "generate email --var a=b --var c=d -f rows.csv",
    "redact --names letter.txt",
    "proofread a.txt --top 3 --threshold 12.5 --sarif",
    "embed a.txt --pooling last --no-normalize -o a.npy",
    "similar query a.txt b.txt --top 3 --threshold 0.5 --files",
    "chat --continue --no-save",
    "doctor",
    "serve --port 8080",
    "help ask",
]
UNUSUAL = [
    "ask --help",
    "ask --nope",
    "ask hi --max-tokens 0",
    "ask hi --max-tokens x",
    "ask hi --seed 4294967296",
    "ask hi --max-tokens",
    "ask hi --json=yes",
    "ask hi -qv",
    "ask hi -m=x",
    "ask hi --temperature -1",
    "ask hi --temperature nan",
    "proofread a.txt --threshold nan",
    "proofread a.txt --threshold inf",
    "similar query --threshold nan",
    "embed a.txt --limit 10000000000000000000000",
    "ask -5",
    "sentiment --by word",
    "sentiment --delimiter ab",
    "classify a.txt",
    "filter",
    "translate --model --to fr",
]
"""Left to Typer, which refuses most of them."""


def parse_with_typer(name, words):
    """Return the values that Typer passes to the function of a command."""
    given = {}
    function = functools.wraps(find_command(name).load())(lambda **values: given.update(values) or 0)
    app = typer.Typer(add_completion=False)
    app.callback()(lambda: None)
    typer_parser.add_command(app, name, function)
    typer.main.get_command(app).main(args=[name, *words], standalone_mode=False)
    del given["invocation"]
    return given


@all_rows("line", PLAIN)
def test_a_usual_command_line_is_parsed_as_typer_parses_it(line):
    """Each parameter gets the same value, of the same type."""
    name, *words = line.split()
    values = parse_words(find_command(name).load().declaration.parameters, words)
    expected = parse_with_typer(name, words)
    assert values == expected and {k: type(v) for k, v in values.items()} == {k: type(v) for k, v in expected.items()}


@all_rows("line", UNUSUAL)
def test_anything_else_is_left_to_typer(line):
    """It is refused in Typer's words, or parsed by its rules."""
    name, *words = line.split()
    assert parse_words(find_command(name).load().declaration.parameters, words) is None


def test_an_error_of_a_callback_is_raised():
    """It has its own message."""
    with pytest.raises(UsageError):
        parse_words(find_command("ask").load().declaration.parameters, ["hi", "-o", ""])


@pytest.mark.parametrize("name", [each.name for each in COMMANDS if each.runs_model])
def test_every_verb_declares_what_the_parser_knows(name):
    """A verb with one of Typer's own declarations would pay for Typer at each start."""
    parameters = find_command(name).load().declaration.parameters
    required = {
        "check": ["--against", "x"],
        "classify": ["--labels", "a"],
        "extract": ["--schema", "a"],
        "filter": ["x"],
        "label": ["--labels", "a,b", "x"],
        "run-batch": ["-i", "x"],
        "similar": ["x"],
    }
    assert parse_words(parameters, required.get(name, [])) is not None


def test_an_option_declared_with_typer_is_left_to_typer():
    """Programs that extend llm may declare options either way."""

    @command("json")
    def shout(ctx, loud: Annotated[bool, typer.Option("--loud")] = False) -> int:
        """Shout."""
        return int(loud)

    assert parse_words(shout.declaration.parameters, []) is None
