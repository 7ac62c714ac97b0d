"""ask, generate and summarize over records; sentiment and translate have theirs beside their commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input import inputs
from llmcli.cli.records.record_inputs import record_flags
from llmcli.cli.records.record_run import RecordTask, prompt_manifest, run_records
from llmcli.frozen_dataclass import asdict

if TYPE_CHECKING:
    from llmcli.prompts import Prompt
    from llmcli.tasks.summarization.summary_options import SummaryOptions


def ask_records(ctx: CommandContext, prompt: str | None, files: Sequence[str], *, system: str = "") -> int:
    """Answer a question about each record, or each record, with the instructions ``system``; return the exit code."""
    from llmcli.tasks.record_verbs.ask_records import AskVerb, ask_prompt

    question = None if prompt is None else inputs.decode_argument(prompt)
    chosen = ask_prompt(ctx.runtime.prompts, question)
    task = RecordTask(
        lambda backend, options: AskVerb(backend, chosen, question, options),
        lambda: {**prompt_manifest(chosen), "question": question, **_system_manifest(system)},
    )
    return run_records(ctx, files, task, system=system)


def summarize_records(ctx: CommandContext, files: Sequence[str], wanted: SummaryOptions) -> int:
    """Summarize each record; return the exit code."""
    from llmcli.tasks.record_verbs.summarize_records import SummarizeVerb
    from llmcli.tasks.summarization.summary_plan import MERGE_PROMPT, PROMPT

    prompts = ctx.runtime.prompts
    read = prompts.get(PROMPT), prompts.get(MERGE_PROMPT)
    task = RecordTask(
        lambda backend, options: SummarizeVerb(backend, prompts, options, wanted),
        lambda: {**prompt_manifest(*read), **asdict(wanted)},
    )
    return run_records(ctx, files, task)


def generate_records(
    ctx: CommandContext, prompt: Prompt, variables: Mapping[str, str], files: Sequence[str], *, system: str = ""
) -> int:
    """Write a text for each record, with the instructions ``system``; return the exit code."""
    from llmcli.tasks.record_verbs.generate_records import GenerateVerb

    flags = record_flags(ctx)
    has_text = bool(flags.column or flags.template)
    task = RecordTask(
        lambda backend, options: GenerateVerb(backend, prompt, variables, options, has_text=has_text),
        lambda: {
            **prompt_manifest(prompt),
            "uses columns": True,
            "variables": dict(variables),
            **_system_manifest(system),
        },
        needs_text=False,
    )
    return run_records(ctx, files, task, system=system)


def _system_manifest(system: str) -> dict[str, str]:
    """Return the instructions as an entry of a manifest; none without them, as in manifests of earlier versions."""
    return {"system": system} if system else {}
