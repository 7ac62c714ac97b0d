"""The form of written summaries: what is mended, what is wrong, and what is asked for again."""

from __future__ import annotations

import pytest
from scripted import Reply, ScriptedBackend, last_message
from tasks.helpers import of, result, streamed

from llmcli.documents.reading.document import Document
from llmcli.errors import RequestRejected
from llmcli.errors.incomplete_results import AnswerTruncated
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.summarize import summarize
from llmcli.tasks.summarize.summary_form import clean_summary, find_form_problem, form_grammar
from llmcli.tasks.summarize.summary_options import SummaryOptions
from llmcli.types import Delta, FinishReason

TEXT = "The roof leaks badly. We repair it on Monday."
LIST = "- The roof leaks.\n- We repair it on Monday."
MINUTES = "Topics\n- The roof leaks.\n\nTasks\n- Ann repairs it until Monday."


@pytest.mark.parametrize(
    ("style", "answer", "cleaned"),
    [
        ("bullets", LIST, LIST),
        ("bullets", f"```markdown\n{LIST}\n```", LIST),
        ("bullets", f'"""\n{LIST}\n"""', LIST),
        ("bullets", f"Here is the summary:\n\n{LIST}", LIST),
        ("bullets", f"The text is about a roof that has to be repaired:\n{LIST}", LIST),
        ("bullets", f"## Main points\n\n{LIST}\n\n**Conclusion**", LIST),
        ("bullets", LIST.replace("\n", "\n\n\n"), LIST),
        ("bullets", f"- \n{LIST}\n-", LIST),
        ("bullets", "1. One word\n   and more.\n2) Two.\n  * Three", "1. One word\n   and more.\n2) Two.\n  * Three"),
        ("bullets", "\u2022 One\n-two", "\u2022 One\n-two"),
        ("headline", '"The roof leaks"', "The roof leaks"),
        ("headline", "**The roof leaks**\n", "The roof leaks"),
        ("headline", "# Headline: The roof leaks", "The roof leaks"),
        ("headline", "Here is a headline:\n\n\u201cThe roof leaks\u201d", "The roof leaks"),
        ("headline", "Summary judgment in one case: the roof", "Summary judgment in one case: the roof"),
        ("headline", 'The "roof" and the "rain"', 'The "roof" and the "rain"'),
        ("minutes", MINUTES, MINUTES),
        ("minutes", f"Here are the minutes:\n{MINUTES}\n\nDecisions\n", MINUTES),
        ("minutes", "## Topics\n\n- One\n\n**Tasks:**\n- Two", "## Topics\n- One\n\n**Tasks:**\n- Two"),
        ("paragraph", "Sure, here you go:\n\nThe roof leaks.\n\n## More", "The roof leaks."),
        ("paragraph", "The roof leaks: it is old.", "The roof leaks: it is old."),
    ],
)
def test_what_stands_around_a_summary_is_taken_away(style, answer, cleaned):
    """What remains has the form, and cleaning it again changes nothing."""
    assert clean_summary(answer, style) == cleaned == clean_summary(cleaned, style)
    assert find_form_problem(cleaned, style) == ""


@pytest.mark.parametrize(
    ("style", "answer", "problem"),
    [
        *((style, mark, "has no words") for style in ("bullets", "headline", "minutes", "paragraph") for mark in ("::", '"""', "```\n```")),
        ("bullets", "- 1\n- 2", "is no list"),
        ("bullets", TEXT, "is no list"),
        ("bullets", f"{LIST}\n\nIn short, the roof is old.", "has text outside of its list: In short, the roof is old."),
        ("headline", TEXT.replace(". ", ".\n"), "is no headline: it has 2 lines"),
        ("headline", "This text is about a roof. " * 6, "is no headline: it has 36 words"),
        ("minutes", LIST, "has no sections: headings with list items below them"),
        ("minutes", TEXT, "has no sections: headings with list items below them"),
        ("minutes", f"Roof\n{LIST}", "has a section that is none of topics, decisions and tasks: roof"),
        ("minutes", f"{MINUTES}\n\nAll of this was said on Sunday in a long meeting of the club.",
         "has text outside of its sections: All of this was said on ..."),
    ],
)  # fmt: skip
def test_other_answers_have_the_wrong_form(style, answer, problem):
    """The problem says how, as the end of "the summary ..."."""
    assert find_form_problem(clean_summary(answer, style), style) == problem


