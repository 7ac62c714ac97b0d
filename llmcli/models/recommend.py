"""Recommends models of the catalogue for this machine, a task and languages, without a network."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from llmcli.errors import UnavailableError
from llmcli.fast_dataclass import frozen, replace
from llmcli.models.catalogue import CatalogueEntry
from llmcli.models.gguf.header import Header, TensorInfo
from llmcli.models.memory_estimate import FitPolicy, MemoryEstimate, does_not_fit_error
from llmcli.models.size_classes import READABLE_BILLIONS, TOY_BILLIONS

FLUENT_TOKENS_PER_S = 10
"""Tokens a second that an answer takes at least to read comfortably: models with that rate are recommended first."""
READING_TOKENS_PER_S = 5
"""Tokens a second, about as fast as people read: slower models are recommended last."""
_MAIN_TENSORS = {"Q4_K_M": ("Q4_K", 0.65), "Q4_0": ("Q4_0", 0.9), "MXFP4": ("MXFP4", 0.9), "Q8_0": ("Q8_0", 0.95)}
"""For a quantization: the type of most of its tensors, and their approximate share of its bytes."""
_LANGUAGE_ALIASES = {"nb": "no", "nn": "no", "tl": "fil"}  # the catalogue has these languages under another code


@frozen
class Recommendation:
    """A model that fits, and its approximate needs."""

    entry: CatalogueEntry
    estimate: MemoryEstimate

    @property
    def is_fluent(self) -> bool:
        """Whether it answers at ``FLUENT_TOKENS_PER_S`` or faster, or its speed is unknown."""
        return self._answers_at(FLUENT_TOKENS_PER_S)

    @property
    def is_slow(self) -> bool:
        """Whether it answers slower than people read."""
        return not self._answers_at(READING_TOKENS_PER_S)

    @property
    def reads_well(self) -> bool:
        """Whether it is large enough to write texts that read well."""
        return self.entry.parameters >= READABLE_BILLIONS

    @property
    def is_toy(self) -> bool:
        """Whether it is only for looking at the program."""
        return self.entry.parameters < TOY_BILLIONS

    def _answers_at(self, tokens_per_second: float) -> bool:
        speed = self.estimate.tokens_per_second
        return speed is None or speed >= tokens_per_second


def recommend_models(
    entries: Iterable[CatalogueEntry], task: str, languages: Collection[str], fit_policy: FitPolicy
) -> list[Recommendation]:
    """Return the models that fit, are good for ``task`` and documented for ``languages`` (BCP 47 tags), best first.

    ``entries`` are sorted from less to more capable ones. Models that read well and are fluent here come first: those
    that are strong in the task, then the others, each from more to less capable. Then come those that read well and
    are as fast as people read, the strong ones and the faster ones first; then small models; then the slow ones, the
    fastest first. Raises ``UnavailableError`` if the catalogue has no such model, and ``ModelTooLarge`` if none fits.
    """
    wanted = {_base_language(code) for code in languages}
    suitable = [
        Recommendation(entry, estimate_entry(entry, fit_policy))
        for entry in entries
        if task in entry.tasks and wanted <= set(entry.codes) and entry.context >= (fit_policy.context_tokens or 0)
    ]
    if not suitable:
        what = [f"for {task}", *(f"in {code}" for code in sorted(wanted))]
        what += [f"with a context of {fit_policy.context_tokens} tokens"] if fit_policy.context_tokens else []
        raise UnavailableError(
            f"no model of the catalogue is {' '.join(what)}; search the Hub: llm models search WORDS"
        )
    fitting = [each for each in suitable if each.estimate.fits is not False]
    if not fitting:
        least = min(suitable, key=lambda each: each.estimate.needed_bytes)
        raise does_not_fit_error(least.entry.name, least.estimate)
    ranks = {each.entry.name: rank for rank, each in enumerate(fitting)}

    def preference(each: Recommendation) -> tuple[int, bool, float]:
        strong, speed = task in each.entry.strong, each.estimate.tokens_per_second or 0
        if each.is_slow:
            return (0, False, speed)
        if not each.reads_well:
            return (1, strong, ranks[each.entry.name])
        return (3, strong, ranks[each.entry.name]) if each.is_fluent else (2, strong, speed)

    return sorted(fitting, key=preference, reverse=True)


def estimate_entry(entry: CatalogueEntry, fit_policy: FitPolicy) -> MemoryEstimate:
    """Return the approximate needs of a catalogue model in its preferred quantization, as its makers document it."""
    fit = fit_policy.estimate(_documented_header(entry), entry.size)
    share = (entry.active or entry.parameters) / entry.parameters if entry.parameters else 1
    return replace(fit, read_bytes_per_token=int(entry.size * share))


def _documented_header(entry: CatalogueEntry) -> Header:
    """Return the header of the model's file, as far as it is documented."""
    shape = {
        "block_count": "layers",
        "attention.head_count": "kv_heads",
        "attention.head_count_kv": "kv_heads",
        "attention.key_length": "head",
        "attention.value_length": "head",
    }
    metadata = {f"{entry.name}.{key}": entry.attention[name] for key, name in shape.items() if name in entry.attention}
    metadata[f"{entry.name}.context_length"] = entry.context
    kind, share = _MAIN_TENSORS.get(entry.quantizations[0], ("", 0.0))
    main = TensorInfo("blk.0.weight", (1, 1), kind, 0, int(share * entry.size))
    return Header(3, {"general.architecture": entry.name, **metadata}, (main,), 0, entry.size)


def _base_language(code: str) -> str:
    language = code.partition("-")[0]
    return _LANGUAGE_ALIASES.get(language, language)
