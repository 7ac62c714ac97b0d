"""Advice for input that does not fit the context, limited to what the model supports."""

from __future__ import annotations

from llmcli.cli.command_registry import find_command
from llmcli.cli.options import SHORTEN_ADVICE, declaration_of
from llmcli.errors import ContextOverflow
from llmcli.errors.incomplete_results import AnswerTruncated, EmptyAnswer, PartsMissing
from llmcli.runtime.runtime import Runtime


def advise_on_context(runtime: Runtime, error: Exception) -> str:
    """Return the next step for an error about the context, "" for any other."""
    if isinstance(error, PartsMissing) and any(part.reason == "cut" for part in error.parts):
        from llmcli.tasks.summarize.summary_plan import MAX_PART_TOKENS, PART_SHARE

        context = runtime.settings["ctx"]
        is_small = context != "auto" and context < PART_SHARE * MAX_PART_TOKENS  # it, not the plan, limits the answer
        return "Raise --ctx, or try a larger model: llm models list" if is_small else ""
    by_context = isinstance(error, AnswerTruncated | EmptyAnswer) and error.limit == "context"
    if by_context and runtime.is_remote:  # the limit is the server's own: --ctx does not reach it
        return "Raise the limit with --max-tokens, or shorten the input"
    if not by_context and not (isinstance(error, ContextOverflow) and not error.detail):
        return ""
    model = None if runtime.is_remote else runtime.models.ensure_verified(runtime.model_name, runtime.interrupt)
    largest = None if model is None else model.context
    wanted = runtime.settings["ctx"]
    needed, context = 0, largest if wanted == "auto" else wanted
    if isinstance(error, ContextOverflow):
        needed, context = error.tokens, error.context
    if largest is None or context is None:
        larger = "raise --ctx if the model supports more"
    elif context < largest and needed < largest:
        larger = f"raise --ctx (this model supports up to {largest})"
    else:
        larger = "use a model with a larger context: llm models list"
    command = find_command(runtime.verb)
    shorter = SHORTEN_ADVICE
    if command is not None and not command.is_group:
        shorter = declaration_of(command.load()).overflow_advice
    advice = f"{shorter}, or {larger}" if shorter else larger
    return advice[0].upper() + advice[1:]
