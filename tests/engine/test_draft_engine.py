"""Engines with a draft model: the answers are those without it, and what cannot work is refused or off."""

from __future__ import annotations

import shutil

import pytest
from grid import grid

from engine.eager_policy import EagerPolicy
from engine.tools import (
    Bench,
    Probe,
    answer,
    close,
    engine_of,
    numbers,
    one_by_one,
    only_scheduler_thread,
    req,
    texts,
    wild,
)
from llmcli.engine import model_drafter
from llmcli.engine.draft_context import DraftContext
from llmcli.engine.llama.threads import ThreadPolicy
from llmcli.engine.model_drafter import DraftModel, ModelDrafter
from llmcli.engine.schedule.scheduler import Scheduler
from llmcli.errors import BadModelFile, Unsupported, UsageError
from llmcli.types import FinishReason, Sampling

PAIRS = [("chatml", "copy"), ("chatml", "qwen3moe"), ("qwen3moe", "chatml"), ("llama", "copy"), ("llama", "gemma3")]
"""Models with draft models of the same vocabulary: nearly always right, or nearly always wrong."""
CANNOT = "the model's cache cannot take back wrong tokens"


@pytest.fixture
def eager(monkeypatch):
    """Make every drafter draft always; return the list of what became of the drafts."""
    outcomes = []
    policy = type("Eager", (EagerPolicy,), {"outcomes": outcomes})
    monkeypatch.setattr(model_drafter, "DraftPolicy", policy)
    return outcomes


@pytest.fixture
def draft_file(tiny, tmp_path):
    """Return a function from a draft model's name to its file; "copy" is a copy of the model's own."""

    def path(model, draft):
        if draft != "copy":
            return tiny(draft)
        return shutil.copy(tiny(model), tmp_path / "copy.gguf")

    return path


def requests():
    sampled = [req(f"s{seed}", "hello world is it", sampling=wild(seed), max_tokens=40) for seed in range(4)]
    limits = [req(f"m{n}", "yes and no", max_tokens=n, ignore_eos=True) for n in (1, 2, 3, 90)]
    penalized = Sampling(temperature=0, repeat_penalty=1.3)
    return [*sampled, *limits, req("p", "the world", sampling=penalized, max_tokens=40, ignore_eos=True)]


@grid(("name", "draft"), PAIRS, rows=3)
def test_deterministic_answers_are_bit_identical(tiny, draft_file, eager, name, draft):
    """Greedy and sampled, with several seeds, limits and penalties: the same text and the same end.

    A copy drafts what a greedy answer says, and mostly not what is sampled; another model is nearly always wrong.
    """
    with engine_of(tiny(name), deterministic=True, threads=1) as engine:
        plain = one_by_one(engine, *requests())
    with engine_of(tiny(name), deterministic=True, threads=1, draft=draft_file(name, draft)) as engine:
        drafted = one_by_one(engine, *requests())
    assert texts(drafted) == texts(plain)
    assert [(o.reason, o.finished.usage.completion_tokens) for o in drafted.values()] == [
        (o.reason, o.finished.usage.completion_tokens) for o in plain.values()
    ]
    evaluated, accepted = (sum(getattr(each, what) for each in eager) for what in ("evaluated", "accepted"))
    assert evaluated > 100
    assert accepted > 80 if draft == "copy" else accepted < 0.2 * evaluated


class DraftedProbe(Probe):
    """A probe for which a draft model drafts."""

    @property
    def tokens_left(self):
        return len(self._forced)

    def allowed_draft(self, tokens):
        return tokens

    def process_logits(self, context, outputs):
        for output, drafted in zip(outputs, [*self.draft_tokens[: len(outputs) - 1], None], strict=True):
            super().process_logits(context, [output])
            if self.ended or self.tokens[-1] != drafted:
                break
        return []


@pytest.mark.parametrize("name", ["chatml", "gemma3", "qwen3moe-all"])
def test_drafts_move_logits_no_further_than_batching_does(models, eager, name):
    """In the default mode the same token leads wherever its lead exceeds 3."""
    prompt, forced = numbers(60, 1), numbers(60, 2)
    benches = [Bench(models(name)), Bench(models(name))]
    context = DraftContext(models(name), 500, ThreadPolicy(1, fixed=True), lambda: False)
    drafter = ModelDrafter(DraftModel("small", models(name)), context)
    benches[0].scheduler = Scheduler(benches[0].kv_cache, benches[0].prefix_index, None, drafter)
    probes = [DraftedProbe("a", prompt, forced), Probe("a", prompt, forced)]
    for bench, probe in zip(benches, probes, strict=True):
        bench.run(probe)
        bench.close()
    context.close()
    close(probes[0].rows, probes[1].rows)
    assert sum(outcome.evaluated for outcome in eager) > 50


