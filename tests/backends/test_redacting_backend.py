"""A backend behind which no private value arrives, and whose answers have them again."""

from __future__ import annotations

import pytest
from scripted import Reply, ScriptedBackend, last_message

from llmcli.backends.base import run_requests
from llmcli.backends.redacting_backend import RedactingBackend
from llmcli.errors import RequestRejected, TemporaryFailure
from llmcli.redaction.redactor import Redactor
from llmcli.redaction.request_redaction import NOTE, Restorer, redact_request
from llmcli.types import (
    CandidateScores,
    Finished,
    FinishReason,
    Message,
    ReasoningDelta,
    Request,
    RequestProgress,
    Role,
    TextDelta,
    ToolCall,
)

MAIL, CARD = "jane@example.org", "4111 1111 1111 1111"


def user(text, **more):
    return Request("r", (Message(Role.USER, text),), **more)


def run(backend, *requests):
    """Return the text of the answers and the last event."""
    events = list(run_requests(backend, requests))
    return "".join(event.text for event in events if isinstance(event, TextDelta)), events[-1]


def redacting(answer=last_message, **scripting):
    scripted = ScriptedBackend(answer, **scripting)
    return RedactingBackend(scripted, Redactor()), scripted


def test_each_text_of_a_request_is_redacted():
    """System prompt, history, calls of tools, tools, schema, labels and candidates."""
    messages = (
        Message(Role.SYSTEM, f"Write to {MAIL}"),
        Message(Role.ASSISTANT, f"{CARD}", (ToolCall("1", "pay", {"card": CARD, "more": [{MAIL: 1}]}),)),
        Message(Role.TOOL, MAIL, tool_call_id="1"),
        Message(Role.USER, "hi"),
    )
    tools = ({"type": "function", "function": {"name": "pay", "description": f"as {MAIL} says"}},)
    schema = {"type": "object", "properties": {MAIL: {"enum": [CARD], "pattern": "^a+$"}}, "required": [MAIL]}
    request = Request(
        "r",
        messages,
        (MAIL, "no"),
        labels=(CARD, "no"),
        schema=schema,
        tools=tools,
        prompt=f"to {MAIL}",
        stop=(MAIL, "###"),
    )
    redacted = redact_request(Redactor(), request)
    said = repr(redacted.request)
    assert "jane" not in said and "4111" not in said and "^a+$" in said and "'pay'" in said
    assert redacted.request.messages[0].content == f"Write to PII_EMAIL_1\n\n{NOTE}"
    assert redacted.request.candidates == ("PII_EMAIL_1", "no") and redacted.request.stop == ("###",)
    assert redacted.request.schema["required"] == ["PII_EMAIL_1"] == list(redacted.request.schema["properties"])


def test_a_request_without_private_values_is_sent_as_it_is():
    """Nothing is added to it."""
    request = Request("r", (Message(Role.SYSTEM, "You are kind."), Message(Role.USER, "hi")), stop=("a",))
    assert redact_request(Redactor(), request).request == request


def test_an_answer_has_the_values_again():
    """As they were; the text comes in pieces."""
    backend, scripted = redacting()
    text, finished = run(backend, user(f"pay {CARD} for {MAIL}!"))
    assert text == f"pay {CARD} for {MAIL}!" and finished.unrestored == ()
    assert scripted.requests[0].messages[0].content == "pay PII_CARD_1 for PII_EMAIL_2!"


def test_counting_sends_no_value_either():
    """Our own servers count prompts."""
    seen = []
    backend, _ = redacting(tokens=lambda text: seen.append(text) or 1)
    backend.count([user(MAIL)])
    assert seen == ["PII_EMAIL_1"]


def test_reasoning_is_restored_too():
    """It is shown to the same person."""
    backend, _ = redacting(lambda request: Reply("yes", reasoning=f"about {last_message(request)} !"))
    events = list(run_requests(backend, [user(MAIL, reasoning=True)]))
    assert "".join(event.text for event in events[:-2]).strip() == f"about {MAIL} !"


def test_scores_are_those_of_the_candidates():
    """By their own texts."""
    backend, scripted = redacting(lambda request: {name: -float(len(name)) for name in request.candidates})
    events = list(run_requests(backend, [user("who?", candidates=(MAIL, "nobody"))]))
    (scores,) = [event for event in events if isinstance(event, CandidateScores)]
    assert [score.candidate for score in scores.scores] == [MAIL, "nobody"]
    assert scripted.requests[0].candidates == ("PII_EMAIL_1", "nobody")


