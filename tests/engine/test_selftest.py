"""The self-test of ``--deterministic``: what passes it is exact, what is not exact is refused."""

from __future__ import annotations

import pytest

from engine.tools import GENERATIVE, Bench, Probe, engine_of, equal, model_of, numbers, req
from llmcli.engine import selftest
from llmcli.engine.context import ContextConfig
from llmcli.errors import Unsupported

EXACT = {"unified": False, "kv_type": "q8_0"}


def passes(model):
    try:
        selftest.check(model, ContextConfig(cells=0, **EXACT))
    except Unsupported:
        return False
    return True


def sixteen():
    """Sequences that begin alike, some as long as the others' beginning; the logits of all steps are kept."""
    shared = numbers(90, 3)
    prompts = [shared + numbers(5 + 8 * (i % 6), 10 + i) if i % 3 else numbers(9 + i, i) for i in range(16)]
    return [Probe(f"p{i}", prompt, numbers(24, i)) for i, prompt in enumerate(prompts)]


def is_exact(model):
    """Say whether each of sixteen sequences has in company the very logits that it has alone."""
    together, alone = sixteen(), sixteen()
    bench = Bench(model, **EXACT)
    bench.run(*together)
    bench.close()
    for probe in alone:
        bench = Bench(model, **EXACT)
        bench.run(probe)
        bench.close()
    try:
        for probe, expected in zip(together, alone, strict=True):
            equal(probe.rows, expected.rows)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("name", GENERATIVE)
def test_a_q8_0_model_of_every_kind_is_exact(tiny, name):
    """Weights whose rows are multiplied alike in any batch pass, and what the self-test promises is kept."""
    with model_of(tiny(name)) as model:
        assert passes(model)
        assert is_exact(model)


@pytest.mark.parametrize("config", [{}, {"unified": False}], ids=["unified", "streams"])
@pytest.mark.parametrize("name", [name for name in GENERATIVE if name != "mamba"])
def test_the_self_test_sees_what_f16_does(models, name, config):
    """With an f16 cache attention's sums depend on the batch, and the self-test can tell."""
    with pytest.raises(Unsupported, match="--deterministic"):
        selftest.check(models(name), ContextConfig(cells=0, **config))


def test_what_is_not_exact_is_refused_when_the_model_is_loaded(tiny, monkeypatch):
    """The first call that needs the model is told, with exit code 69, and so is every request."""

    def fails(model, config):
        raise Unsupported("--deterministic", detail="sums depend on the batch")

    monkeypatch.setattr(selftest, "check", fails)
    with engine_of(tiny("chatml"), deterministic=True) as engine:
        with pytest.raises(Unsupported) as caught:
            engine.info()
        assert caught.value.exit_code == 69
        with engine.open() as job, pytest.raises(Unsupported):
            job.submit(req("a"))
    with engine_of(tiny("chatml")) as engine:
        assert engine.info().context
