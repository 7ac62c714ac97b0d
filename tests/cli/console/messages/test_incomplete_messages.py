"""The messages for incomplete results, and for input that does not fit the context."""

from __future__ import annotations

import pytest
from scripted import Reply, last_message

from llmcli.cli.console.error_messages import describe
from llmcli.errors.incomplete_results import AnswerTruncated, EmptyAnswer, MissingPart, PartsMissing
from llmcli.tasks.translate import incomplete_output
from llmcli.types import FinishReason


def part(first, final, number, *, stage=0, reason="empty"):
    return MissingPart(first, final, number, 9, stage, reason)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([part(3, 3, 2)], "line 3 of a.md (part 2 of 9) is missing from the summary"),
        (
            [part(1, 4, 1), part(9, 12, 3)],
            "lines 1 to 4, 9 to 12 of a.md (parts 1, 3 of 9) are missing from the summary",
        ),
        (
            [part(1, 4, 1), part(9, 9, 3, reason="cut")],
            (
                "lines 1 to 4 of a.md (part 1 of 9) are missing from the summary; "
                "line 9 of a.md (part 3 of 9) is summarized only in part"
            ),
        ),
        ([part(1, 80, 1, stage=1)], "lines 1 to 80 of a.md are missing from the summary"),
        (
            [part(n, n, n) for n in range(1, 9)],
            "lines 1, 2, 3, 4, 5 and 3 more of a.md (parts 1, 2, 3, 4, 5 and 3 more of 9) are missing from the summary",
        ),
    ],
)
def test_missing_parts_are_named_by_their_lines(parts, said):
    """Missing parts first, then truncated ones; only the first of many."""
    assert describe(PartsMissing("a.md", tuple(parts)))[0] == said


def test_standard_input_is_called_by_its_name():
    """No document is called -."""
    assert "of standard input (" in describe(PartsMissing("-", (part(1, 2, 1),)))[0]


def test_the_next_step_fits_the_cause():
    """A token limit can be raised; empty or wrong answers need another model."""
    assert "--max-tokens" in describe(AnswerTruncated(limit="max_tokens"))[1]
    assert "--max-tokens" in describe(EmptyAnswer(limit="max_tokens"))[1]
    assert "--max-tokens" in describe(incomplete_output(1, 2, limited=True))[1]
    assert "models list" in describe(incomplete_output(1, 2))[1]
    assert "models list" in describe(EmptyAnswer())[1]


TINY = 8192
"""The context of the tiny models."""


def advice(run):
    return run.err.splitlines()[-1]


@pytest.mark.parametrize("ctx", [(), ("--ctx", str(TINY))])
def test_a_context_at_its_maximum_is_not_raised(llm, ctx):
    """If the model has no more, by default or by setting, only a search of the text or another model helps."""
    run = llm("ask", "word " * 9000, "--no-stdin", *ctx, context=TINY, answer=last_message)
    assert run.code == 65 and "--ctx" not in advice(run)
    assert advice(run).startswith(
        'Give the long text as a document (llm ask -f FILE "QUESTION"), or'
    ) and "larger context" in advice(run)


def test_a_context_that_can_be_raised_says_how_far(llm):
    """If the prompt fits the model's own context."""
    run = llm("ask", "word " * 90, "--no-stdin", "--ctx", "64", context=64, answer=last_message)
    assert run.code == 65 and f"raise --ctx (this model supports up to {TINY})" in advice(run)


def test_a_prompt_larger_than_the_model_is_not_helped_by_a_larger_ctx(llm):
    """Raising it would be refused, or not suffice."""
    assert "--ctx" not in advice(
        llm("ask", "word " * 9000, "--no-stdin", "--ctx", "64", context=64, answer=last_message)
    )


def test_a_verb_does_not_suggest_itself(llm):
    """What summarize cannot do, summarize cannot do first."""
    run = llm("summarize", stdin=b"word " * 500, context=30, answer=last_message)
    assert run.code == 65 and "llm summarize" not in advice(run)


def test_an_answer_that_fills_the_context_is_not_helped_by_max_tokens(llm):
    """The limit is the model's own."""
    run = llm("ask", "word " * 50, "--no-stdin", context=TINY, answer=lambda _: "so " * 9000)
    assert run.code == 3 and "--max-tokens" not in run.err and "--ctx" not in run.err
    assert "--max-tokens" in llm("ask", "Q", answer=lambda _: Reply("half an", reason=FinishReason.LENGTH)).err


def test_a_context_beyond_the_model_names_its_maximum(llm):
    """The error names the largest possible context."""
    run = llm("ask", "Q", "--ctx", "20000")
    assert run.code == 2 and advice(run).startswith(f"Try: --ctx {TINY}, ")