def test_minutes_in_other_languages_have_other_headings():
    """Whether these are the right ones cannot be said."""
    german = "Themen\n- Das Dach der Werkstatt ist undicht und wird am Montag repariert.\n\nAufgaben\n- Anna bestellt Ziegel."
    assert find_form_problem(german, "minutes") == ""


@pytest.fixture
def builtin(tmp_path):
    """Return the built-in prompt files."""
    return PromptLibrary(tmp_path)


def run(prompts, first, second, style="bullets", words=None, **options):
    """Summarize where the second answer is that to the request for a better one."""
    backend = ScriptedBackend(lambda request: second if request.id.endswith(".length") else first)
    how = SummaryOptions(words, style)
    return list(summarize(backend, prompts, [Document("d", TEXT)], GenerationOptions(**options), how)), backend


@pytest.mark.parametrize(
    ("first", "second", "delivered", "right"),
    [
        ("::", LIST, LIST, True),
        (TEXT, f"```\n{LIST}\n```", LIST, True),
        ("::", TEXT, "::", False),  # both are wrong
        (TEXT, "", TEXT, False),
        (TEXT, Reply(error=RequestRejected("m")), TEXT, False),
        (f"Here is the summary:\n{LIST}", "::", LIST, True),  # nothing is asked again
    ],
)
def test_a_summary_in_the_wrong_form_is_written_once_more(builtin, first, second, delivered, right):
    """The better one is shown as a whole; one that is still wrong is incomplete."""
    events, backend = run(builtin, first, second)
    found = result(events)
    assert found.text == delivered == streamed(events) and len(of(Delta, events)) == 1
    assert found.cut is not right
    assert right or (found.incomplete.type_name == "WrongSummaryForm" and found.incomplete.exit_code == 3)
    assert len(backend.requests) == (1 if LIST in str(first) else 2)
    if first == TEXT:
        said = last_message(backend.requests[1])
        assert said.startswith(
            'That summary is no list. Write it again as a list, each point on a line that starts with "- "'
        )


@pytest.mark.parametrize(
    ("style", "draft", "right", "wrong"),
    [
        ("bullets", TEXT, "- One two.\n- Three", TEXT),
        ("bullets", TEXT, "- \u00fcber", "- 12\n- 13"),
        ("headline", "One.\nTwo.", "A line", "One.\nTwo."),
        ("minutes", TEXT, "## Topics\n- The pump\n\n## Tasks\n- Anna oils it", "- The pump"),
    ],
)
def test_a_second_summary_can_only_have_the_form(style, draft, right, wrong):
    """The grammar of the rewrite admits texts of the form and no others."""
    grammar = form_grammar(draft, style)
    assert admits(grammar, right) and not admits(grammar, wrong)
    assert find_form_problem(right, style) == "" != find_form_problem(wrong, style)


def test_a_second_headline_is_one_sentence():
    """It ends with its first sentence, where an abbreviation is no end; one that does not end by itself is seen."""
    grammar = form_grammar(TEXT, "headline")
    assert admits(grammar, "The roof of Dr. Ann leaks.") and not admits(grammar, TEXT)
    endless = " ".join(["word"] * 31)
    assert admits(grammar, endless) and find_form_problem(endless, "headline") == "is no headline: it has 31 words"


def admits(grammar, text):
    """Whether a text is one of a grammar."""
    llguidance = pytest.importorskip("llguidance")
    matcher = llguidance.LLMatcher(llguidance.LLTokenizer("byte"), llguidance.grammar_from("lark", grammar))
    data = list(text.encode())
    return matcher.try_consume_tokens(data) == len(data) and matcher.is_accepting()


def test_a_complete_summary_takes_the_place_of_a_cut_one(builtin):
    """Both have the wrong form; one of them ended by itself."""
    endless = " ".join(["word"] * 31)
    events, _ = run(builtin, Reply("One.\nTwo.", reason=FinishReason.LENGTH), endless, style="headline")
    assert result(events).text == endless and result(events).incomplete.type_name == "WrongSummaryForm"