@pytest.mark.parametrize("draft", ["copy", "qwen3moe"])
def test_grammars_and_stop_strings_apply_token_by_token(tiny, draft_file, eager, draft):
    """What a draft contains beyond them is never part of an answer."""
    grammar = 'start: ("yes it is in the world " | "no ")+'
    with engine_of(tiny("chatml"), deterministic=True, threads=1) as engine:
        free = answer(engine, req("a", max_tokens=40, ignore_eos=True))["a"].text
    asked = [
        req("g", "hello", max_tokens=30, grammar=grammar),
        req("s", max_tokens=40, ignore_eos=True, stop=(free[12:15],)),
        req("l", "hello", labels=("yes", "no"), max_tokens=30),
    ]
    with engine_of(tiny("chatml"), deterministic=True, threads=1) as engine:
        plain = one_by_one(engine, *asked)
    with engine_of(tiny("chatml"), deterministic=True, threads=1, draft=draft_file("chatml", draft)) as engine:
        drafted = one_by_one(engine, *asked)
    assert texts(drafted) == texts(plain)
    assert drafted["s"].text == free[: free.index(free[12:15])]
    assert drafted["s"].reason is FinishReason.STOP
    assert eager


def test_the_usage_counts_drafted_and_accepted_tokens(tiny, draft_file, eager):
    """Those of the request alone, in its end and in the sentence on the engine's choices."""
    asked = req("a", max_tokens=40, ignore_eos=True)
    with engine_of(tiny("chatml"), deterministic=True, threads=1, draft=draft_file("chatml", "copy")) as engine:
        usage = answer(engine, asked)["a"].finished.usage
        again = answer(engine, asked)["a"].finished.usage
        stats = engine.stats()
    assert usage.draft_tokens == sum(each.evaluated for each in eager) / 2
    assert 0 < usage.accepted_draft_tokens <= usage.draft_tokens
    assert usage.accepted_draft_tokens == again.accepted_draft_tokens
    total = usage.draft_tokens + again.draft_tokens
    assert f"draft model copy.gguf: accepted {2 * usage.accepted_draft_tokens} of {total} tokens" in stats.choices
    assert stats.draft_off == ""


def test_only_a_lone_sequence_gets_drafts(tiny, draft_file, eager):
    """Of two at once none does; the longer one has drafts again when the other has ended."""
    asked = [req(name, name, max_tokens=count, ignore_eos=True) for name, count in (("a", 30), ("b", 30), ("c", 90))]
    with engine_of(tiny("chatml"), deterministic=True, threads=1, draft=draft_file("chatml", "copy")) as engine:
        short = answer(engine, *asked[:2])
        assert [outcome.finished.usage.draft_tokens for outcome in short.values()] == [0, 0]
        mixed = answer(engine, *asked[1:])
    assert mixed["b"].finished.usage.draft_tokens == 0
    assert 0 < mixed["c"].finished.usage.draft_tokens < 75


def test_a_cancelled_request_ends_a_long_draft(tiny, draft_file, eager, monkeypatch):
    """The draft model's evaluations ask the same question as the model's: whether their request was cancelled."""
    asked = []
    with engine_of(tiny("chatml"), threads=1, draft=draft_file("chatml", "copy")) as engine:

        def wait_for_abort(drafter, _tokens, _most):
            drafter._draft_s = None
            thread = only_scheduler_thread(engine)
            asked.append(thread._should_abort())
            job.cancel("a")
            while not thread._should_abort():
                pass
            return []

        monkeypatch.setattr(ModelDrafter, "draft", wait_for_abort)
        with engine.open() as job:
            job.submit(req("a", max_tokens=400, ignore_eos=True))
            job.close_input()
            ends = [event for event in job if hasattr(event, "reason")]
    assert ends[0].reason is FinishReason.CANCELLED
    assert asked[0] is False


