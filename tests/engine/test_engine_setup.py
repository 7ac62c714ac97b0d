"""An engine sets up a loaded model."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcli.config.engine_options import EngineOptions
from llmcli.engine.engine_setup import set_up_engine, uses_prefix_cache
from llmcli.engine.llama.threads import ThreadPolicy
from llmcli.errors import UsageError

HASH = "0123456789abcdef" * 4
CACHE = Path("/nowhere")


def set_up(model, **options):
    return set_up_engine(model, "tiny", HASH, EngineOptions(**options), ThreadPolicy(1))


@pytest.mark.parametrize(
    ("options", "model_id", "expected"),
    [
        (EngineOptions(cache=CACHE, prefix_bytes=1), HASH, True),
        (EngineOptions(cache=CACHE, prefix_bytes=0), HASH, False),
        (EngineOptions(prefix_bytes=1), HASH, False),
        (EngineOptions(cache=CACHE, prefix_bytes=1), "some file", False),
    ],
)
def test_prefixes_are_stored_for_weights_with_a_known_hash(options, model_id, expected):
    """Also only with a directory and a size limit above 0."""
    assert uses_prefix_cache(options, model_id) is expected


def test_a_context_that_the_model_does_not_have_is_refused(models):
    """The message names the model and its context."""
    model = models("llama")
    with pytest.raises(UsageError, match=str(model.context_length)):
        set_up(model, ctx=model.context_length + 1)
    assert set_up(model, ctx=100).context_limit == 100


def test_each_scheduler_has_a_cache_of_its_own(models, tmp_path):
    """Interactive and bulk work share the model, not the cache; prefixes are on disk only if they are stored at all."""
    setup = set_up(models("llama"), cache=tmp_path, prefix_bytes=1)
    first, second = setup.make_scheduler(lambda: False), setup.make_scheduler(lambda: False)
    assert first.kv_cache is not second.kv_cache
    assert first._prefix_cache is not None
    assert set_up(models("llama")).make_scheduler(lambda: False)._prefix_cache is None
