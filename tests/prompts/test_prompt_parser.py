"""Prompt files: their contents, and everything that can be wrong with them."""

from pathlib import Path

import pytest

from llmcli.errors import ConfigError, UsageError
from llmcli.prompts.prompt_parser import BadPrompt, parse_prompt
from llmcli.types import Message, Role

GOOD = """\
description: Greets
system: Be {{ tone }}.
examples:
  - user: Ann
    assistant: Hello Ann, {{ tone }}
user: |
  {{ name }}
variables:
  name: {}
  tone:
    choices: [kind, cool]
    default: kind
  times:
    type: number
    default: 2
options:
  temperature: 0
  stop: END
output:
  labels: [good, bad]
"""


def load(text, name="generate/greeting"):
    return parse_prompt(name, Path("greeting.yaml"), text)


def faults(text, name="generate/greeting"):
    with pytest.raises(BadPrompt) as caught:
        load(text, name)
    return [(problem.line, problem.message) for problem in caught.value.problems]


def test_messages_are_in_the_order_of_a_conversation():
    """System, the examples as pairs of turns, and the user's message, all rendered."""
    assert load(GOOD).render({"name": "Bob"}) == (
        Message(Role.SYSTEM, "Be kind."),
        Message(Role.USER, "Ann"),
        Message(Role.ASSISTANT, "Hello Ann, kind"),
        Message(Role.USER, "Bob"),
    )


def test_a_blank_system_message_is_omitted():
    """A system template that renders blank makes no message."""
    prompt = load("description: d\nsystem: '{{ a }}'\nuser: u\nvariables: {a: {default: ''}}")
    assert [message.role for message in prompt.render({})] == [Role.USER]


def test_options_and_output_are_read():
    """Options and labels become typed values; missing ones stay open."""
    prompt = load(GOOD)
    assert (prompt.options.temperature, prompt.options.stop, prompt.options.top_k) == (0.0, ("END",), None)
    assert (prompt.output, prompt.labels) == ("labels", ("good", "bad"))


def test_a_schema_is_kept_as_it_stands():
    """A JSON schema is passed on unchanged."""
    prompt = load("description: d\nuser: u\noutput: {schema: {type: object, properties: {a: {type: string}}}}")
    assert prompt.output == "schema"
    assert prompt.schema == {"type": "object", "properties": {"a": {"type": "string"}}}


def test_all_problems_of_variables_are_reported_at_once():
    """One usage error names the unknown, missing and wrong variables."""
    text = GOOD.replace("  name: {}\n", "  name: {}\n  place: {}\n")
    with pytest.raises(UsageError) as caught:
        load(text).render({"tone": "rude", "times": "often", "nmae": "Bob"})
    for part in ("unknown variables: nmae", "missing variables: name, place", "one of kind, cool", "must be a number"):
        assert part in caught.value.subject


def test_a_failing_expression_blames_the_file():
    """An expression that fails while rendering is a configuration error that names the file."""
    with pytest.raises(ConfigError) as caught:
        load("description: d\nuser: '{{ a + 1 }}'\nvariables: {a: {}}").render({"a": "x"})
    assert caught.value.origin == "greeting.yaml"


def test_all_faults_are_reported_with_their_lines():
    """Parsing reports every fault with its line."""
    text = """\
description: d
sytem: x
user: |
  hello
  {{ nmae }} {% if %}
variables:
  tone:
    choices: [a, a]
options:
  temperature: -1
  heat: 2
output: list
"""
    found = faults(text)
    assert [line for line, _ in found] == [2, 5, 8, 10, 11, 12]
    assert "did you mean system?" in found[0][1]


