import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import Reply, ScriptedBackend, ScriptedJob, last_message
from tasks.helpers import error, notices, of, result, streamed

from llmcli.cli.console.error_messages import describe
from llmcli.documents.reading.document import Document
from llmcli.documents.segments import Segment
from llmcli.errors import ContextOverflow, InternalError, MissingError, TimedOut
from llmcli.tasks.languages import parse_language
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.translate import PROMPT, translate
from llmcli.tasks.translate.memory_cache import TranslationMemoryCache
from llmcli.tasks.translate.target_file import TranslationSpec
from llmcli.tasks.translate.translator import Translator
from llmcli.types import Delta, FinishReason, ItemFailed, Progress, Result, TextDelta, Usage

FRENCH = parse_language("fr")
TEXT = "# Title\r\n\r\n  An indented\r\n  paragraph of lines.  \r\n\r\n\r\n-----\r\n\tThe end"


def shout(request):
    return last_message(request).upper()


def translator(backend, prompts, *, options=None, **more):
    """Return a translator into French with the short prompt."""
    return Translator(backend, prompts.get(PROMPT), options or GenerationOptions(), FRENCH, model_id="m", **more)


def run(backend, prompts, *texts, options=None, bom=False, name="doc{}.txt", memory=None, report=None, **more):
    by = translator(backend, prompts, options=options, **more)
    jobs = [TranslationSpec(Document(name.format(index), text, bom=bom), by) for index, text in enumerate(texts)]
    return list(translate(jobs, remembered=TranslationMemoryCache(memory), report=report))


def once(text, bad):
    """Answer ``bad`` to the first request about ``text``, and well to everything else."""
    seen = []

    def answer(request):
        if last_message(request) == text and not seen:
            seen.append(request)
            return bad
        return shout(request)

    return answer


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="ab .\n\r\t\u00a0é-", max_size=60), st.booleans())
def test_an_echo_returns_the_same_bytes(prompts, text, bom):
    """With a model that repeats its input, any document stays the same byte for byte."""
    events = run(ScriptedBackend(context=500), prompts, text, bom=bom)
    assert streamed(events) == result(events).text == ("\ufeff" if bom else "") + text


def test_an_echo_returns_long_paragraphs(prompts):
    """A paragraph that was split into sentences is joined unchanged."""
    text = "  A sentence of some words here.\r\n  Another one follows it.\r\n" * 40
    backend = ScriptedBackend(context=150)
    assert result(run(backend, prompts, text)).text == text
    assert len(backend.requests) > 10


def test_everything_around_the_words_stays(prompts):
    """Blank lines, indentation, line endings and rules stay; the words are translated."""
    assert result(run(ScriptedBackend(shout), prompts, TEXT)).text == TEXT.upper()


def test_white_space_of_answers_is_dropped(prompts):
    """White space that the model adds around its answer is removed."""
    assert result(run(ScriptedBackend(lambda _: "\n\n Bonjour \n"), prompts, "Hello\n")).text == "Bonjour\n"


def test_an_empty_document_gives_an_empty_text(prompts):
    """An empty document needs no model and gives an empty text."""
    backend = ScriptedBackend()
    answer = result(run(backend, prompts, ""))
    assert (answer.text, answer.cut, backend.requests) == ("", False, [])


def test_the_language_reaches_the_prompt(tmp_path):
    """The built-in prompt file gives the English name of the language."""
    from llmcli.prompts.prompt_library import PromptLibrary

    backend = ScriptedBackend(lambda _: "salut")
    run(backend, PromptLibrary(tmp_path), "Hello there")
    assert "French" in backend.requests[0].messages[-1].content


