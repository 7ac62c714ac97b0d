"""The attempts at one segment."""

from __future__ import annotations

import re

import pytest
from scripted import Reply, ScriptedBackend, last_message
from tasks.helpers import run_work

from llmcli.documents.segments import Segment
from llmcli.errors import TimedOut
from llmcli.errors.incomplete_results import AnswerRefused
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.languages import parse_language
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.translate import PROMPT, REVIEW_PROMPT
from llmcli.tasks.translate.segment_requests import SegmentTask, mask_segment
from llmcli.tasks.translate.segment_translation import translate_segment
from llmcli.tasks.translate.translator import SegmentContext, Translator

LONG = "One two three. Four five six. Seven eight nine."
SHORT = "One two three"


def backwards(text):
    """Write each word backwards."""
    return re.sub(r"\w+", lambda word: word[0][::-1], text)


@pytest.fixture
def attempt(prompts):
    """Translate a text, and return the outcome and the texts of the requests; ``bad`` says which have no answer."""

    def run(text, bad, *, limit=None, pieces=None, answer=backwards, review=False):
        asked = []

        def reply(request):
            said = last_message(request)
            asked.append(said)
            return "" if bad(said, asked.count(said)) else answer(said)

        backend = ScriptedBackend(reply)
        options = GenerationOptions(max_tokens=limit)
        by = Translator(
            backend,
            prompts.get(PROMPT),
            options,
            parse_language("fr"),
            review_prompt=prompts.get(REVIEW_PROMPT) if review else None,
        )
        segment = Segment(0, len(text), text, str, kind="message")
        split = [(each, len(each.split())) for each in pieces or [text]]
        task = SegmentTask("0.0", segment, mask_segment(segment, by), SegmentContext(), by.target, split)
        return run_work(backend, lambda run: translate_segment(run, by, task)), asked

    return run


@pytest.mark.parametrize(
    ("text", "bad", "limit", "asked", "translation"),
    [
        (LONG, lambda text, n: False, None, [LONG], backwards(LONG)),
        (LONG, lambda text, n: n == 1, None, [LONG, LONG], backwards(LONG)),
        (SHORT, lambda text, n: n == 1, None, [SHORT, SHORT], backwards(SHORT)),
        (LONG, lambda text, n: text == LONG, None, [LONG, LONG, *LONG.replace(". ", ".|").split("|")], backwards(LONG)),
        (SHORT, lambda text, n: True, None, [SHORT, SHORT], None),
        (LONG, lambda text, n: False, 3, [LONG, *LONG.replace(". ", ".|").split("|")], backwards(LONG)),
        (SHORT, lambda text, n: False, 2, [SHORT], None),
        (
            LONG,
            lambda text, n: text in {LONG, "Seven eight nine."},
            None,
            [LONG, LONG, *LONG.replace(". ", ".|").split("|")],
            None,
        ),
    ],
)
def test_the_step_after_an_answer(attempt, text, bad, limit, asked, translation):
    """A segment has two attempts, then each of its sentences one; a limit of the user ends a retry as well."""
    found, requests = attempt(text, bad, limit=limit)
    assert [request.strip() for request in requests] == asked
    assert (found.translation, found.attempts) == (translation, len(asked))
    assert found.is_truncated_by_user is found.is_truncated is (limit == 2)


def test_a_bad_piece_ends_the_others(attempt):
    """The segment stays as it is, with the problem; what other pieces answer is not waited for."""
    found, _ = attempt(
        "One two. Three four.",
        lambda text, n: text == "One two.",
        pieces=["One two. ", "Three four."],
        answer=lambda text: Reply(stalls=True),
    )
    assert (found.translation, found.problems) == (None, ("the model gave an empty answer",))


def test_a_list_needs_all_its_items(attempt):
    """One item in a piece may be anything, so the whole is compared, too."""
    text = "- One two\n- Three four"
    answers = iter(["- enO", "Three"])
    found, _ = attempt(
        text, lambda text, n: False, pieces=["- One two\n", "- Three four"], answer=lambda _: next(answers)
    )
    assert (found.translation, found.problems) == (None, ("the lines are wrong: 1 instead of 2 list items",))


def test_pieces_without_words_need_no_model(attempt):
    """They are copied, with the white space around them."""
    found, asked = attempt(" 12 \nOne", lambda text, n: False, pieces=[" 12 \n", "One"])
    assert (found.translation, asked) == (" 12 \nenO", ["One"])


def test_a_review_corrects_what_had_problems(attempt):
    """It is asked for once, after a retry, and its answer counts if that is valid."""
    found, asked = attempt(SHORT, lambda text, n: n == 1 and text == SHORT, answer=lambda _: "bon", review=True)
    assert (found.translation, found.attempts, len(asked)) == ("bon", 3, 3)
    assert found.problems == ("the model gave an empty answer",)


def test_a_refusal_leaves_the_segment(attempt):
    """It is a problem, not a failure; a refused review leaves the translation."""
    refusal = AnswerRefused("the model", detail="no")
    found, _ = attempt(SHORT, lambda text, n: False, answer=lambda _: refusal)
    assert (found.translation, found.refusal) == (None, refusal) and "refuses to answer" in found.problems[0]
    answers = iter(["", "bon", refusal])
    found, _ = attempt(SHORT, lambda text, n: False, answer=lambda _: next(answers), review=True)
    assert (found.translation, found.refusal) == ("bon", None)


def test_other_failures_are_raised(attempt):
    """They are those of the document."""
    with pytest.raises(TimedOut):
        attempt(SHORT, lambda text, n: False, answer=lambda _: TimedOut())


@pytest.fixture
def retry(tmp_path):
    """Translate a text with the built-in prompts, and return the outcome and the requests."""

    def run(text, answers, *, review=False):
        library, left = PromptLibrary(tmp_path), iter(answers)
        backend = ScriptedBackend(lambda _: next(left))
        by = Translator(
            backend,
            library.get(PROMPT),
            GenerationOptions(),
            parse_language("fr"),
            review_prompt=library.get(REVIEW_PROMPT) if review else None,
        )
        segment = Segment(0, len(text), text, str, kind="message")
        task = SegmentTask("0.0", segment, mask_segment(segment, by), SegmentContext(), None, [(text, 9)])
        found = run_work(backend, lambda run: translate_segment(run, by, task))
        return found, [last_message(each) for each in backend.requests]

    return run


WRONG = "An earlier translation was not right: numbers are missing: 12"
FRENCH = "Il y a 12 pommes dans le panier."


@pytest.mark.parametrize("echo", [f"{WRONG}.\n", f"{WRONG}. ", "The earlier translation was not right.\n"])
def test_a_translation_does_not_repeat_what_was_wrong(retry, echo):
    """The retry names the problem, and its answer lacks that sentence."""
    found, asked = retry("There are 12 apples in the basket.", ["Il y a des pommes dans le panier.", f"{echo}{FRENCH}"])
    assert WRONG in asked[1] and WRONG not in asked[0]
    assert (found.translation, len(asked)) == (FRENCH, 2)


def test_a_reviewed_translation_does_not_repeat_what_was_wrong(retry):
    """As after a retry."""
    wrong = "What is not right: numbers are missing: 12."
    answers = ["Il y a des pommes.", FRENCH, f"{wrong}\n{FRENCH}"]
    found, asked = retry("There are 12 apples in the basket.", answers, review=True)
    assert wrong in asked[2] and (found.translation, len(asked)) == (FRENCH, 3)
