import pytest
from scripted import ScriptedBackend, last_message
from tasks.helpers import result

from llmcli.errors import MissingError, UsageError
from llmcli.prompts.prompt_library import PromptLibrary, own_prompt_names
from llmcli.tasks.generate import generate
from llmcli.tasks.runner.task_requests import GenerationOptions


def run(prompts, kind, variables, text=None, **options):
    backend = ScriptedBackend()
    return result(generate(backend, prompts, kind, variables, text, GenerationOptions(**options))), backend.requests[0]


def test_variables_reach_the_prompt(prompts):
    """The variables are filled into the kind's prompt file, which the result names."""
    answer, request = run(prompts, "poem", {"topic": "rain"})
    assert (last_message(request), answer.prompt) == ("poem about rain", "generate/poem")


def test_stdin_becomes_the_text_variable(prompts):
    """Text from stdin goes to the variable that the prompt declares for it."""
    _, request = run(prompts, "note", {"topic": "rain"}, "bring boots")
    assert last_message(request) == "note about rain bring boots"


def test_text_for_a_kind_that_takes_none(prompts):
    """Text for a kind that takes none is refused with the variables that it takes."""
    with pytest.raises(UsageError, match="--var topic"):
        run(prompts, "poem", {"topic": "rain"}, "bring boots")


def test_blank_stdin_is_no_text(prompts):
    """An empty stdin (of a cron job) does not count as text."""
    _, request = run(prompts, "poem", {"topic": "rain"}, "\n")
    assert last_message(request) == "poem about rain"


def test_unknown_kind_has_suggestions(prompts):
    """An unknown kind is missing; similar kinds are suggested without the directory."""
    with pytest.raises(MissingError) as caught:
        run(prompts, "peom", {})
    assert caught.value.subject == "peom" and "poem" in caught.value.suggestions


def test_missing_variable(prompts):
    """A missing variable is a usage error that names it."""
    with pytest.raises(UsageError, match="topic"):
        run(prompts, "poem", {})


def test_kinds_are_listed(prompts):
    """The kinds are the prompt files below generate/."""
    assert {"note", "poem"} <= set(own_prompt_names(prompts))


def test_the_answer_has_an_automatic_limit(prompts):
    """A kind without a limit still ends; the user's limit overrides."""
    assert run(prompts, "poem", {"topic": "x"})[1].max_tokens == 2048
    assert run(prompts, "poem", {"topic": "x"}, max_tokens=7)[1].max_tokens == 7


def test_a_kinds_schema_and_labels_constrain_the_answer(tmp_path):
    """The model's output is constrained to ``output``."""
    (tmp_path / "generate").mkdir()
    for name, output in (("data", "{schema: {type: object}}"), ("word", "{labels: [good, bad]}")):
        text = f"description: x\nuser: Say x.\noutput: {output}\n"
        (tmp_path / "generate" / f"{name}.yaml").write_text(text)
    library = PromptLibrary(tmp_path)
    assert run(library, "data", {})[1].schema == {"type": "object"}
    request = run(library, "word", {})[1]
    assert request.labels == ("good", "bad") and request.schema is None