def test_there_is_no_grammar_for_other_forms():
    """A paragraph has none; the headings of minutes in another language are not known."""
    german = "Die Pumpe lief gestern den ganzen Tag, und danach wurde sie von Anna wieder sorgf\u00e4ltig ge\u00f6lt."
    assert form_grammar(TEXT, "paragraph") is None and form_grammar(german, "minutes") is None


def test_only_a_wrong_form_is_constrained(builtin):
    """A list that is too short is asked for in words."""
    _, backend = run(builtin, TEXT, LIST)
    assert [each.grammar is None for each in backend.requests] == [True, False]
    _, backend = run(builtin, "- word\n", LIST, words=60)
    assert [each.grammar is None for each in backend.requests] == [True, True]


def test_form_and_length_have_one_rewrite(builtin):
    """The right form counts more than the length."""
    events, backend = run(builtin, "word " * 60, "- word\n" * 9, words=60)
    assert len(backend.requests) == 2
    assert result(events).text == "\n".join(["- word"] * 9) and not result(events).cut
    events, backend = run(builtin, "word " * 10, "- word\n" * 60, words=60)
    said = last_message(backend.requests[1])
    assert "is no list. That summary has 10 words." in said and "about 60 words" in said
    assert not result(events).cut and result(events).warnings == ()


def test_a_paragraph_comes_while_it_is_written(builtin):
    """It has no form that could be asked for again; without a word it is incomplete."""
    events, _ = run(builtin, TEXT, "", style="paragraph")
    assert len(of(Delta, events)) > 1 and streamed(events) == result(events).text
    events, backend = run(builtin, "::", "", style="paragraph")
    assert result(events).incomplete.type_name == "WrongSummaryForm" and len(backend.requests) == 1


def test_a_cut_summary_is_not_written_again(builtin):
    """The limit is the reason, unless a model in the wrong form goes on to its end."""
    events, backend = run(builtin, Reply(LIST, reason=FinishReason.LENGTH), LIST)
    assert len(backend.requests) == 1 and isinstance(result(events).incomplete, AnswerTruncated)
    events, backend = run(builtin, Reply(TEXT, reason=FinishReason.LENGTH), LIST)
    assert len(backend.requests) == 2 and result(events).text == LIST and not result(events).cut
    events, backend = run(builtin, Reply(TEXT, reason=FinishReason.LENGTH), Reply(LIST, reason=FinishReason.LENGTH))
    assert result(events).text == TEXT and isinstance(result(events).incomplete, AnswerTruncated)
    events, backend = run(builtin, Reply(f"{TEXT} " * 200, reason=FinishReason.LENGTH), LIST)
    assert len(backend.requests[1].messages[-2].content) == 400 and result(events).text == LIST


QUESTION = "What is this text about?\n"
SAID_AGAIN = "The summary is no list.\n"
REPEATED = "That summary repeats the words of the request. Write it again as a list"


@pytest.mark.parametrize(
    ("first", "second", "delivered"),
    [
        (TEXT, f"{SAID_AGAIN}{LIST}", LIST),
        (TEXT, f"- {SAID_AGAIN}{LIST}\n- Answer with the summary alone.", LIST),
        (f"{QUESTION}{LIST}", "- The roof has to be repaired.", "- The roof has to be repaired."),
        (f"- {QUESTION}{LIST}", TEXT, LIST),  # what is left is a list
        (f"- {QUESTION}{LIST}", "", LIST),
        (f"- {QUESTION}{LIST}", Reply(error=RequestRejected("m")), LIST),
        (QUESTION, LIST, LIST),
    ],
)
def test_a_summary_does_not_repeat_its_request(builtin, first, second, delivered):
    """Neither the question nor the correction; a first answer that does is asked for again."""
    events, backend = run(builtin, first, second)
    assert result(events).text == delivered == streamed(events) and not result(events).cut
    assert len(backend.requests) == 2
    assert last_message(backend.requests[1]).startswith(REPEATED) is (first != TEXT)


