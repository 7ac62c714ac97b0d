"""Prepares a loaded model: tokenizer, template, settings, and factories for sequences and schedulers."""

from __future__ import annotations

import re
from collections.abc import Callable

from llmcli.config.engine_options import EngineOptions, adapted_model_id
from llmcli.engine import draft_context
from llmcli.engine.draft_context import DraftContext
from llmcli.engine.kv.disk_prefix_cache import DiskPrefixCache
from llmcli.engine.kv.disk_prefix_store import PrefixStore
from llmcli.engine.kv.document_prefix_cache import DocumentPrefixCache
from llmcli.engine.kv.manager import KVCacheManager
from llmcli.engine.kv.prefix_index import PrefixIndex
from llmcli.engine.llama import architecture, batch_invariance, bindings, hardware
from llmcli.engine.llama.context import MAX_SEQUENCES, ContextConfig
from llmcli.engine.llama.model import Model
from llmcli.engine.llama.threads import ThreadPolicy
from llmcli.engine.llama.weights_file import build_id
from llmcli.engine.model_drafter import DraftModel, ModelDrafter
from llmcli.engine.sampling.grammar_compiler import GrammarCompiler
from llmcli.engine.schedule.scheduler import Scheduler
from llmcli.engine.sequence_builder import PrefixHints, SequenceBuilder
from llmcli.engine.text.chat_template import ChatTemplate
from llmcli.engine.text.tokenizer import Tokenizer
from llmcli.engine.tuning import background_tuning
from llmcli.engine.tuning.background_tuning import BackgroundTuning
from llmcli.engine.tuning.planner import Planner, plan_scoring
from llmcli.errors import BadModelFile, Unsupported, UsageError
from llmcli.fast_dataclass import asdict, frozen, replace
from llmcli.models.footprint import state_batch_tokens
from llmcli.settings import ORIGINAL_WEIGHTS

_BATCH_TOKENS = 512
_PREFIX_DIRECTORY = "prefixes"
_SHA256 = re.compile("[0-9a-f]{64}")


@frozen
class StateSource:
    """Where hidden states come from: after each of ``layers``, or from the last one if there are none.

    ``ends_early``: nothing but states is needed.
    """

    layers: tuple[int, ...]
    ends_early: bool


@frozen
class EngineSetup:
    """A model with its tokenizer and template, its settings, and its factories of sequences and schedulers.

    ``context_limit``: tokens of a sequence; ``config``: how contexts are created unless ``planner`` chooses otherwise;
    ``scoring_planner`` chooses for requests that generate nothing, ``state_planner`` for those that read states of
    layers, None: as for others; ``tuning``: measures the model when that pays, None if it is off or impossible.
    ``document_prefix_cache``: evaluated documents that all schedulers keep, None to keep none.
    """

    model: Model
    model_id: str
    options: EngineOptions
    template: ChatTemplate
    tokenizer: Tokenizer
    planner: Planner
    scoring_planner: Planner | None
    state_planner: Planner | None
    context_limit: int
    config: ContextConfig
    sequence_builder: SequenceBuilder
    tuning: BackgroundTuning | None
    draft_model: DraftModel | None = None
    document_prefix_cache: DocumentPrefixCache | None = None

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def make_scheduler(
        self, should_abort: Callable[[], bool], *, states: StateSource | None = None, scores: bool = False
    ) -> Scheduler:
        """Return a scheduler with its own KV cache; an evaluation polls ``should_abort``.

        ``states``: for requests that ask for these hidden states. Prefixes on disk have none. ``scores``: for requests
        that generate nothing.
        """
        config = self.config
        gives_states = states is not None
        reads_layers = states is not None and bool(states.layers)
        invariant_planner = (self.state_planner if reads_layers else self.scoring_planner) if scores else None
        planner, invariant = invariant_planner or self.planner, invariant_planner is not None
        if invariant:
            config = replace(config, **asdict(planner.allowed_settings[0]))
        if states is not None and states.layers:
            config = replace(config, state_layers=states.layers, ends_early=states.ends_early)
        elif gives_states:
            tokens = state_batch_tokens(self.model.vocab_size, hardware.available_memory())
            config = replace(config, batch=tokens)
        kv_cache = KVCacheManager(
            self.model,
            config,
            self.context_limit,
            should_abort,
            planner=planner,
            deterministic=self.options.deterministic or invariant,
            gives_states=gives_states,
            document_prefix_cache=None if gives_states else self.document_prefix_cache,
        )
        index = PrefixIndex(kv_cache)
        if gives_states:
            return Scheduler(kv_cache, index, batch_invariant=invariant)
        prefix_cache = self._make_prefix_cache(kv_cache, index)
        drafter = None if scores else self._make_drafter(should_abort)
        return Scheduler(kv_cache, index, prefix_cache, drafter, batch_invariant=invariant)

    def _make_drafter(self, should_abort: Callable[[], bool]) -> ModelDrafter | None:
        if self.draft_model is None:
            return None
        model = self.draft_model.model
        context = None if model is None else DraftContext(model, self.context_limit, self.config.threads, should_abort)
        return ModelDrafter(self.draft_model, context)

    def _make_prefix_cache(self, kv_cache: KVCacheManager, index: PrefixIndex) -> DiskPrefixCache | None:
        """Return the cache of prefixes that earlier commands evaluated."""
        options = self.options
        if options.cache is None or not uses_prefix_cache(options, self.model_id):
            return None
        directory = options.cache / _PREFIX_DIRECTORY
        build = (bindings.engine_id(), bindings.system_info())
        weights = () if options.weights == ORIGINAL_WEIGHTS else (options.weights, build_id())
        model_id = adapted_model_id(self.model_id, options.adapters)
        identity = (model_id, self.template.source, *build, self.model.gpu_layers, *weights)

        def open_store(state_format: str) -> PrefixStore:
            return PrefixStore(directory, options.prefix_bytes, repr((*identity, state_format)))

        return DiskPrefixCache(kv_cache, index, open_store)


