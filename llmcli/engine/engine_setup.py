"""Prepares a loaded model: tokenizer, template, settings, and factories for sequences and schedulers."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

from llmcli.engine.kv.disk_prefix_cache import DiskPrefixCache
from llmcli.engine.kv.disk_prefix_store import PrefixStore
from llmcli.engine.kv.manager import KVCacheManager
from llmcli.engine.kv.prefix_hints import PrefixHints
from llmcli.engine.kv.prefix_index import PrefixIndex
from llmcli.engine.llama import architecture, batch_invariance, bindings
from llmcli.engine.llama.context import MAX_SEQUENCES, ContextConfig
from llmcli.engine.llama.hidden_state_context import state_batch_tokens
from llmcli.engine.llama.model import Model
from llmcli.engine.llama.threads import ThreadPolicy
from llmcli.engine.sampling.grammar_compiler import GrammarCompiler
from llmcli.engine.schedule.scheduler import Scheduler
from llmcli.engine.sequence_builder import SequenceBuilder
from llmcli.engine.text.chat_template import ChatTemplate
from llmcli.engine.text.tokenizer import Tokenizer
from llmcli.engine.tuning.planner import Planner
from llmcli.errors import BadModelFile, UsageError
from llmcli.types import EngineOptions

_BATCH_TOKENS = 512
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class EngineSetup:
    """A model with its tokenizer and template, its settings, and its factories of sequences and schedulers.

    ``context_limit``: tokens of a sequence; ``config``: how contexts are created unless ``planner`` chooses otherwise.
    """

    model: Model
    model_id: str
    options: EngineOptions
    template: ChatTemplate
    tokenizer: Tokenizer
    planner: Planner
    context_limit: int
    config: ContextConfig
    sequence_builder: SequenceBuilder

    def make_scheduler(self, should_abort: Callable[[], bool], *, gives_states: bool = False) -> Scheduler:
        """Return a scheduler with its own KV cache; an evaluation polls ``should_abort``.

        ``gives_states``: for requests that ask for hidden states. Prefixes on disk have none.
        """
        config = self.config
        if gives_states:
            config = dataclasses.replace(config, batch=state_batch_tokens(self.model))
        kv_cache = KVCacheManager(
            self.model,
            config,
            self.context_limit,
            should_abort,
            planner=self.planner,
            deterministic=self.options.deterministic,
            gives_states=gives_states,
        )
        index = PrefixIndex(kv_cache)
        return Scheduler(kv_cache, index, None if gives_states else self._make_prefix_cache(kv_cache, index))

    def _make_prefix_cache(self, kv_cache: KVCacheManager, index: PrefixIndex) -> DiskPrefixCache | None:
        """Return the cache of prefixes that earlier commands evaluated."""
        options = self.options
        if options.cache is None or not uses_prefix_cache(options, self.model_id):
            return None
        directory = options.cache / "prefixes"
        build = (bindings.version(), bindings.system_info())
        identity = (self.model_id, self.template.source, *build, self.model.gpu_layers)

        def open_store(state_format: str) -> PrefixStore:
            return PrefixStore(directory, options.prefix_bytes, repr((*identity, state_format)))

        return DiskPrefixCache(kv_cache, index, open_store)


def uses_prefix_cache(options: EngineOptions, model_id: str) -> bool:
    """Return whether prefixes of prompts are kept on disk: only if the hash of the weights is known."""
    return options.cache is not None and options.prefix_bytes > 0 and bool(_SHA256.fullmatch(model_id))


def set_up_engine(model: Model, name: str, model_id: str, options: EngineOptions, threads: ThreadPolicy) -> EngineSetup:
    """Prepare ``model`` for requests; ``name`` is its name for users. Called in the thread that evaluates.

    Raises ``BadModelFile`` for an embedding model, ``UsageError`` for a context larger than the model's, and what
    ``Planner`` and ``check_batch_invariance`` raise.
    """
    if model.embeds_only:
        raise BadModelFile(str(model.path), detail=architecture.EMBEDDING_MODEL)
    tokenizer = Tokenizer(model)
    template = ChatTemplate(model.chat_template(), tokenizer)
    if options.ctx is not None and model.context_length and options.ctx > model.context_length:
        raise UsageError(f"--ctx {options.ctx} is larger than the context of {name}, {model.context_length}")
    planner = Planner(model, options, threads.most)
    context_limit = options.ctx or model.budget.max_context_tokens(planner.smallest_type)
    config = ContextConfig(cells=0, sequences=MAX_SEQUENCES, batch=_BATCH_TOKENS, threads=threads)
    config = dataclasses.replace(config, **dataclasses.asdict(planner.allowed_settings[0]))
    if options.deterministic:
        batch_invariance.check_batch_invariance(model, config)
    hints = PrefixHints(template) if uses_prefix_cache(options, model_id) else None
    vocabulary_cache = options.cache if _SHA256.fullmatch(model_id) else None
    compiler = GrammarCompiler(model, tokenizer, vocabulary_cache, model_id)
    builder = SequenceBuilder(model, template, tokenizer, context_limit, prefix_hints=hints, grammar_compiler=compiler)
    return EngineSetup(model, model_id, options, template, tokenizer, planner, context_limit, config, builder)