@pytest.mark.parametrize(
    ("name", "which"), [("generate/mine", "it"), ("sentiment", "it"), ("generate/two", "each of them")]
)
def test_an_undefined_variable_comes_with_the_line_that_declares_it(name, which):
    """The fault names the file and the key, and its example makes the prompt valid."""
    text = "description: d\nuser: '{{ txt }}'\n" if which == "it" else "description: d\nuser: '{{ txt }} {{ too }}'\n"
    with pytest.raises(BadPrompt) as caught:
        parse_prompt(name, Path("/prompts/mine.yaml"), text)
    (problem,) = caught.value.problems
    assert f'declare {which} in mine.yaml under the key "variables:"' in problem.message
    example = problem.message.partition("for example: ")[2]
    example = example if which == "it" else f"variables: {{txt: {{}}, {example.removeprefix('variables: {')}"
    prompt = parse_prompt(name, Path("/prompts/mine.yaml"), text + example)
    assert (prompt.variables.get("txt").default is None) is name.startswith("generate/")


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("", 1, "expected a mapping"),
        ("- a", 1, "expected a mapping"),
        ("description: d\nuser: [", 2, "not YAML"),
        ("a: 2024-13-45", None, "not YAML"),
        ("description: d\n", None, "user is missing"),
        ("description: d\nuser: ''", 2, "user must be a text"),
        ("description: 3\nuser: u", 1, "description must be a text"),
        ("description: d\nuser: '{{ who }}'", 2, "undefined variables: who"),
        ("description: d\nuser: u\nuser: v", 3, "user is given twice"),
        ("description: d\nuser: u\nexamples: {}", 3, "list of pairs"),
        ("description: d\nuser: u\nexamples:\n  - user: q", 4, "assistant is missing"),
        ("description: d\nuser: u\nexamples:\n  - user: q\n    assistant: yes", 5, "assistant must be a text"),
        ("description: d\nuser: u\nvariables: [a]", 3, "must be a mapping"),
        ("description: d\nuser: u\nvariables:\n  a-b: {}", 4, "not a valid variable name"),
        ("description: d\nuser: u\nvariables:\n  for: {}", 4, "not a valid variable name"),
        ("description: d\nuser: u\nvariables:\n  a: {type: choice}", 4, "the type choice needs choices"),
        ("description: d\nuser: u\nvariables:\n  a: {choices: [x, y], default: z}", 4, "must be one of x, y"),
        ("description: d\nuser: u\nvariables:\n  a: {default: 3}", 4, "put it in quotes"),
        ("description: d\nuser: u\noptions: {stop: ['']}", 3, "none empty"),
        ("description: d\nuser: u\noptions: {top_p: 0}", 3, "above 0"),
        ("description: d\nuser: u\noptions: {max_tokens: true}", 3, "whole number"),
        ("description: d\nuser: u\noutput: {labels: [yes, no]}", 3, "labels"),
    ],
)
def test_each_fault_is_found(text, line, part):
    """A file with one fault is refused with its line and the problem."""
    found = faults(text)
    assert any(at == line and part in message for at, message in found), found


@pytest.mark.parametrize("name", ["mine", "generate/mine"])
def test_an_own_prompt_may_use_text_and_question_undeclared(name):
    """Only those that it uses are variables of it, and a declaration overrides."""
    prompt = parse_prompt(name, Path("mine.yaml"), "description: d\nuser: '{{ text }}'\n")
    assert list(prompt.variables) == ["text"] and prompt.variables["text"].default is None
    declared = "description: d\nuser: '{{ question }}'\nvariables: {question: {default: x}}\n"
    assert parse_prompt(name, Path("mine.yaml"), declared).variables["question"].default == "x"
    with pytest.raises(BadPrompt, match="undefined variables: question"):
        parse_prompt("sentiment", Path("mine.yaml"), "description: d\nuser: '{{ text }}{{ question }}'\n")


def test_a_command_passes_its_variables_without_a_declaration():
    """A command's prompt may use the variables that the command passes, but may not declare them again."""
    assert load("description: d\nuser: '{{ text }}'", "sentiment").contract_variables == ("text", "row")
    found = faults("description: d\nuser: '{{ text }}'\nvariables:\n  text: {}", "sentiment")
    assert found == [(4, "the command passes the variable text: remove its declaration")]


# ---- what stands before the user's turn ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "public"),
    [
        ("", True),
        ("system: Be kind.", True),
        ("system: '{{ tone }}'", False),
        ("system: '{% if tone %}kind{% endif %}'", False),
        ("system: '{% set x = tone %}{{ x }}'", False),
        ("system: '{% for c in tone %}{{ loop.index }}{{ c }}{% endfor %}'", False),
        ("system: '{% set x = 1 %}{{ x }}'", True),
        ("system: '{{ 1 + 1 }}'", True),
        ("system: '{# tone #}kind'", True),
        ("system: '{% raw %}{{ tone }}{% endraw %}'", True),
        ("examples: [{user: Ann, assistant: Hello}]", True),
        ("examples: [{user: '{{ tone }}', assistant: Hello}]", False),
        ("examples: [{user: Ann, assistant: '{{ tone }}'}]", False),
        ("system: Be kind.\nexamples: [{user: a, assistant: b}, {user: c, assistant: '{{ tone }}'}]", False),
    ],
)
def test_a_prefix_without_variables_is_public(lines, public):
    """System message and examples are the file's own text, unless a variable in them may hold the user's text."""
    text = f"description: d\nuser: '{{{{ text }}}}{{{{ tone }}}}'\nvariables: {{text: {{}}, tone: {{}}}}\n{lines}\n"
    assert load(text).public_prefix is public


def test_the_name_of_a_language_is_public():
    """The target language comes from a list, so a prefix that names it is public."""
    text = "description: d\nsystem: 'Into {{ target_language }}.'\nuser: '{{ text }}{{ source_language }}'\n"
    assert load(text, "translate").public_prefix
    assert not load(text.replace("Into {{ target_language", "From {{ source_language"), "translate").public_prefix


def test_a_public_prefix_does_not_depend_on_values():
    """For any values, all messages before the last are the same."""
    prompt = load(GOOD.replace("Be {{ tone }}.", "Be kind.").replace("Hello Ann, {{ tone }}", "Hello Ann"))
    assert prompt.public_prefix
    assert prompt.render({"name": "Bob"})[:-1] == prompt.render({"name": "Eve", "tone": "cool"})[:-1]
