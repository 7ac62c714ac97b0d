"""The verdict on an answer: its form, then the model."""

from __future__ import annotations

import pytest
from scripted import ScriptedBackend, all_messages

from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.quiz.answer_check import Verdict, check_answer, explain, make_judge
from llmcli.tasks.quiz.card import Card, CardKind, order_card
from llmcli.tasks.runner.task_requests import GenerationOptions

CLOZE = Card(CardKind.CLOZE, "Compost feeds the e____ in the soil.", "earthworms")
SHORT = Card(CardKind.SHORT, "Where did Mendel sow peas?", "the garden of a monastery")
CHOICE = Card(CardKind.CHOICE, "In which year?", "1856", ("1543", "1856", "1610"))
ORDER = order_card("Put in order", ("dig", "sow", "water"), ("sow", "water", "dig"))


@pytest.mark.parametrize(
    ("card", "answer", "verdict"),
    [
        (CLOZE, "earthworms", Verdict.RIGHT),
        (CLOZE, "  Earthworms. ", Verdict.RIGHT),
        (CLOZE, "arthworms", Verdict.RIGHT),  # the rest after the letter that is shown
        (CLOZE, "earthwroms", Verdict.CLOSE),
        (CLOZE, "earthworm", Verdict.CLOSE),
        (CLOZE, "beetles", Verdict.WRONG),
        (CLOZE, " ", Verdict.NONE),
        (SHORT, "garden of a monastery", Verdict.RIGHT),
        (SHORT, "\u201cThe garden of a monastery\u201d", Verdict.RIGHT),
        (SHORT, "Vienna", Verdict.WRONG),
        (CHOICE, "2", Verdict.RIGHT),
        (CHOICE, "1856", Verdict.RIGHT),
        (CHOICE, "1", Verdict.WRONG),
        (CHOICE, "9", Verdict.WRONG),
        (CHOICE, "9" * 5000, Verdict.WRONG),
        (CHOICE, "1857", Verdict.WRONG),
        (ORDER, "3 1 2", Verdict.RIGHT),
        (ORDER, "312", Verdict.RIGHT),
        (ORDER, "3, 1, 2", Verdict.RIGHT),
        (ORDER, "1 2 3", Verdict.WRONG),
    ],
)
def test_an_answer_is_judged_by_its_form(card, answer, verdict):
    """Case, marks and articles do not count; one wrong letter is close."""
    assert check_answer(card, answer, None).verdict is verdict


def test_the_model_makes_an_answer_close_and_never_right(tmp_path):
    """It is asked with the source, and only about typed answers that their form does not decide."""
    asked = []

    def answer(request):
        asked.append(all_messages(request))
        says_so = "behind a monastery" in asked[-1]
        return {"yes": -0.1 if says_so else -3.0, "no": -3.0 if says_so else -0.1}

    judge = make_judge(ScriptedBackend(answer), PromptLibrary(tmp_path), GenerationOptions())
    near = check_answer(SHORT, "behind a monastery", judge)
    far = check_answer(SHORT, "in a wood", judge)
    assert near.verdict is Verdict.CLOSE and near.probability > 0.5
    assert far.verdict is Verdict.WRONG and far.probability < near.probability
    count = len(asked)
    assert check_answer(SHORT, "the garden of a monastery", judge).probability is None
    assert check_answer(CHOICE, "1543", judge).probability is None and len(asked) == count


def test_an_explanation_keeps_sentences_about_the_source(tmp_path):
    """Small models praise the answer; what is left may be nothing."""
    quote = {"text": "Earthworms draw dead leaves into the soil.", "source": "a.txt", "start": 0, "end": 40}
    card = Card(CardKind.CLOZE, "E____ draw dead leaves into the soil.", "Earthworms", quote=quote)
    praise = "This is a logical and coherent answer that follows the instructions."
    for said, kept in ((f"Earthworms draw leaves down. {praise}", "Earthworms draw leaves down."), (praise, "")):
        backend = ScriptedBackend(lambda _, said=said: said)
        assert explain(backend, PromptLibrary(tmp_path), card, GenerationOptions()) == kept
