"""summarize with key sentences: what is requested, and what comes of it."""

from __future__ import annotations

import struct
import zlib

import pytest
from scripted import ScriptedBackend, last_message

from llmcli.documents.reading.document import Document
from llmcli.errors import EmptyInput, Unsupported
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.summarize import summarize
from llmcli.tasks.summarize.key_sentences import MAX_PENDING
from llmcli.tasks.summarize.summary_options import AUTO, KEY_SENTENCES, SummaryOptions
from llmcli.types import ItemFailed, Notice, Progress, Result

SMALL, LARGE = 135_000_000, 500_000_000
TEXT = "The roof leaks badly in\nthe rain. We repair it on Monday morning. The workshop stays closed.\n"


def states(request) -> bytes:
    """Return a vector of the words of a sentence: the sum of one for each."""
    vector = [0.0] * 16
    for word in last_message(request).casefold().split():
        vector[zlib.crc32(word.encode()) % 16] += 1
    return struct.pack("<16f", *vector)


def run(prompts, *texts: str, answer=states, options=None, parameters=SMALL, context=2048, layers=None, **wanted):
    backend = ScriptedBackend(answer, parameters=parameters, context=context, layers=layers)
    documents = [Document(f"d{number}", text) for number, text in enumerate(texts)]
    how = SummaryOptions(**{"style": KEY_SENTENCES, **wanted})
    events = list(summarize(backend, prompts, documents, options or GenerationOptions(), how))
    return [event for event in events if isinstance(event, Result | ItemFailed)], backend, events


def test_each_sentence_is_read_once_and_nothing_is_generated(prompts):
    """The hidden states of all sentences are requested in one job."""
    (result,), backend, _ = run(prompts, TEXT, words=9)
    assert [request.prompt for request in backend.requests] == [
        "The roof leaks badly in\nthe rain.",
        "We repair it on Monday morning.",
        "The workshop stays closed.",
    ]
    assert all(request.hidden_states and not request.max_tokens for request in backend.requests)
    assert backend.jobs == 1
    assert result.usage.completion_tokens == 0


def test_sentences_are_read_after_an_early_layer_and_with_a_focus_after_the_one_for_vectors(prompts):
    _, backend, _ = run(prompts, TEXT, words=9, layers=10)
    assert [each.state_layers for each in backend.requests] == [(4,)] * 3
    _, backend, _ = run(prompts, TEXT, words=9, focus="closing days", layers=10)
    assert [each.state_layers for each in backend.requests] == [(8,)] * 4


def test_sentences_are_verbatim_with_their_place(prompts):
    """In the text they are lines; in the fields they are as in the document, with offsets and lines."""
    (result,), _, _ = run(prompts, TEXT, words=13)
    assert result.fields["method"] == KEY_SENTENCES
    for sentence in result.fields["sentences"]:
        assert TEXT[sentence["start"] : sentence["end"]] == sentence["text"]
        assert " ".join(sentence["text"].split()) in result.text.splitlines()
    first = result.fields["sentences"][0]
    assert (first["first_line"], first["last_line"]) == (1, 2)


def test_no_summary_has_a_word_that_the_text_has_not(prompts):
    """Whatever the states are, all sentences stand in the text."""
    texts = [f"Sentence {n} says {'so ' * (n % 7)}much. " * 3 for n in range(20)]
    results, _, _ = run(prompts, *texts, words=20)
    for text, result in zip(texts, results, strict=True):
        assert all(text[s["start"] : s["end"]] == s["text"] for s in result.fields["sentences"])


@pytest.mark.parametrize(
    ("parameters", "wanted", "method"),
    [
        (SMALL, {}, KEY_SENTENCES),
        (LARGE, {}, "written"),
        (None, {}, "written"),
        (SMALL, {"audience": "children"}, "written"),
        (SMALL, {"language": "French"}, "written"),
        (SMALL, {"focus": "the roof"}, KEY_SENTENCES),
    ],
)
def test_auto_depends_on_the_size_of_the_model(prompts, parameters, wanted, method):
    """Below half a billion parameters, key sentences; but another language has to be written."""

    def answer(request):
        return states(request) if request.hidden_states else "A summary."

    (result,), _, _ = run(prompts, TEXT, answer=answer, parameters=parameters, style=AUTO, **wanted)
    assert result.fields["method"] == method