def test_output_is_streamed_in_order(prompts):
    """A paragraph that finishes early waits for the ones before it."""
    backend = ScriptedBackend(lambda r: "une réponse vraiment très longue" if last_message(r) == "first" else "done")
    events = run(backend, prompts, "first\n\nsecond\n\nthird\n")
    assert [delta.text for delta in of(Delta, events)] == [
        "une réponse vraiment très longue",
        "\n\ndone",
        "\n\ndone",
        "\n",
    ]
    assert streamed(events) == result(events).text


def test_the_result_has_language_and_counts(prompts):
    """A result has the code of the target language and counts the segments."""
    answer = result(run(ScriptedBackend(shout), prompts, "one\n\ntwo\n"))
    assert answer.fields == {
        "from": None,
        "to": "fr",
        "format": "plain",
        "segments": 2,
        "untranslated": 0,
        "statuses": {"translated": 2},
    }


def test_all_documents_are_one_job(prompts):
    """All paragraphs of all documents run concurrently."""
    waiting = []
    backend = ScriptedBackend(lambda r: waiting.append(len(backend.requests)) or shout(r))
    events = run(backend, prompts, "a\n\nb\n", "c\n\nd\n")
    assert (backend.jobs, waiting[0]) == (1, 4)
    assert [streamed(events, item) for item in (0, 1)] == ["A\n\nB\n", "C\n\nD\n"]


def test_usage_is_that_of_all_calls(prompts):
    """The usage of a document is the sum over its paragraphs, including retries."""
    answer = result(run(ScriptedBackend(once("b b", "")), prompts, "a\n\nb b\n"))
    assert answer.usage == Usage(1 + 2 + 2, 0, 1 + 0 + 2)


def test_segments_count_as_progress(prompts):
    """Progress counts the segments."""
    progress = of(Progress, run(ScriptedBackend(shout), prompts, "a\n\nb\n\nc\n"))
    assert [(event.done, event.total) for event in progress] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert progress[0].unit == "segments"
    assert [(event.current, event.tokens) for event in progress] == [("a", None), ("b", 1), ("c", 2), ("", 3)]


def test_segments_that_wait_count_once(prompts):
    """The total of a long document is the number of its segments from the beginning, although not all are asked for."""
    text = "".join(f"word {number}\n\n" for number in range(200))
    backend = ScriptedBackend(shout)
    progress = of(Progress, run(backend, prompts, text))
    assert {event.total for event in progress} == {200}
    assert [event.done for event in progress] == [*range(201)]


@pytest.mark.parametrize("bad", ["", " \n", "x" * 500, "blah " * 2000], ids=["empty", "blank", "long", "endless"])
def test_a_bad_answer_is_retried(prompts, bad):
    """An empty, far too long or endless answer is requested once more, and the second one counts."""
    backend = ScriptedBackend(once("two", bad))
    events = run(backend, prompts, "one\n\ntwo\n\nthree\n")
    answer = result(events)
    assert (answer.text, answer.cut, notices(events)) == ("ONE\n\nTWO\n\nTHREE\n", False, [])
    assert len(backend.requests) == 4


def test_the_second_attempt_differs(prompts):
    """The second attempt has a higher temperature and may be longer."""
    backend = ScriptedBackend(once("two", ""))
    run(backend, prompts, "two\n")
    first, second = backend.requests
    assert second.sampling.temperature > first.sampling.temperature
    assert second.max_tokens > first.max_tokens


def test_a_segment_that_fails_twice_keeps_its_source(prompts):
    """A paragraph that fails twice stays in the source language and is reported with its line; the item is partial."""
    backend = ScriptedBackend(lambda r: "" if last_message(r) == "two" else shout(r))
    events = run(backend, prompts, "one\n\n\n two\n\nthree\n")
    answer = result(events)
    assert (answer.text, answer.cut, answer.fields["untranslated"]) == ("ONE\n\n\n two\n\nTHREE\n", True, 1)
    assert notices(events) == list(answer.warnings) == ["line 4: left untranslated: the model gave an empty answer"]


