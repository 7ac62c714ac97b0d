"""What this machine has for a model, and what is said about the quantizations that a repository offers."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from llmcli.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmcli.cli.context import Context
    from llmcli.models.fit import Fit, Fitting, Machine
    from llmcli.models.footprint import KVSettings, Workload
    from llmcli.models.gguf import Header
    from llmcli.models.library import ModelFile
    from llmcli.models.offers import Offer, Offers
    from llmcli.settings import Settings

_SMALLEST = "q8_0"
_SLOW = 10


def cache_type(settings: Settings) -> str:
    """Return the type of KV cache to plan with: of "auto", what takes least."""
    return _SMALLEST if settings["kv_type"] == "auto" else str(settings["kv_type"])


def figures(settings: Settings) -> Machine:
    """Return the memory of this machine, and of its GPUs where layers may go there; what they share counts once."""
    from llmcli.engine import budget, machine
    from llmcli.models.fit import Machine

    try:
        gpus = machine.gpus() if settings["gpu_layers"] != 0 else []
        repacked = budget.repacked_types()
    except Unsupported:  # no llama.cpp: a model can be fetched all the same
        gpus, repacked = [], frozenset()
    memory, shared = machine.available_memory(), sum(gpu.free for gpu in gpus if gpu.shared)
    free = None if memory is None else max(0, memory - shared)
    return Machine(free, tuple(gpu.free for gpu in gpus), repacked=repacked)


def fitting(cli: Context, *, force: bool = False, shown: bool = False) -> Fitting:
    """Return what a model shall fit that is fetched; speed is measured only where it is ``shown`` to somebody."""
    from llmcli.models.fit import Fitting

    @functools.cache
    def machine() -> Machine:
        import dataclasses

        from llmcli.engine.bandwidth import bandwidth

        rate = bandwidth(cli.paths.cache) if shown else None
        return dataclasses.replace(figures(cli.settings), bandwidth=rate)

    ctx = cli.settings["ctx"]
    return Fitting(machine, None if ctx == "auto" else ctx, cache_type(cli.settings), force, obstacle, chooser(cli))


def chooser(cli: Context) -> Callable[[Header, Workload, int], KVSettings]:
    """Return the function that says which settings of the KV cache the engine would take for a job."""
    from llmcli.cli.wiring import engine_options
    from llmcli.engine import machine
    from llmcli.engine.planner import Planner, UnloadedModel

    options = engine_options(cli.settings, cli.paths.cache.absolute())
    threads = options.threads or machine.cores().usable

    def choose(header: Header, workload: Workload, room: int) -> KVSettings:
        return Planner(UnloadedModel(header), options, threads).choose_for(workload, header, room)

    return choose


def peaks(cli: Context, model: ModelFile) -> dict[str, int]:
    """Return the bytes that a process with this model takes at most, by the task that it does.

    Raises ``BadModelFile`` and ``MissingError``.
    """
    from llmcli.models.gguf import read_header

    return dict(fitting(cli).judge(read_header(model.path), model.size).peaks)


def obstacle(header: Header) -> str:
    """Return why a model with this header cannot run here; "" where that is not known."""
    from llmcli.engine import architecture

    try:
        return architecture.obstacle(header)
    except Unsupported:  # no llama.cpp: a model can be fetched all the same
        return ""


def wanted(cli: Context) -> bool:
    """Whether somebody wants to see what a repository offers: on a terminal, or with ``-v``."""
    return cli.flags.verbose or (cli.world.terminal(cli.world.stderr) and not cli.flags.quiet)


def show(cli: Context, offers: Offers) -> None:
    """Say on stderr what there is and what is taken: a table on a terminal, elsewhere a line each."""
    from llmcli.cli import sanitize, table, wording

    if not wanted(cli):
        return
    world, taken = cli.world, best(offers)
    planned = f"with a context of {offers.taken.fit.context:,} tokens"
    said = f"taking {taken.name} ({summary(taken)} {planned})" if taken else f"nothing fits {planned}"
    if cli.flags.json or not world.terminal(world.stderr):
        for offer in by_size(offers):
            cli.explain(f"{offer.name}: {summary(offer)}")
        cli.explain(said)
        return
    if len(offers.offers) > 1:
        rows = [row(offer) | {"": "<" if offer is taken else ""} for offer in by_size(offers)]
        wording.say(world, table.render(rows, as_json=False, terminal=True, columns=world.columns(world.stderr))[:-1])
    if taken:  # else the refusal says it
        wording.say(world, f"llm: {sanitize.line(said)}")


def by_size(offers: Offers) -> list[Offer]:
    """Return the quantizations, the smallest first."""
    return sorted(offers.offers, key=lambda offer: offer.size)


def best(offers: Offers) -> Offer | None:
    """Return the quantization that is taken unless somebody forces another; None where none fits."""
    return None if offers.taken.fit.fits is False else offers.taken


def row(offer: Offer) -> dict[str, Any]:
    """Return the columns of an offer for people."""
    from llmcli.cli import wording

    return {
        "quant": offer.quantization or offer.file,
        "size": wording.size(offer.size),
        "needs": needs(offer.fit),
        "peak": most(offer.fit),
        "fits": verdict(offer.fit),
        "tokens/s": rate(offer.fit.tokens_per_second),
    }


def summary(offer: Offer) -> str:
    """Return the columns of an offer as a sentence."""
    from llmcli.cli import wording

    speed = rate(offer.fit.tokens_per_second)
    return (
        f"{wording.size(offer.size)}, fits: {verdict(offer.fit)}, "
        f"{f'about {speed} tokens/s, ' if speed else ''}{needed(offer.fit)}"
    )


def needs(fit: Fit, task: str = "chat") -> str:
    """Return what a model takes that does a task, as people read it; without its header the weights are the least."""
    from llmcli.cli import wording

    return f"{'' if fit.known else 'at least '}{wording.size(fit.peak(task))}"


def most(fit: Fit) -> str:
    """Return what a model takes at most, whatever it does; "" where that is not known."""
    from llmcli.cli import wording

    return wording.size(fit.most) if fit.known else ""


def needed(fit: Fit) -> str:
    """Return as a clause what a model takes for an answer, and for jobs of many."""
    return f"needs {needs(fit)}" + (f" for an answer, at most {most(fit)} for a large job" if fit.known else "")


def figured(fit: Fit, task: str = "chat") -> dict[str, Any]:
    """Return the columns of what a model needs for programs; bytes, tokens."""
    speed = fit.tokens_per_second
    return {
        "size": fit.weights,
        "needs": fit.peak(task) if fit.known else None,
        "context": fit.context,
        "fits": fit.fits,
        "on_gpu": fit.on_gpu,
        "tokens_per_second": None if speed is None else round(speed, 1),
    }


def verdict(fit: Fit) -> str:
    """Return whether a model fits, as people read it."""
    if fit.on_gpu:
        return "on the GPU"
    if fit.fits and fit.machine.gpus:
        return "GPU in part"
    return {True: "yes", False: "no", None: "not known"}[fit.fits]


def rate(tokens_per_second: float | None) -> str:
    """Return an estimate without digits that it does not have."""
    if tokens_per_second is None:
        return ""
    return f"{tokens_per_second:.0f}" if tokens_per_second >= _SLOW else f"{tokens_per_second:.1f}"