def test_a_deadline_ends_a_long_draft(tiny, draft_file, eager, monkeypatch):
    """An evaluation past the deadline is aborted."""
    import time

    with engine_of(tiny("chatml"), threads=1, draft=draft_file("chatml", "copy")) as engine:

        def wait_for_abort(_drafter, _tokens, _most):
            while not only_scheduler_thread(engine)._should_abort():
                pass
            return []

        monkeypatch.setattr(ModelDrafter, "draft", wait_for_abort)
        outcome = answer(engine, req("a", max_tokens=400, ignore_eos=True, deadline=time.monotonic() + 0.3))["a"]
    assert outcome.reason is FinishReason.TIMEOUT


@pytest.mark.parametrize("name", ["mamba", "lfm2", "falcon-h1", "qwen35"])
def test_models_with_a_state_work_without_the_draft_model(tiny, tmp_path, name):
    """It is not loaded, since the model cannot take back tokens."""
    with engine_of(tiny(name), threads=1, draft=tmp_path / "missing.gguf") as engine:
        assert answer(engine, req("a"))["a"].reason in {FinishReason.STOP, FinishReason.LENGTH}
        assert engine.stats().draft_off == CANNOT


def test_a_sliding_window_in_deterministic_mode_works_without_it(tiny, eager):
    """Its separate buffers cannot take back tokens either."""
    with engine_of(tiny("gemma3"), threads=1, deterministic=True, draft=tiny("llama")) as engine:
        outcome = answer(engine, req("a", max_tokens=20, ignore_eos=True))["a"]
        assert outcome.finished.usage.draft_tokens == 0
        assert engine.stats().draft_off == CANNOT


@pytest.mark.parametrize(
    ("draft", "error", "words"),
    [
        ("llama", UsageError, "llama.gguf cannot draft for tiny: it has another kind of vocabulary"),
        ("chatml", UsageError, "chatml.gguf cannot draft for itself"),
        ("mamba", Unsupported, "cannot take back tokens"),
        ("bert", BadModelFile, "an embedding model"),
        ("broken", BadModelFile, ""),
    ],
)
def test_an_unsuitable_draft_model_is_refused_at_load(tiny, tmp_path, draft, error, words):
    """Before any request; the error names it."""
    file = tmp_path / "broken.gguf"
    file.write_bytes(tiny("chatml").read_bytes()[:50_000])
    path = file if draft == "broken" else tiny(draft)
    with engine_of(tiny("chatml"), threads=1, draft=path) as engine, pytest.raises(error) as caught:
        engine.info()
    assert words in f"{caught.value.subject} {caught.value.detail}"


def test_a_larger_draft_model_is_switched_off_by_its_times(tiny, tmp_path):
    """The answer is the same, and the reason is said. Its times are far above those of a step."""
    import tiny_models

    file = tmp_path / "large.gguf"
    w = tiny_models.W(str(file), "llama", tiny_models.vocab_chatml, 48)
    w.heads()
    w.ends()
    for i in range(w.L):
        w.const(f"blk.{i}.attn_norm.weight", tiny_models.D)
        w.const(f"blk.{i}.ffn_norm.weight", tiny_models.D)
        w.attn(f"blk.{i}.")
        w.ffn(f"blk.{i}.")
    w.done()
    asked = req("a", max_tokens=16, ignore_eos=True)
    with engine_of(tiny("chatml"), deterministic=True, threads=1) as engine:
        plain = answer(engine, asked)["a"].text
    with engine_of(tiny("chatml"), deterministic=True, threads=1, draft=file) as engine:
        outcome = answer(engine, asked)["a"]
        stats = engine.stats()
    assert outcome.text == plain
    assert "drafting a token takes" in stats.draft_off
    assert outcome.finished.usage.draft_tokens == 0


def test_a_short_context_of_the_draft_model_is_enough(tiny, draft_file, eager, monkeypatch):
    """A text longer than it can hold goes on with drafts from the text's end."""
    monkeypatch.setattr("llmcli.engine.draft_context.MAX_DRAFT_CONTEXT_TOKENS", 64)
    asked = req("a", max_tokens=300, ignore_eos=True)
    with engine_of(tiny("chatml"), deterministic=True, threads=1) as engine:
        plain = answer(engine, asked)["a"].text
    with engine_of(tiny("chatml"), deterministic=True, threads=1, draft=draft_file("chatml", "copy")) as engine:
        outcome = answer(engine, asked)["a"]
    assert outcome.text == plain
    assert outcome.finished.usage.draft_tokens > 200