@pytest.mark.parametrize("style", ["bullets", "headline", "minutes"])
@pytest.mark.parametrize("second", [QUESTION, "- The summary repeats the words of the request.", "Write it again:"])
def test_a_summary_that_only_repeats_its_request_is_incomplete(builtin, style, second):
    """Nothing of it is shown."""
    first = "Answer with a headline, in one line.\nList its main points, at most 5:\nWrite minutes of what this text reports"
    first = {"headline": first.splitlines()[0], "bullets": first.splitlines()[1]}.get(style, first.splitlines()[2])
    events, _ = run(builtin, first, second, style=style)
    found = result(events)
    assert found.text == "" and found.incomplete.type_name == "WrongSummaryForm" and found.incomplete.exit_code == 3
    assert found.incomplete.detail == "repeats the words of the request"


def test_a_paragraph_that_repeats_its_request_later_is_incomplete(builtin):
    """It has been shown; one of a wanted length is written again."""
    events, backend = run(builtin, f"{TEXT}\n{QUESTION}", TEXT, style="paragraph")
    assert result(events).incomplete.exit_code == 3 and len(backend.requests) == 1
    assert result(events).text == streamed(events)
    events, backend = run(builtin, f"{QUESTION}{TEXT}", TEXT, style="paragraph", words=9)
    assert result(events).text == TEXT and not result(events).cut and len(backend.requests) == 2


@pytest.mark.parametrize("echo", [QUESTION, f"{QUESTION}\n", QUESTION.replace("\n", " "), 2 * QUESTION])
def test_a_paragraph_does_not_begin_with_its_request(builtin, echo):
    """Its first sentence is held back until it is complete; one that repeats the request is not shown."""
    events, backend = run(builtin, f"{echo}{TEXT}", "", style="paragraph")
    found = result(events)
    assert found.text == TEXT == streamed(events) and not found.cut and len(backend.requests) == 1
    events, _ = run(builtin, TEXT, "", style="paragraph")
    assert len([event for event in events if isinstance(event, Delta)]) > 1, "it is shown while it is written"


def test_a_paragraph_that_only_repeats_its_request_is_written_again(builtin):
    """Nothing of it was shown, so the second answer may take its place."""
    events, backend = run(builtin, QUESTION, f"{QUESTION}{TEXT}", style="paragraph")
    assert result(events).text == TEXT == streamed(events) and not result(events).cut
    assert "repeats the words of the request" in last_message(backend.requests[1])
    events, backend = run(builtin, QUESTION, QUESTION, style="paragraph")
    assert result(events).text == streamed(events) == "" and result(events).incomplete.exit_code == 3


@pytest.mark.parametrize(
    "wanted",
    [
        SummaryOptions(None, "headline", focus="the roof of the old library leaks"),
        SummaryOptions(None, "headline", audience="the roof of the old library leaks"),
    ],
)
def test_a_wish_of_the_user_is_not_what_a_summary_repeats(builtin, wanted):
    """The summary may have its words."""
    headline = "The roof of the old library leaks"
    backend = ScriptedBackend(lambda _: headline)
    events = list(summarize(backend, builtin, [Document("d", TEXT)], GenerationOptions(), wanted))
    assert result(events).text == headline and len(backend.requests) == 1


def test_what_the_correction_quotes_of_the_draft_may_be_in_the_summary(builtin):
    """A sentence outside of the list becomes an item."""
    outside = "The roof of the old library leaks."
    events, backend = run(builtin, f"{LIST}\n{outside}", f"- {outside}\n{LIST}")
    assert "The roof of the old library" in last_message(backend.requests[1])
    assert result(events).text == f"- {outside}\n{LIST}"


def test_what_the_document_asks_may_be_in_the_summary(builtin):
    """A sentence of the document is no repetition."""
    backend = ScriptedBackend(lambda _: f"- {QUESTION}{LIST}")
    documents = [Document("d", f"Lesson 1. What is this text about? {TEXT}")]
    events = list(summarize(backend, builtin, documents, GenerationOptions(), SummaryOptions(None, "bullets")))
    assert result(events).text == f"- {QUESTION}{LIST}" and len(backend.requests) == 1