def test_a_runaway_answer_ends(prompts):
    """An answer far beyond its limit ends, although the model would go on."""
    backend = ScriptedBackend(lambda _: Reply("blah " * 60, stalls=True))
    answer = result(run(backend, prompts, "hello\n"))
    assert (answer.text, answer.cut, len(backend.requests)) == ("hello\n", True, 2)


class CountingJob(ScriptedJob):
    """Counts the tokens of all answers as they are written."""

    def _write(self, request, text, limit):
        written = super()._write(request, text, limit)
        while True:
            try:
                event = next(written)
            except StopIteration as end:
                return end.value
            self._backend.written += isinstance(event, TextDelta)
            yield event


class CountingBackend(ScriptedBackend):
    """A backend whose jobs count tokens."""

    written = 0

    def open(self):
        return CountingJob(self)


def test_a_runaway_answer_ends_where_it_can_be_no_translation_any_more(prompts):
    """Of a thousand tokens, only as many are generated as a translation may be long: 130 characters for five.

    The limit is a part of the request, so that a worker stops at once though it sends whole texts.
    """
    backend = CountingBackend(lambda _: "blah " * 1000, obeys_limits=False)
    answer = result(run(backend, prompts, "hello\n"))
    assert answer.warnings == ("line 1: left untranslated: the answer was far longer than a translation",)
    assert 2 * 26 <= backend.written <= 2 * 28
    assert [(request.max_chars, request.gathered) for request in backend.requests] == 2 * [(130, True)]


def test_an_answer_of_one_paragraph_ends_with_it(prompts):
    """What comes after it is not waited for; a preamble, or a part of the sentences, is retried to the end of the answer."""
    for text, said, asked in (
        ("hello", "Bonjour\n\nEnglish: hello", 1),
        ("hello", "Voila:\n\nBonjour", 2),
        ("hello", "\n\nBonjour", 2),
        ("One. Two.", "Un.\n\nDeux.", 2),
    ):
        backend = ScriptedBackend(lambda _, said=said: said, obeys_stops=True)
        run(backend, prompts, text)
        assert [request.stop for request in backend.requests[:asked]] == [("\n\n",), ()][:asked]
    backend = ScriptedBackend(lambda _: "Bonjour", is_engine=False)
    assert result(run(backend, prompts, "hello\n")).text == "Bonjour\n" and backend.requests[0].stop == ()


def test_several_paragraphs_are_no_translation_of_one(prompts):
    """The segment keeps its text."""
    backend = ScriptedBackend(lambda _: "Bonjour\n\nEnglish: hello", is_engine=False)
    answer = result(run(backend, prompts, "hello\n"))
    assert answer.warnings == ("line 1: left untranslated: the answer has several paragraphs",)


def test_a_comment_may_be_cut(prompts):
    """What a model says about its translation does not make that a bad one, however long it talks."""
    backend = ScriptedBackend(lambda _: "Bonjour\n\nNote: " + "I have kept the tone. " * 100)
    answer = result(run(backend, prompts, "hello\n"))
    assert (answer.text, answer.cut, len(backend.requests)) == ("Bonjour\n", False, 1)


def test_a_segment_cut_by_the_users_limit_stays(prompts):
    """A segment that the user's limit cuts stays unchanged, is reported, and is not retried at full length."""
    backend = ScriptedBackend(shout)
    events = run(backend, prompts, "one two three\n\nfour\n", options=GenerationOptions(max_tokens=2))
    answer = result(events)
    assert (answer.text, answer.cut, answer.finish_reason) == ("one two three\n\nFOUR\n", True, FinishReason.LENGTH)
    assert notices(events) == ["line 1: left untranslated: the answer is incomplete: it reached the limit of 2 tokens"]
    assert describe(answer.incomplete) == (
        "1 of 2 segments was left untranslated",
        "The warnings say why; raise or leave out --max-tokens",
    )
    assert [(last_message(request), request.max_tokens) for request in backend.requests] == [
        ("one two three", 2),
        ("four", 2),
    ]


