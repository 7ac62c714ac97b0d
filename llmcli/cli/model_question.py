"""The question which model to download, when a command needs one and the user has chosen none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.cli import command_registry
from llmcli.cli.console import confirm, progress_text, wrapping
from llmcli.cli.console.messages.message_text import format_bytes
from llmcli.cli.render.model_events import format_rate
from llmcli.errors import ModelTooLarge, UnavailableError
from llmcli.models.catalogue import load_catalogue
from llmcli.models.library.resolver import STARTER_MODEL
from llmcli.models.recommend import Recommendation, estimate_entry, recommend_models

if TYPE_CHECKING:
    from llmcli.cli.console.console import Console
    from llmcli.models.library.model_library import ModelLibrary
    from llmcli.models.memory_estimate import FitPolicy

_ASSUMED_MBITS_PER_S = 50
"""The rate of the network for which the time of a download is shown before one was measured."""
_BITS_PER_MBIT = 1_000_000
_NONE = frozenset({"n", "no", "none"})
_INDENT = "   "


def choose_first_model(console: Console, models: ModelLibrary, policy: FitPolicy, verb: str) -> str | None:
    """Ask which model to download: the one recommended for ``verb``, or the starter; None for neither.

    The recommended one is named first, and Enter chooses it.
    """
    starter = load_catalogue()[STARTER_MODEL]
    best = recommended_model(models, policy, verb)
    choices = [*([best] if best else []), Recommendation(starter, estimate_entry(starter, policy))]
    here = {model.catalogue for model in models.list() if not model.missing}
    columns = max(20, console.environment.columns(console.environment.stderr) - 1)
    lines = wrapping.wrap_words("llm: no model is chosen yet. Which one should llm download?", columns)
    rate = models.download_rate()
    for number, choice in enumerate(choices, 1):
        loaded = "on this machine already" if choice.entry.name in here else _describe_download(choice.entry.size, rate)
        lines += _describe_choice(number, choice, columns, verb=verb, loaded=loaded)
    console.write_stderr("\n".join(lines))
    named = {str(number): choice.entry.name for number, choice in enumerate(choices, 1)}
    named |= {choice.entry.name: choice.entry.name for choice in choices}
    chosen = _read_choice(console, " or ".join(map(str, range(1, len(choices) + 1))), named)
    if chosen is not None and chosen != STARTER_MODEL:
        console.write_note(f"{chosen} becomes the default model; to choose another one: llm models default NAME")
    return chosen


def _read_choice(console: Console, numbers: str, named: dict[str, str]) -> str | None:
    """Return the chosen model, None for none; ask again after another answer."""
    while True:
        answer = confirm.read_reply(console, f"Type {numbers}, or n for none [1]: ")
        if answer is None or answer in _NONE:
            return None
        if (chosen := named.get(answer or "1")) is not None:
            return chosen


def _describe_download(size: int, bytes_per_s: float | None) -> str:
    """Return how long a download of ``size`` bytes takes, at the rate of the last one or at an assumed rate."""
    mbits = _ASSUMED_MBITS_PER_S if bytes_per_s is None else bytes_per_s * 8 / _BITS_PER_MBIT
    took = progress_text.format_estimate(max(1, size * 8 / (mbits * _BITS_PER_MBIT)))
    shown = f"{mbits:.0f}" if mbits >= 10 else f"{mbits:.2g}"  # noqa: PLR2004 (two digits)
    measured = "assumed" if bytes_per_s is None else "as last time"
    return f"about {took} to download at {shown} Mbit/s ({measured})"


def _describe_choice(number: int, choice: Recommendation, columns: int, *, verb: str, loaded: str) -> list[str]:
    """Return the lines of a choice: what it is, its size, its speed here, and ``loaded``, what its download takes."""
    entry, speed = choice.entry, format_rate(choice.estimate.tokens_per_second)
    what = f"a toy for a quick look at llm {verb}" if choice.is_toy else f"recommended; {entry.about}"
    facts = [
        format_bytes(entry.size),
        f"about {speed} tokens/s here" if speed else "",
        loaded,
    ]
    head, *more = wrapping.wrap_words(f"{entry.name}: {what}", columns - len(_INDENT))
    more += wrapping.wrap_words(", ".join(filter(None, facts)), columns - len(_INDENT))
    return [f"{number}  {head}", *(_INDENT + line for line in more)]


_DEFAULT_TASK = "chat"


def recommended_model(models: ModelLibrary, policy: FitPolicy, verb: str) -> Recommendation | None:
    """Return the best model for ``verb`` that fits this machine and is no toy; None if there is none."""
    command = command_registry.find_command(verb)
    task = _DEFAULT_TASK if command is None or not command.model_task else command.model_task
    try:
        picks = recommend_models(models.catalogue_entries(), task, (), policy)
    except (ModelTooLarge, UnavailableError):
        return None
    return next((pick for pick in picks if not pick.is_toy), None)
