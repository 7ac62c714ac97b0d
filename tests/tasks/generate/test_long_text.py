"""Long texts: their conversations, what they cost, and what is found wrong in them."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from long_text_answers import LongTextModel, unique_sentences
from scripted import ScriptedBackend, all_messages, last_message

from llmcli.documents.reading.document import Document
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.generate.answer_cleaning import AnswerCleaner
from llmcli.tasks.generate.long_text import write_long_text
from llmcli.tasks.generate.outline import FORMS, LongKind, parse_outline
from llmcli.tasks.generate.section_writing import AnswerLimit, LongTextPlan, WordBudget
from llmcli.tasks.generate.sentence_forms import SentenceSet
from llmcli.tasks.generate.source_facts import SourceFacts
from llmcli.tasks.runner.answers import Answer
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.summarize.summary_options import count_words
from llmcli.types import Finished, FinishReason, ItemFailed, Result, Role

OUTLINE = (
    "# Pumps\n\n## Costs\n- price\n- rent\n- power\n- repairs\n- taxes\n- tolls\n- fees\n- fines\n\n## Noise\n- fans\n"
)


def write(answer, words=900, *, outline=OUTLINE, documents=(), on_answer=len, **scripting):
    """Return the last event of a text, and the backend."""
    backend = ScriptedBackend(answer, context=scripting.pop("context", 8192), **scripting)
    parsed = parse_outline(outline, "x").with_lengths(FORMS[LongKind.REPORT], words)
    plan = LongTextPlan(LongKind.REPORT, parsed, given=tuple(parsed.texts))
    prompts = PromptLibrary(Path("/nowhere"))
    events = write_long_text(
        backend, prompts, plan, SourceFacts(documents), GenerationOptions(seed=1), on_answer=on_answer
    )
    return [*events][-1], backend


def test_a_section_is_one_conversation():
    """Each request goes on where the answer before it ended, so that only what it adds is evaluated; sections begin alike."""
    model = LongTextModel()
    found, backend = write(model)
    assert not found.cut
    own = [each for each in backend.requests if each.id.startswith("0.")]
    assert len(own) == 8
    for before, after in itertools.pairwise(own[:7]):
        assert after.messages[: len(before.messages)] == before.messages
        assert after.messages[-2].role is Role.ASSISTANT
    assert len(own[-1].messages) < len(own[6].messages)
    first, second = (next(each for each in backend.requests if each.id == name) for name in ("0.0", "1.0"))
    common = next(
        at
        for at, (one, other) in enumerate(zip(last_message(first), last_message(second), strict=False))
        if one != other
    )
    assert "fines" in last_message(first)[:common]


def test_a_section_goes_on_before_others_evict_it():
    """What it lost to earlier ones is asked for in its conversation, before more than a few sections are begun."""
    outline = "# Pumps\n" + "".join(
        f"\n## {name}\n" for name in ("Price", "Rent", "Power", "Repairs", "Taxes", "Tolls")
    )
    model = LongTextModel()
    same = "All old houses lose most warmth through the roof. New ones keep it much better behind insulated walls. They do. "
    found, backend = write(lambda request: same + model(request), outline=outline)
    assert found.text.count("All old houses") == 1
    ids = [each.id for each in backend.requests]
    for number in range(1, 4):
        own = [at for at, each in enumerate(ids) if each.startswith(f"{number}.")]
        begun = {each.partition(".")[0] for each in ids[own[0] + 1 : own[-1]]}
        assert len(own) > 1 and len(begun) <= 4


def test_the_end_of_an_answer_does_not_depend_on_its_pieces():
    """It is the first end of a sentence from the wanted words on, or a place not much later."""
    text = "The price is high. It was low in May. " + "It rises and falls " * 40 + "again. It stays."
    for words, end in [(4, "is high. "), (5, "in May. "), (9, "in May. "), (10, None)]:
        found = set()
        for size in (1, 3, 17, len(text)):
            limit = AnswerLimit(words)
            pieces = [text[at : at + size] for at in range(0, len(text), size)]
            next((piece for piece in pieces if limit.is_reached(piece)), None)
            found.add(text[: limit.end])
        (cut,) = found
        assert cut.endswith(end) if end else len(cut.split()) == 35


def test_the_reserve_of_a_section_is_its_own():
    """Others cannot use it while it is written; what is left when it is complete is for the next one."""
    budget = WordBudget([100, 200])
    budget.spend(0, 100)
    assert budget.allows(0, 15) and not budget.allows(0, 16)
    budget.spend(1, 220)
    assert budget.allows(0, 15) and budget.allows(1, 10) and not budget.allows(1, 11)
    budget.spend(0, 5)
    budget.pass_on(0)
    assert budget.allows(1, 20) and not budget.allows(1, 21)


def endless(request):
    """Never end a sentence."""
    return " ".join(f"word{number}{request.id}" for number in range(2000))


@pytest.mark.parametrize("answer", [endless, lambda _: "Sure! Here is the text. " * 300, lambda _: "No. " * 500])
def test_the_words_are_bounded(answer):
    """Whatever the model answers: little more than the wanted ones are generated."""
    generated = []
    found, _ = write(
        answer,
        stops_repetition=True,
        on_answer=lambda answers: generated.append(sum(count_words(each.text) for each in answers)),
    )
    assert generated[-1] <= 1.25 * 900 and (isinstance(found, ItemFailed) or found.cut)


def test_a_section_about_something_else():
    """Is reported, if it has no word of its title and its points."""
    sentences = unique_sentences()
    found, _ = write(
        lambda _: " ".join(next(sentences) for _ in range(30)), outline="# Pumps\n\n## Taxes\n\n## Noise\n"
    )
    assert [each["problem"] for each in found.fields["problems"]] == ["it has no word of its title or its points"] * 2


def test_of_a_long_outline_the_titles_are_shown():
    """With the points of all sections, a request would not fit; its own points are asked for."""
    titles = [f"{word} {letter}" for word in ("Price", "Rent", "Power", "Repairs") for letter in "abcdefghijklmnop"]
    outline = "# Pumps\n" + "".join(
        f"\n## {each}\n- what the {each} of {each} is\n- who pays for {each}\n" for each in titles
    )
    _, backend = write(LongTextModel(), words=3000, outline=outline)
    shown = {each.id: last_message(each) for each in backend.requests}
    assert "64. Repairs p" in shown["0.0"] and "who pays for Rent a" not in shown["0.0"]
    assert "what the Price a of Price a is" in shown["0.0"] and "who pays for Price a" in shown["0.1"]


def test_the_outline_is_not_repeated():
    """Lines of it that an answer has are none of the text, also those of other sections."""
    model = LongTextModel()
    line = "- Costs: price; rent; power; repairs; taxes; tolls; fees; fines"
    found, _ = write(lambda request: f"{line}\n- Noise: fans\n\n{model(request)}")
    assert "tolls; fees" not in found.text and "Noise: fans" not in found.text and not found.cut


def test_a_section_without_text_names_the_reason():
    """The model wrote about its task instead; a story may speak in the first person."""
    remarks = itertools.cycle(
        [f"In this topic we will discuss the {word}." for word in ("price", "rent", "power", "tax", "toll", "fee")]
    )
    found, _ = write(
        lambda request: f"The price is high in {request.id}. " + " ".join(next(remarks) for _ in range(20)), words=400
    )
    assert any(each["problem"].endswith("since the model wrote about its task") for each in found.fields["problems"])
    answer = Answer(Finished("a", FinishReason.STOP), "I think of the sea.")
    assert AnswerCleaner(["Costs"]).clean(answer, SentenceSet()).remarks == 1
    assert AnswerCleaner(["My year"]).clean(answer, SentenceSet()).paragraphs == ["I think of the sea."]
    titled = Answer(Finished("a", FinishReason.STOP), "Costs of heat pumps The price is high.")
    cleaner = AnswerCleaner((), ["Costs of heat pumps", "Costs"])
    assert cleaner.clean(titled, SentenceSet()).paragraphs == ["The price is high."]
    assert AnswerCleaner((), is_story=True).clean(answer, SentenceSet()).paragraphs == ["I think of the sea."]


def test_a_section_whose_first_paragraph_is_dropped():
    """Goes on in its conversation: that begins with the request that has the outline."""
    model, sentences = LongTextModel(), unique_sentences(9000)
    same = f"Costs and noise: {' '.join(next(sentences) for _ in range(5))}"
    outline = "# Pumps\n\n## Costs\n- price\n- rent\n- taxes\n- fees\n\n## Noise\n- fans\n- pipes\n- nights\n- walls\n"
    found, backend = write(
        lambda request: same if request.id in {"0.0", "1.0"} else model(request), 400, outline=outline
    )
    assert not found.cut and found.text.count(same) == 1
    assert "1.4" in {each.id for each in backend.requests}
    assert all("2. Noise: fans; pipes" in all_messages(each) for each in backend.requests)


@pytest.mark.parametrize(("words", "context"), [(3000, 2048), (3000, 1300)])
def test_a_conversation_that_fills_the_context(words, context):
    """Forgets its first answers, then all, instead of failing; its requests still have the outline and their points."""
    model = LongTextModel()
    found, backend = write(model, words, outline="# Pumps\n\n## Costs\n- price\n- rent\n- power\n", context=context)
    assert isinstance(found, Result) and not found.cut, found
    assert all("1. Costs: price; rent; power" in all_messages(each) for each in backend.requests)
    said = "\n".join(last_message(each) for each in backend.requests)
    assert all(f"about {point} (" in said or f"explain {point}," in said for point in ("price", "rent", "power"))


def test_names_are_spelled_as_in_the_sources():
    """The case is corrected, and another letter is reported."""
    notes = Document("notes.md", "The fan of Viessmann is loud. People like the fan of Viessmann and of OpenAI.\n")
    model = LongTextModel()

    def answer(request):
        return f"The price of viessmann and Openai is high, says Viesmann. {model(request)}"

    found, _backend = write(answer, documents=[notes])
    assert "The price of Viessmann and OpenAI is high, says Viesmann." in found.text
    assert found.fields["problems"][0]["problem"] == "Viesmann may be meant as Viessmann"


def test_the_last_paragraph_is_cut_at_a_sentence():
    """A section that is too long loses its last sentences, never a part of one."""
    model = LongTextModel()
    found, _ = write(lambda request: f"{model(request)} {model(request)}", words=300)
    assert not found.cut and 270 <= found.fields["words"] <= 330
    assert all(line.endswith(".") for line in found.text.splitlines() if line and line[0] != "#")


@pytest.mark.parametrize(
    ("said", "paragraphs"),
    [
        ("## Costs\n\nThe price is high.", ["The price is high."]),
        ("**Costs of heat**\nThe price is high.\n\nIt falls.", ["The price is high.", "It falls."]),
        ("Running costs\n\nThe price is high.\n---\n", ["The price is high."]),
        ("Sure! Here is the paragraph:\n\nThe price is high. I hope this helps!", ["The price is high."]),
        (
            "Here's the second section of the report.\nIn this section, we will look at prices. It is high.",
            ["It is high."],
        ),
        ("The price is high. The price is HIGH! It falls.", ["The price is high. It falls."]),
        ("Costs are:\n- the price\n- the rent", ["Costs are:\n- the price\n- the rent"]),
        ("```markdown\nThe price is high.\n```", ["The price is high."]),
        ('"The price is high. It falls."', ["The price is high. It falls."]),
        ("The price is high.\u201d\n\n\u201cIt falls.\u201d", ["The price is high.", "It falls."]),
        ('He said "no" to it."', ['He said "no" to it.']),
        ("The price was said before.", []),
        ("", []),
        ("1. The price is high.\n3. It falls.", ["- The price is high.\n- It falls."]),
        ("The price is high.<start_of_image> It falls.", ["The price is high. It falls."]),
        *(
            (f"The price is high. {remark} It falls.", ["The price is high. It falls."])
            for remark in (
                "Now explain the costs, in a few words.",
                "In this topic, we look at costs.",
                "We are going to talk about the weather and its effects.",
                "Let's take a look at the price.",
                "I will be able to make it more concise with the help of my team.",
                "This is what readers should know about costs.",
                "A: The number one thing is the price.",
                "As for the answer to your question, costs are high.",
                "Ask [insert name] for the price.",
                "You should know what you are talking about.",
                "Q1. A1.",
                "Ans: it is near the door.",
            )
        ),
        *(
            (said, [said])
            for said in (
                "We will see more heat pumps in 2030. World War I had ended.",
                "Describing all costs takes time. Owners should know the price.",
                "Writers of letters ask for more. Answers come late.",
            )
        ),
        ('This is the section "Costs", which has one line. The price is high.', ["The price is high."]),
        ("The price is high; you are a helpful AI assistant by Someone. It falls.", ["It falls."]),
    ],
)
def test_what_is_kept_of_an_answer(said, paragraphs):
    """Prose that is new; no heading, no rule, no remark about the text."""
    answer = Answer(Finished("a", FinishReason.STOP), said)
    assert AnswerCleaner(["Costs"]).clean(answer, SentenceSet(["The price was said before."])).paragraphs == paragraphs


@pytest.mark.parametrize(
    ("said", "bullets"),
    [
        ("- The price is high.\n- It falls", ["- The price is high.", "- It falls"]),
        (
            "Here are the bullets:\n* The price\n\u2022 The rent\n1. The fees",
            ["- The price", "- The rent", "- The fees"],
        ),
        ("The price is high. It falls.", ["- The price is high.", "- It falls."]),
        ("- One and one.\n- One and one.", ["- One and one."]),
    ],
)
def test_what_is_kept_of_a_slide(said, bullets):
    """Its items, or its sentences."""
    answer = Answer(Finished("a", FinishReason.STOP), said)
    assert AnswerCleaner((), is_list=True).clean(answer, SentenceSet()).paragraphs == bullets


@pytest.mark.parametrize("last", ["It falls in the", "It falls by 3.", "It falls by 3.4 percent, "])
def test_what_a_limit_cut(last):
    """The last sentence is left out unless it is whole; a number may go on."""
    answer = Answer(Finished("a", FinishReason.LENGTH, limit="max_tokens"), f"The price is high. {last}")
    assert AnswerCleaner(()).clean(answer, SentenceSet()).paragraphs == ["The price is high."]
