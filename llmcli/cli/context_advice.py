"""What to do where something does not fit the context: nothing that the model cannot do."""

from __future__ import annotations

from llmcli.cli import wiring
from llmcli.cli.context import Context
from llmcli.errors import ContextOverflow
from llmcli.incomplete import AnswerCut, EmptyAnswer

_SHORTER = {
    "ask": "shorten the input, summarize it first (llm summarize FILE)",
    "summarize": "",  # its parts fit; it is the instructions, or the summaries, that do not
    "translate": "shorten --context or the glossary",
}


def context_advice(cli: Context, error: Exception) -> str:
    """Return the next step for an error about the context, "" for any other."""
    by_context = isinstance(error, AnswerCut | EmptyAnswer) and error.limit == "context"
    if not by_context and not (isinstance(error, ContextOverflow) and not error.detail):
        return ""
    model = None if wiring.elsewhere(cli) else cli.models.ready(cli.flags.model, cli.interrupt)
    largest = None if model is None else model.context
    wanted = cli.settings["ctx"]
    needed, context = 0, largest if wanted == "auto" else wanted
    if isinstance(error, ContextOverflow):
        needed, context = error.tokens, error.context
    if largest is None or context is None:
        larger = "raise --ctx where the model takes more"
    elif context < largest and needed < largest:
        larger = f"raise --ctx (this model takes up to {largest})"
    else:
        larger = "take a model with a larger context: llm models list"
    shorter = _SHORTER.get(cli.verb, "shorten the input")
    advice = f"{shorter}, or {larger}" if shorter else larger
    return advice[0].upper() + advice[1:]
