"""One section of a text that is written again: what is wrong with it is found as in a whole text."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted import Reply, ScriptedBackend
from tasks.helpers import result

from llmcli.backends.redacting_backend import RedactingBackend
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.redaction.redactor import Redactor
from llmcli.tasks.generate.outline import LongKind
from llmcli.tasks.generate.source_facts import SourceFacts
from llmcli.tasks.generate.text_revision import Revision, revise_section
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import FinishReason

TEXT = "# Pumps\n\n## Costs\n\nAsk jane@example.org, or see www.example.org/costs.\n"


def revise(answer, *, redacts=False, **options):
    """Return the result of a revision of the section Costs."""
    backend = ScriptedBackend(lambda _: answer)
    revision = Revision(LongKind.REPORT, TEXT, 1, "Shorter", **options)
    wrapped = RedactingBackend(backend, Redactor()) if redacts else backend
    prompts = PromptLibrary(Path("/nowhere"))
    return result(revise_section(wrapped, prompts, revision, SourceFacts([]), GenerationOptions()))


@pytest.mark.parametrize(
    ("answer", "options", "problem"),
    [
        ("The page www.example.com has it.", {}, "the address www.example.com stands in no source"),
        ("The walls of an old house lose most of the heat.", {"language": "German"}, "it is in English, not in German"),
        ("Ask PII_EMAIL_7 about the costs.", {"redacts": True}, "private values were not put back: PII_EMAIL_7"),
        (
            Reply("The costs are high. They will", reason=FinishReason.LENGTH),
            {},
            "it is cut, since the answer was too long",
        ),
    ],
    ids=["address", "language", "private", "cut"],
)
def test_what_is_wrong_with_a_new_section(answer, options, problem):
    """Is reported, and the text is written."""
    found = revise(answer, **options)
    assert [each["problem"] for each in found.fields["problems"]] == [problem]
    assert found.cut and f"Costs: {problem}" in found.warnings and found.text.startswith("# Pumps\n\n## Costs\n\n")


@pytest.mark.parametrize("answer", ["See www.example.org/costs for them.", "They are high, in German: hoch."])
def test_what_the_text_has_already(answer):
    """An address of the text is known; without a language, any is right."""
    found = revise(answer)
    assert found.fields["problems"] == [] and not found.cut and answer in found.text
