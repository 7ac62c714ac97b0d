"""What this machine has for a model, and what is said about the quantizations that a repository offers."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from llmcli.errors import Unsupported

if TYPE_CHECKING:
    from llmcli.cli.context import Context
    from llmcli.models.fit import Fit, Fitting, Machine
    from llmcli.models.gguf import Header
    from llmcli.models.offers import Offer, Offers
    from llmcli.settings import Settings

_SMALLEST = "q8_0"
_SLOW = 10


def cache_type(settings: Settings) -> str:
    """Return the type of KV cache to plan with: of "auto", what takes least."""
    return _SMALLEST if settings["kv_type"] == "auto" else str(settings["kv_type"])


def figures(settings: Settings) -> Machine:
    """Return the memory of this machine, and of its GPUs where layers may go there; what they share counts once."""
    from llmcli.engine import machine
    from llmcli.models.fit import Machine

    try:
        gpus = machine.gpus() if settings["gpu_layers"] != 0 else []
    except Unsupported:  # no llama.cpp: a model can be fetched all the same
        gpus = []
    memory, shared = machine.available_memory(), sum(gpu.free for gpu in gpus if gpu.shared)
    return Machine(None if memory is None else max(0, memory - shared), tuple(gpu.free for gpu in gpus))


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
    return Fitting(machine, None if ctx == "auto" else ctx, cache_type(cli.settings), force, obstacle)


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
        "fits": verdict(offer.fit),
        "tokens/s": rate(offer.fit.tokens_per_second),
    }


def summary(offer: Offer) -> str:
    """Return the columns of an offer as a sentence."""
    from llmcli.cli import wording

    speed = rate(offer.fit.tokens_per_second)
    return (
        f"{wording.size(offer.size)}, fits: {verdict(offer.fit)}, "
        f"{f'about {speed} tokens/s, ' if speed else ''}needs {needs(offer.fit)}"
    )


def needs(fit: Fit) -> str:
    """Return what a model needs, as people read it; of one whose header was not read the weights are the least."""
    from llmcli.cli import wording

    return f"{'' if fit.known else 'at least '}{wording.size(fit.needed)}"


def figured(fit: Fit) -> dict[str, Any]:
    """Return the columns of what a model needs for programs; bytes, tokens."""
    speed = fit.tokens_per_second
    return {
        "size": fit.weights,
        "needs": fit.needed if fit.known else None,
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