def test_a_label_and_json_come_back_as_they_were():
    """In JSON a value is escaped where it has to be."""
    backend, _ = redacting(lambda request: request.labels[0])
    assert run(backend, user("which?", labels=(MAIL, "no")))[0] == MAIL
    secret = 'secret: `x"y1z`'
    backend, _ = redacting(lambda request: f'{{"a": "{last_message(request)}"}}')
    assert run(backend, user(secret, schema={"type": "object"}))[0] == '{"a": "secret: `x\\"y1z`"}'


@pytest.mark.parametrize("how", [{}, {"gathered": True}, {"schema": {"type": "object"}}, {"labels": ("PII", "no")}])
def test_a_damaged_answer_is_asked_for_again(how):
    """Once; nothing of it was shown before. Its usage is that of both."""
    answers = iter(["to PII_EMAIL_7", "to PII_EMAIL_1"])
    backend, scripted = redacting(lambda _: next(answers))
    text, finished = run(backend, user(MAIL, **how))
    assert text == f"to {MAIL}" and finished.unrestored == () and finished.id == "r"
    assert len(scripted.requests) == 2 and finished.usage.completion_tokens == 4
    assert scripted.requests[1].sampling.temperature > 0


def test_an_answer_with_placeholders_is_shown_when_they_are_checked():
    """In one piece after its end; progress and reasoning come at once. Without placeholders an answer is streamed."""
    backend, _ = redacting(lambda request: Reply(f"so {last_message(request)} it is", reasoning="let me see"))
    kinds = [type(event) for event in run_requests(backend, [user(MAIL, progress=True, reasoning=True)])]
    assert kinds.count(TextDelta) == 1 and kinds[-2:] == [TextDelta, Finished]
    assert kinds.count(RequestProgress) > 2 and kinds.count(ReasoningDelta) > 1
    kinds = [type(event) for event in run_requests(backend, [user("nothing private")])]
    assert kinds.count(TextDelta) > 2


@pytest.mark.parametrize("reason", [FinishReason.ERROR, FinishReason.TIMEOUT, FinishReason.CANCELLED])
def test_an_answer_that_failed_is_not_asked_for_again(reason):
    """Its text so far is delivered, and the damage reported."""
    error = TemporaryFailure("there") if reason is FinishReason.ERROR else None
    backend, scripted = redacting(lambda _: Reply("to PII_EMAIL_7 and", reason=reason, error=error))
    text, finished = run(backend, user(MAIL))
    assert text == "to PII_EMAIL_7 and" and finished.reason is reason and len(scripted.requests) == 1
    assert finished.unrestored == ("PII_EMAIL_7",)


def test_an_error_names_the_labels_and_not_their_placeholders():
    """The user wrote the labels; the server got only placeholders."""
    error = RequestRejected("there", detail="none of its answers is one of PII_EMAIL_1, no")
    backend, scripted = redacting(lambda _: Reply("", reason=FinishReason.ERROR, error=error))
    _, finished = run(backend, user("who?", candidates=(MAIL, "no")))
    assert scripted.requests[0].candidates == ("PII_EMAIL_1", "no")
    assert finished.error.detail == f"none of its answers is one of {MAIL}, no" and MAIL in str(finished.error)


def calling(*arguments):
    """Return a backend whose answers call a tool with each of these arguments in turn."""
    left = iter(arguments)
    return redacting(lambda _: Reply(calls=(ToolCall("1", "pay", next(left), "sig"),)))


def test_values_are_restored_in_calls_of_tools():
    """In strings, keys and numbers, so that the arguments stay JSON; the signature stays."""
    arguments = {"to": ["PII_EMAIL_1"], "PII_EMAIL_1": {"note": "ask PII_EMAIL_1!"}, "n": 3, "yes": True}
    backend, _ = calling(arguments)
    events = list(run_requests(backend, [user(f"pay {MAIL}")]))
    (call,) = events[-1].tool_calls
    assert call == ToolCall("1", "pay", {"to": [MAIL], MAIL: {"note": f"ask {MAIL}!"}, "n": 3, "yes": True}, "sig")
    assert events[-1].unrestored == ()


def test_a_damaged_call_is_asked_for_again():
    """As an answer in words is; no call of the first attempt is passed on."""
    backend, scripted = calling({"to": "PII_EMAIL_9"}, {"to": "PII_EMAIL_1"})
    events = list(run_requests(backend, [user(f"pay {MAIL}")]))
    assert [call.arguments for call in events[-1].tool_calls] == [{"to": MAIL}]
    assert len(scripted.requests) == 2 and events[-1].unrestored == ()
    backend, _ = calling({"to": "PII_EMAIL_9"}, {"to": "PII_EMAIL_9"})
    assert list(run_requests(backend, [user(f"pay {MAIL}")]))[-1].unrestored == ("PII_EMAIL_9",)