def test_sentences_may_fit_a_limit_that_their_paragraph_does_not(prompts):
    """A paragraph that the user's limit cuts is translated sentence by sentence."""
    backend = ScriptedBackend(shout)
    answer = result(run(backend, prompts, "Old men. Young cats.\n", options=GenerationOptions(max_tokens=2)))
    assert (answer.text, answer.cut, answer.finish_reason) == ("OLD MEN. YOUNG CATS.\n", False, FinishReason.STOP)


def test_unchanged_segments_are_counted(prompts):
    """The result counts all segments and those left unchanged, including repeated ones."""
    backend = ScriptedBackend(lambda r: shout(r) if last_message(r) == "good" else "")
    answer = result(run(backend, prompts, "bad\n\ngood\n\nbad\n\nworse\n"))
    assert describe(answer.incomplete) == (
        "3 of 4 segments were left untranslated",
        "The warnings say why; try a larger model: llm models list",
    )
    assert (answer.fields["untranslated"], answer.fields["segments"]) == (3, 4)


def test_no_room_for_text(prompts):
    """A context without room for a sentence is an error of the item."""
    assert isinstance(error(run(ScriptedBackend(shout, context=30), prompts, "word " * 40)), ContextOverflow)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply("half of", error=InternalError()), InternalError),
        (Reply("half of", reason=FinishReason.TIMEOUT), TimedOut),
    ],
)
def test_a_failure_keeps_what_was_delivered(prompts, reply, kind):
    """Paragraphs before a failure are kept, later ones are not delivered, other documents continue."""
    backend = ScriptedBackend(lambda r: reply if last_message(r) == "b" else Reply(shout(r)))
    events = run(backend, prompts, "a\n\nb\n\nc\n", "d\n")
    assert isinstance(error(events), kind)
    assert streamed(events) == "A"
    assert [answer.item for answer in of(Result, events)] == [1]


def test_an_unreadable_file_is_passed_on(prompts):
    """A failure among the inputs keeps its position and its error."""
    missing = ItemFailed(0, "gone", MissingError("gone", kind="input"))
    by = translator(ScriptedBackend(shout), prompts)
    events = list(
        translate([TranslationSpec(Document("a", "x\n"), by), missing, TranslationSpec(Document("b", "y\n"), by)])
    )
    assert [failed.item for failed in of(ItemFailed, events)] == [1]
    assert streamed(events, 2) == "Y\n"


def test_closing_cancels(prompts):
    """Closing the iterator cancels all running paragraphs."""
    backend = ScriptedBackend(lambda r: "A" if last_message(r) == "a" else Reply(stalls=True))
    events = translate([TranslationSpec(Document("d", "a\n\nb\n\nc\n"), translator(backend, prompts))])
    while not isinstance(next(events), Delta):
        pass
    events.close()
    assert sorted(backend.cancelled) == ["0.1.1", "0.2.1"]


@pytest.mark.parametrize(
    ("cost", "groups"), [(0.0, [1, 1, 1, 1, 1]), (0.01, [1, 2, 2]), (10.0, [1, 3])], ids=["quick", "slower", "slow"]
)
def test_translations_are_soon_on_disk(prompts, monkeypatch, cost, groups):
    """At once if that is quick, else in groups, so that a kill loses few of them."""
    clock = [0.0]
    written = []

    class Disk:
        """A memory whose writes take time."""

        def add_units(self, entries):
            written.append(len(entries))
            clock[0] += cost

    monkeypatch.setattr("llmcli.tasks.translate.memory_cache.time.monotonic", lambda: clock[0])
    remembered = TranslationMemoryCache(Disk())
    by = translator(ScriptedBackend(), prompts)
    for index in range(5):
        clock[0] += 0.07
        remembered.add(Segment(0, 1, f"text {index}", str), "x", None, by)
    assert written == groups
