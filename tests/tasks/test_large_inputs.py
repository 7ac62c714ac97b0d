"""The verbs give the same result for a text that is read in blocks as for one that is kept in memory."""

from __future__ import annotations

import gc
import struct
import weakref
import zlib

import pytest
from grid import grid
from scripted import ScriptedBackend, last_message, score_words
from tasks.extract.extraction_runs import make_plan, passage_of
from tasks.helpers import of

from llmcli.documents.reading import file_reader, streamed_file
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.streamed_file import open_streamed_file
from llmcli.errors import BadDocument
from llmcli.interrupt import Interrupt
from llmcli.store.passage_index import PassageIndex
from llmcli.tasks.extract import extract
from llmcli.tasks.proofread import SuspiciousWord, proofread
from llmcli.tasks.retrieval.index_update import IndexChanges, IndexUpdater
from llmcli.tasks.retrieval.passage_cutter import cut_document, cut_streamed_file
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import MAX_PENDING_REQUESTS, run_inputs
from llmcli.tasks.summarize import summarize
from llmcli.tasks.summarize.summary_options import KEY_SENTENCES, SummaryOptions
from llmcli.types import ItemFailed, Message, Request, Result, Role

TEXT = "".join(
    f"{f'# Part {n // 40}' + chr(10) * 2 if n % 40 == 0 else ''}In the year {1500 + n} ship {n} sailed to the island. "
    f"It came back with {n * 7 % 31} people.\n\n"
    for n in range(400)
)


@pytest.fixture
def large(monkeypatch, tmp_path):
    """Return the text as one that is read in blocks."""
    monkeypatch.setattr(file_reader, "MIN_LARGE_BYTES", 1000)
    monkeypatch.setattr(streamed_file, "BLOCK_CHARS", 3000)
    monkeypatch.setattr(streamed_file, "_READ_BYTES", 1500)
    (tmp_path / "a.md").write_text(TEXT)
    return open_streamed_file(str(tmp_path / "a.md"))


def states(request) -> bytes:
    """Return a vector of the words of a sentence."""
    vector = [0.0] * 16
    for word in last_message(request).split():
        vector[zlib.crc32(word.encode()) % 16] += 1
    return struct.pack("<16f", *vector)


def key_sentences(prompts, document, **wanted):
    backend = ScriptedBackend(states, parameters=135_000_000)
    how = SummaryOptions(style=KEY_SENTENCES, **wanted)
    (result,) = of(Result, list(summarize(backend, prompts, [document], GenerationOptions(), how)))
    return result


@pytest.mark.parametrize("wanted", [{"words": 60}, {}, {"words": 60, "focus": "people came back"}])
def test_key_sentences_of_blocks_are_those_of_the_whole(prompts, large, wanted):
    """Text, offsets, lines and scores."""
    found, whole = (key_sentences(prompts, each, **wanted) for each in (large, Document(large.name, TEXT)))
    assert (found.text, found.fields, found.usage) == (whole.text, whole.fields, whole.usage)
    assert all(TEXT[each["start"] : each["end"]] == each["text"] for each in found.fields["sentences"])