def test_numbers_in_calls_are_replaced_by_numbers():
    """A card number is private with and without quotes, in arguments and in the values of a schema."""
    card = 4111111111111111
    call = ToolCall("1", "pay", {"card": card, "times": 2, "rate": 0.5, "ok": True})
    messages = (Message(Role.ASSISTANT, "", (call,)), Message(Role.TOOL, f"paid {card}", tool_call_id="1"))
    tool = {"type": "function", "function": {"name": "pay", "parameters": {"enum": [card], "maxLength": 3}}}
    redacted = redact_request(Redactor(), Request("r", messages, tools=(tool,)))
    assert str(card) not in repr(redacted.request)
    sent = redacted.request.messages[0].tool_calls[0].arguments
    assert isinstance(sent["card"], int) and (sent["times"], sent["rate"], sent["ok"]) == (2, 0.5, True)
    (number,) = redacted.request.tools[0]["function"]["parameters"]["enum"]
    assert isinstance(number, int) and number != card
    restorer = Restorer(redacted.used)
    assert restorer.restore_json(dict(sent)) == dict(call.arguments) and restorer.damaged == []


def test_the_name_of_a_tool_is_redacted_everywhere():
    """In the list of tools, in calls, and back."""
    tool = {"type": "function", "function": {"name": "Falcon-status", "parameters": {}}}
    call = Message(Role.ASSISTANT, "", (ToolCall("1", "Falcon-status", {}),))
    redacted = redact_request(Redactor(words={"project": ["Falcon"]}), Request("r", (call,), tools=(tool,)))
    name = redacted.request.messages[0].tool_calls[0].name
    assert name == redacted.request.tools[0]["function"]["name"] == "PII_PROJECT_1-status"
    assert Restorer(redacted.used).restore_json(name) == "Falcon-status"


def test_what_stays_damaged_is_reported():
    """The last answer is delivered as it is."""
    backend, scripted = redacting(lambda _: "to PII_EMAIL_7")
    text, finished = run(backend, user(MAIL, gathered=True))
    assert text == "to PII_EMAIL_7" and finished.unrestored == ("PII_EMAIL_7",) and len(scripted.requests) == 2
    backend, scripted = redacting(lambda _: "to PII_EMAIL_7")
    request = user(MAIL, carries=MAIL)
    assert "PII_EMAIL_7" in run(backend, request)[1].unrestored and len(scripted.requests) == 1


def test_values_that_an_answer_must_carry_are_missed():
    """As often as the text has them; its task asks again."""
    backend, scripted = redacting(lambda _: "PII_EMAIL_1 and no more")
    request = user(f"Translate: {MAIL} {MAIL} {CARD}", gathered=True, carries=f"{MAIL} {MAIL} {CARD}")
    _, finished = run(backend, request)
    assert finished.unrestored == ("PII_EMAIL_1", "PII_CARD_2") and len(scripted.requests) == 1
    backend, _ = redacting()
    assert run(backend, request)[1].unrestored == ()


@pytest.mark.parametrize("stop", ["_", "1", "PII", "@exa", "mail"])
def test_stop_strings_are_those_of_the_restored_answer(stop):
    """One that only a placeholder holds ends nothing; one in a value ends the answer there."""
    answer = f"to {MAIL}, by mail, and more"
    backend, scripted = redacting(lambda request: f"to {last_message(request)}, by mail, and more")
    text, finished = run(backend, user(MAIL, stop=(stop, "\n\n")))
    assert scripted.requests[0].stop == ("\n\n",)
    assert text == answer.partition(stop)[0] and finished.reason is FinishReason.STOP
    assert finished.stop_string == (stop if stop in answer else None)


def test_many_requests_share_the_placeholders():
    """Each answer has its own values; a cancelled request ends."""
    backend, scripted = redacting(lambda request: Reply(last_message(request), stalls=request.id == "2"))
    requests = [Request(str(n), (Message(Role.USER, f"n{n}@example.org {MAIL}"),)) for n in range(5)]
    texts, ends = dict.fromkeys("01234", ""), {}
    with backend.open() as job:
        for request in requests:
            job.submit(request)
        job.close_input()
        job.cancel("2")
        job.cancel("unknown")
        for event in job:
            if isinstance(event, TextDelta):
                texts[event.id] += event.text
            elif isinstance(event, Finished):
                ends[event.id] = event.reason
    assert ends.pop("2") is FinishReason.CANCELLED and set(ends.values()) == {FinishReason.STOP}
    assert all(texts[n] == f"n{n}@example.org {MAIL}" for n in "0134")
    assert all(MAIL not in repr(request) for request in scripted.requests)
    assert "private values replaced before sending: 6 email" in backend.stats().choices


def test_closing_closes_what_finds_names_too():
    """The redactor owns no backend."""
    inner, names = ScriptedBackend(), ScriptedBackend()
    RedactingBackend(inner, Redactor(), [names]).close()
    assert inner.closed and names.closed
