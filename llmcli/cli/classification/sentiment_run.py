"""One run of sentiment: the unit of a text, the scale, the aspects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmcli.cli.classification.classify_run import ScoringRun
from llmcli.cli.command_context import CommandContext
from llmcli.cli.records.record_inputs import record_flags
from llmcli.cli.records.record_run import prompt_manifest
from llmcli.errors import UsageError
from llmcli.tasks.sentiment import PROMPT, SentimentVerb

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.tasks.classify import ClassifyOptions
    from llmcli.tasks.runner.task_requests import GenerationOptions

_FORMATS = {"line": None, "sentence": "sentences", "paragraph": "paragraphs", "document": "document"}


def run_sentiment(ctx: CommandContext, files: Sequence[str], *, by: str, scale: int | None, aspects: bool) -> int:
    """Label the records; return the exit code. Raises ``UsageError`` for --by with a table."""
    flags = record_flags(ctx)
    if _FORMATS[by] is not None and (flags.column or flags.template or flags.delimiter or flags.format):
        raise UsageError("--by is for plain text; the records of a table are its rows", detail="Leave out --by.")
    prompts = ctx.runtime.prompts
    prompt = prompts.get(PROMPT)
    files_of_prompts = [prompt]
    if aspects:
        from llmcli.tasks.sentiment_aspects import ASPECTS_PROMPT

        files_of_prompts.append(prompts.get(ASPECTS_PROMPT))

    def make_verb(backend: Backend, generation: GenerationOptions, options: ClassifyOptions) -> SentimentVerb:
        if aspects:
            from llmcli.tasks.sentiment_aspects import AspectSentimentVerb

            return AspectSentimentVerb(backend, prompts, generation, options, scale=scale)
        return SentimentVerb(backend, prompts, generation, options, scale=scale)

    run = ScoringRun(
        ctx,
        prompt.labels,
        make_verb,
        lambda: {"prompt": prompt.fingerprint, "label set": list(prompt.labels)},
        splits_long_texts=by == "document",
        suits_small_models=not aspects,
    )
    return run.run(
        files,
        lambda: {**prompt_manifest(*files_of_prompts), "--by": by, "--scale": scale, "--aspects": aspects},
        input_format=_FORMATS[by],
    )