@grid("place", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("times", [3, 30])
def test_key_sentences_about_a_needle_have_it(prompts, place, times):
    """At head, middle and tail of a text of 3 and 30 times the context, which is never sent as a whole."""
    needle = "The password of the vault is xylophone."
    hay = [f"On day {n} the ship sailed on to island {n}.\n\n" for n in range(times * 20)]
    hay.insert(round(place * len(hay)), f"{needle}\n\n")
    backend = ScriptedBackend(states, parameters=135_000_000, context=200)
    how = SummaryOptions(style=KEY_SENTENCES, words=8, focus="password of the vault xylophone.")
    document = Document("a.txt", "".join(hay))
    (result,) = of(Result, list(summarize(backend, prompts, [document], GenerationOptions(), how)))
    assert result.text == needle and len(backend.requests) == len(hay) + 1


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_an_index_finds_a_needle(tmp_path, place):
    """At head, middle and tail of a file."""
    hay = [f"On day {n} the ship sailed on to island {n}.\n\n" for n in range(600)]
    hay.insert(round(place * len(hay)), "The password of the vault is xylophone.\n\n")
    (tmp_path / "a.txt").write_text("".join(hay))
    with PassageIndex(tmp_path / "i.sqlite", str(tmp_path / "a.txt")) as index:
        list(IndexUpdater(index, str(tmp_path / "a.txt"), Interrupt()).update())
        (found,) = index.passages(index.search_words("Which password?", 1)).values()
    assert "xylophone" in found.text


def test_passages_of_blocks_are_those_of_the_whole(large):
    """Headings go on from block to block; a block may end a passage early."""
    found, whole = [*cut_streamed_file(large)], cut_document(Document(large.name, TEXT))
    assert {each.headings for each in found} == {each.headings for each in whole}
    assert len(whole) <= len(found) <= len(whole) + len(TEXT) // 3000
    lines = TEXT.splitlines()
    for each in found:
        assert TEXT[each.start : each.start + len(each.text)] == each.text
        assert "\n".join(lines[each.first_line - 1 : each.last_line]).strip() == each.text


@pytest.mark.parametrize("context", [700, 2048])
def test_values_of_blocks_are_those_of_the_whole(tmp_path, large, context):
    """With their offsets and lines; no more passages wait than fill the batches."""

    def answer(request):
        number = next(word for word in passage_of(request).split("ship ")[1:]).split()[0]
        return f'[{{"ship": {number}}}]'

    results = []
    for document in (large, Document(large.name, TEXT)):
        backend = ScriptedBackend(answer, context=context)
        (result,) = of(Result, list(extract(make_plan(backend, "ship int", tmp_path, many=True), [document])))
        results.append(result)
        assert result.fields["coverage"] == 1.0
        for each in result.fields["found"]:
            quote = each["quote"]
            assert TEXT[quote["start"] : quote["end"]] == quote["text"] == str(each["value"])
            assert quote["first_line"] == TEXT[: quote["start"]].count("\n") + 1
    assert results[0].fields["values"][0] == results[1].fields["values"][0] == {"ship": 0}


@pytest.mark.slow
def test_passages_are_requested_bit_by_bit(tmp_path):
    """A later passage is requested when an earlier one has ended; the values are in the order of the text."""
    pieces = [f"Order {n} of the list {'filler ' * 60}.\n\n" for n in range(3 * MAX_PENDING_REQUESTS)]
    waiting: list[int] = []

    def answer(request):
        waiting.append(len(backend.requests))
        return f'[{{"order": {passage_of(request).split()[1]}}}]'

    backend = ScriptedBackend(answer, context=900, tokens=lambda text: len(text.split()) * 4)
    plan = make_plan(backend, "order int", tmp_path, many=True)
    (result,) = of(Result, list(extract(plan, [Document("a.txt", "".join(pieces))])))
    assert waiting[0] == MAX_PENDING_REQUESTS
    numbers = [each["order"] for each in result.fields["values"]]
    assert numbers == [*range(3 * MAX_PENDING_REQUESTS)]


@pytest.mark.parametrize("wanted", [SuspiciousWord(15.0), SuspiciousWord(0.0, 7)])
def test_proofread_finds_the_same_words_at_the_same_places(large, wanted):
    """Also the words at the borders of blocks, whose context is the end of the block before."""
    seen: list[str] = []

    def surprise(request):
        seen.append(request.prompt)
        return tuple(
            score_words(each, lambda word: zlib.crc32(word.encode()) % 300 / 10) for each in request.candidates
        )

    found = []
    for document in (Document("a.md", TEXT), large):
        backend = ScriptedBackend(surprise, token_scores=True, context=600)
        (result,) = of(Result, list(proofread(backend, [document], GenerationOptions(), wanted)))
        found.append((result.fields["words"], result.fields["scored"]))
    assert found[0] == found[1]
    assert len(found[0][0]) > 5
    assert seen.count("\n") == 2, "only the beginning of each document has no context"


def test_parts_of_a_written_summary_are_requested_bit_by_bit(prompts):
    """A later part is requested when an earlier one has ended; the lines of a part that failed are still known."""
    waiting: list[int] = []

    def answer(request):
        waiting.append(len(backend.requests))
        return "" if "ship 399 " in last_message(request) else "facts"

    backend = ScriptedBackend(answer, context=300)
    text = "Before.\r\n\r\n" + TEXT * 4 + "Ship 399 and ship 399 again.\n"
    events = list(summarize(backend, prompts, [Document("a.md", text)], GenerationOptions(), SummaryOptions()))
    (result,) = of(Result, events)
    assert waiting[0] == MAX_PENDING_REQUESTS < len(waiting)
    lines = text.split("\n")
    assert len(result.fields["missing"]) == 4
    for part in result.fields["missing"]:
        assert "ship 399 " in "\n".join(lines[part["first_line"] - 1 : part["last_line"]])
        assert lines[part["first_line"] - 1].strip() and lines[part["last_line"] - 1].strip()


def test_a_written_summary_of_a_text_that_is_too_large_fails_alone(prompts, large, monkeypatch):
    """Memory does not grow with it; the other documents go on."""
    monkeypatch.setattr(streamed_file, "MAX_TEXT_BYTES", 1000)
    documents = [large, Document("b", "short text")]
    events = list(summarize(ScriptedBackend(), prompts, documents, GenerationOptions(), SummaryOptions()))
    (failed,), (done,) = of(ItemFailed, events), of(Result, events)
    assert isinstance(failed.error, BadDocument) and "larger than" in failed.error.detail
    assert (failed.item, done.item) == (0, 1)


def test_an_index_of_blocks_finds_the_same(large, tmp_path):
    """A large file that has not changed is not indexed again; one whose indexing was interrupted is."""
    with PassageIndex(tmp_path / "i.sqlite", str(large.path)) as index:

        def update():
            updater = IndexUpdater(index, str(large.path), Interrupt())
            list(updater.update())
            return updater.changes

        assert update() == IndexChanges(added=1)
        (found,) = index.passages(index.search_words("1777", 1)).values()
        assert "In the year 1777 ship 277" in found.text and found.headings == ("Part 6",)
        assert index.summary().characters == len(TEXT)
        assert update() == IndexChanges(unchanged=1)
        (state,) = index.files().values()

        def interrupted():
            yield from index.passages([1]).values()
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            index.replace_large(state, interrupted())
        assert update() == IndexChanges(changed=1)
        assert len(index.search_words("sailed", 1000)) == len([*cut_streamed_file(large)])


def test_nothing_holds_a_document_whose_task_has_ended():
    """Its memory is free at once, before Python looks for objects that refer to each other."""

    class WatchedDocument(Document):
        """One that can be referred to weakly."""

    documents: list[weakref.ref[Document]] = []

    def read():
        for number in range(3):
            document = WatchedDocument(f"{number}.txt", "text")
            documents.append(weakref.ref(document))
            yield document

    async def task(run, document):
        async def ask(part):
            return await run.ask(Request(part, (Message(Role.USER, document.text),)))

        async for _ in run.each([f"{run.item}.0", f"{run.item}.1"], ask):
            pass
        return run.result(None)

    gc.disable()
    try:
        for _ in run_inputs(ScriptedBackend(lambda _: "answer"), read(), task):
            pass
        assert [document() for document in documents] == [None, None, None]
    finally:
        gc.enable()