def test_a_focus_is_read_as_well(prompts):
    """The sentence about it is chosen."""
    (result,), backend, _ = run(prompts, TEXT, words=4, focus="workshop stays closed")
    assert backend.requests[-1].prompt == "workshop stays closed"
    assert result.text == "The workshop stays closed."


def test_a_missed_length_is_a_warning(prompts):
    """Sentences are not cut to meet the length."""
    (result,), _, events = run(prompts, "The whole text is this one sentence of ten words.", words=5)
    assert result.text.endswith("ten words.")
    assert result.warnings == ("the summary has 10 words, not about 5",)
    assert [event.text for event in events if isinstance(event, Notice)] == [*result.warnings]


def test_a_long_document_is_requested_bit_by_bit(prompts):
    """No more sentences wait than fill the batches; all are read."""
    text = "".join(f"This is sentence number {number} of them.\n\n" for number in range(3 * MAX_PENDING))
    seen: list[int] = []
    backend = ScriptedBackend(lambda request: seen.append(len(backend.requests)) or states(request), parameters=SMALL)
    events = list(
        summarize(backend, prompts, [Document("d", text)], GenerationOptions(), SummaryOptions(style=KEY_SENTENCES))
    )
    assert seen[0] == MAX_PENDING
    assert len(backend.requests) == 3 * MAX_PENDING
    assert any(isinstance(event, Result) for event in events)


README = """\
<p align="center"><img src="logo.png" alt="A logo of the roof that leaks"></p>

[![build](https://example.org/build.svg)](https://example.org) [![docs](https://example.org/docs.svg)](https://example.org)

| day | what we do on that day |
|---|---|
| Monday | We repair the roof. It takes all day. |

```sh
echo "This is a command that prints a sentence."
```

The roof leaks badly in the rain.
"""


def test_only_prose_is_read(prompts):
    """Tables, markup and code cost nothing; all of the requests together have fewer tokens than the text."""
    (result,), backend, _ = run(prompts, README + TEXT)
    assert backend.requests[0].prompt == "The roof leaks badly in the rain."
    assert len(backend.requests) == 4 and not any(request.messages for request in backend.requests)
    assert result.usage.prompt_tokens <= 1.2 * backend.tokens(README + TEXT)
    assert "|" not in result.text and "<" not in result.text


def test_all_sentences_are_read_once_without_instructions(prompts):
    """The tokens of prose are those of the text."""
    text = "".join(f"This is sentence number {number} of them.\n\n" for number in range(300))
    (result,), backend, _ = run(prompts, text)
    assert result.usage.prompt_tokens == backend.tokens(text) and len(backend.requests) == 300


def test_a_text_without_prose_has_sentences_too(prompts):
    """A table has nothing else."""
    (result,), backend, _ = run(prompts, "| Monday | We repair the roof. |\n| Tuesday | We do not. |\n")
    assert len(backend.requests) >= 2 and result.text


def test_progress_counts_sentences(prompts):
    """Written summaries count parts."""
    _, _, events = run(prompts, TEXT)
    assert {event.unit for event in events if isinstance(event, Progress) and event.phase is None} == {"sentences"}


@pytest.mark.parametrize("context", [64, 256])
def test_a_sentence_longer_than_the_context_is_ranked_by_its_beginning(prompts, context):
    """A line of data without an end does not fail the document."""
    (result,), _, _ = run(prompts, TEXT + "\n\n" + "x " * 4000, context=context)
    assert isinstance(result, Result)


def test_blank_documents_fail_alone(prompts):
    """The others go on."""
    first, second = run(prompts, " \n--\n", TEXT)[0]
    assert isinstance(first.error, EmptyInput)
    assert isinstance(second, Result)


def test_a_backend_without_hidden_states_is_named(prompts):
    """A server that ignores the wish for them gives no summary."""
    ((failed,), _, _) = run(prompts, TEXT, answer=lambda _: "text")
    assert isinstance(failed.error, Unsupported)
