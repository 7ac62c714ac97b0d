"""The tokens that a step evaluates: running sequences, prompt chunks, outputs and drafts."""

from __future__ import annotations

import pytest
from engine.tools import Probe, numbers

from llmcli.engine.schedule.batch import allocate_tokens, tiled_chunk_size
from llmcli.types import Priority


def prompt(length: int, done: int = 0, **fields) -> Probe:
    sequence = Probe(f"p{length}", numbers(length, length), [], **fields)
    sequence.num_computed_tokens = done
    return sequence


def decoding(*draft: int, **fields) -> Probe:
    sequence = prompt(10, done=9, **fields)
    sequence.num_generated_tokens, sequence.draft_tokens = 1, list(draft)
    return sequence


def counted(*runnable: Probe, capacity: int = 512, max_outputs: int = 64, prefill: int = 512) -> list[int]:
    counts = allocate_tokens(list(runnable), capacity, max_outputs, prefill)
    return [counts.get(sequence, 0) for sequence in runnable]


@pytest.mark.parametrize(
    ("lengths", "prefill", "expected"),
    [
        ((100, 50), 512, [100, 50]),
        ((100, 50), 120, [100, 17]),
        ((100, 50), 100, [100, 0]),
        ((600,), 999, [320]),
        ((100,), 90, [64]),
        ((100,), 50, [50]),
        ((100,), 127, [100]),
        ((1104,), 127, [64]),
        ((130,), 128, [64]),
    ],
)
def test_the_first_prompts_come_first(lengths, prefill, expected):
    """Later ones get the remaining tokens; chunks are whole tiles of attention, or equal where there is no room for one."""
    assert counted(*map(prompt, lengths), prefill=prefill) == expected


@pytest.mark.parametrize("limit", [*range(64, 200), 256, 512])
def test_no_chunk_is_shorter_than_a_tile_of_attention(limit):
    """Except the last one, where the limit has no room for nearly two tiles."""
    for length in range(128, 1200, 7):
        sizes = []
        while (left := length - sum(sizes)) > 0:
            sizes.append(tiled_chunk_size(left, limit))
        assert max(sizes) <= limit and all(size % 64 == 0 for size in sizes[:-1])
        assert sizes[-1] >= 64 or limit < 127


def test_decoding_uses_no_prompt_tokens():
    """Every step includes one token of each decoding sequence."""
    assert counted(decoding(), decoding(), prompt(100), prefill=30) == [1, 1, 25]


@pytest.mark.parametrize("field", ["checkpoint_at", "save_at", "keep_at"])
def test_a_chunk_ends_where_the_state_is_copied_or_saved(field):
    """Only there it has exactly those tokens; a position that is already passed stops nothing."""
    sequence = prompt(100, done=10)
    setattr(sequence, field, 40)
    assert counted(sequence) == [30]
    sequence.num_computed_tokens = 40
    assert counted(sequence) == [60]


def test_no_more_outputs_than_the_context_has():
    """A prompt that needs logits at many tokens is split when those are used up."""
    sequence = prompt(100)
    sequence.first_logit = 50
    assert counted(sequence, max_outputs=20) == [70]
    assert counted(sequence, sequence, max_outputs=0) == [50, 50]


def test_drafts_without_room_are_dropped():
    """The last token is always included; draft tokens only while the batch has room."""
    sequence, other = decoding(7, 8, 9), decoding(7, 8, 9)
    assert counted(sequence, other, capacity=6) == [4, 2]
    assert (sequence.draft_tokens, other.draft_tokens) == ([7, 8, 9], [7])


def test_the_batch_matches_its_entries(bench):
    """Entries are in order of slots, with the batch indices of the logits that each needs; stalled sequences wait."""
    scheduler = bench("llama")
    first, second, stalled = (Probe(name, numbers(20, i), numbers(3, i)) for i, name in enumerate("abc"))
    scheduler.add(first, second, stalled)
    scheduler.step()
    stalled.sink.full = True
    second.request = first.request.__class__("b", first.request.messages, priority=Priority.INTERACTIVE)
    entries = scheduler.scheduler._batch_builder.build([second, stalled, first], 1.0)
    assert [(entry.sequence, entry.num_tokens, entry.outputs) for entry in entries] == [
        (first, 1, [0]),
        (second, 1, [1]),
    ]
    batch = scheduler.kv_cache.context.batch
    assert (batch.size, batch.outputs) == (2, 2)
    assert list(batch._tokens[:2]) == [first.tokens[-1], second.tokens[-1]]