def uses_prefix_cache(options: EngineOptions, model_id: str) -> bool:
    """Return whether prefixes of prompts are kept on disk: only if the hash of the weights is known."""
    return options.cache is not None and options.prefix_bytes > 0 and bool(_SHA256.fullmatch(model_id))


def _make_document_prefix_cache(options: EngineOptions) -> DocumentPrefixCache | None:
    return (
        None if options.cache is None else DocumentPrefixCache(options.cache / _PREFIX_DIRECTORY, options.prefix_bytes)
    )


def set_up_engine(
    model: Model,
    name: str,
    model_id: str,
    options: EngineOptions,
    threads: ThreadPolicy,
    *,
    draft_model: DraftModel | None = None,
    keeps_documents: bool = False,
) -> EngineSetup:
    """Prepare ``model`` for requests; ``name`` is its name for users. Called in the thread that evaluates.

    ``keeps_documents``: their evaluated state is kept for later requests, if prefixes are.

    Raises ``BadModelFile`` for an embedding model, ``UsageError`` for a context larger than the model's, and what
    ``check_draft_model``, ``Planner`` and ``check_batch_invariance`` raise.
    """
    if draft_model is not None and draft_model.model is not None:
        check_draft_model(model, draft_model.model, name, draft_model.name)
    if model.embeds_only:
        raise BadModelFile(str(model.path), detail=architecture.EMBEDDING_MODEL)
    hardware.set_mmap_threshold()
    tokenizer = Tokenizer(model)
    template = ChatTemplate(model.chat_template(), tokenizer)
    if options.ctx is not None and model.context_length and options.ctx > model.context_length:
        raise UsageError(f"--ctx {options.ctx} is larger than the context of {name}, {model.context_length}")
    planner = Planner(model, options, threads.most, model_id)
    context_limit = options.ctx or model.budget.max_context_tokens(planner.smallest_type)
    config = ContextConfig(cells=0, sequences=MAX_SEQUENCES, batch=_BATCH_TOKENS, threads=threads)
    config = replace(config, **asdict(planner.allowed_settings[0]))
    if options.deterministic:
        _check_single_adapter(options)
        batch_invariance.check_batch_invariance(model, config)
    hints = PrefixHints(template) if uses_prefix_cache(options, model_id) else None
    documents = _make_document_prefix_cache(options) if keeps_documents and hints is not None else None
    vocabulary_cache = options.cache if _SHA256.fullmatch(model_id) else None
    compiler = GrammarCompiler(model, tokenizer, vocabulary_cache, model_id)
    builder = SequenceBuilder(
        model,
        template,
        tokenizer,
        context_limit,
        prefix_hints=hints,
        grammar_compiler=compiler,
        keeps_documents=documents is not None,
    )
    return EngineSetup(
        model=model,
        model_id=model_id,
        options=options,
        template=template,
        tokenizer=tokenizer,
        planner=planner,
        scoring_planner=plan_scoring(model, options, threads.most),
        state_planner=plan_scoring(model, options, threads.most, states=True),
        context_limit=context_limit,
        config=config,
        sequence_builder=builder,
        tuning=_background_tuning(model, name, model_id, options),
        draft_model=draft_model,
        document_prefix_cache=documents,
    )


def check_draft_model(target: Model, draft: Model, target_name: str, draft_name: str) -> None:
    """Refuse a draft model that cannot draft for ``target``; the names are those for users.

    Raises ``BadModelFile`` for an embedding model, ``Unsupported`` for one with a state that cannot be truncated, and
    ``UsageError`` for one with another vocabulary.
    """
    if draft.embeds_only:
        raise BadModelFile(str(draft.path), detail=architecture.EMBEDDING_MODEL)
    if draft.recurrent:
        raise Unsupported("a draft model", detail=f"{draft_name} cannot take back tokens, which it has to")
    difference = draft_context.vocabulary_difference(target, draft)
    if difference:
        raise UsageError(
            f"{draft_name} cannot draft for {target_name}: it has {difference}",
            detail="Choose a draft model of the same family, or none: --set draft=off",
        )


def _background_tuning(model: Model, name: str, model_id: str, options: EngineOptions) -> BackgroundTuning | None:
    """Return what measures the model in the background, None if that is off or nothing could be chosen or stored."""
    task = None if model.gpu_layers else background_tuning.make_task(model.path, name, model_id, options)
    return None if task is None else BackgroundTuning(task)


def _check_single_adapter(options: EngineOptions) -> None:
    """Raise ``Unsupported`` for several adapters: llama.cpp adds them up in an order that differs between processes."""
    if sum(adapter.scale != 0 for adapter in options.adapters) > 1:
        raise Unsupported("--deterministic", detail="it works with one LoRA adapter, not with several")
