"""``llm redact``, and ``--redact`` of the commands that send text."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import planted_values
import pytest
from fake_server import encode_chunk, iter_answer_events, last_message, send_events, stream_answer
from hosted_servers import rechunk
from remote_config import configure
from source_files import make_docx, make_pdf

MAIL, CARD = "jane@example.org", "4111 1111 1111 1111"
LETTER = f"Dear Jane,\n\nyour address is {MAIL}, your card {CARD}.\n"


@pytest.fixture
def letter(tmp_path):
    file = tmp_path / "letter.txt"
    file.write_text(LETTER)
    return str(file)


def test_the_redacted_text_is_printed(llm, letter):
    """From files and standard input; nothing is sent, and no model is loaded."""
    expected = LETTER.replace(MAIL, "PII_EMAIL_1").replace(CARD, "PII_CARD_2")
    assert llm("redact", letter).out == expected
    run = llm("redact", stdin=LETTER.encode())
    assert (run.code, run.out, run.err, run.backend) == (0, expected, "", None)
    assert llm("redact", stdin=b"").out == ""


def test_what_is_public_is_printed_as_it_is(llm):
    """Addresses and numbers for examples, checksums, accounts at a machine."""
    commit = "b9f1123f9a525fb63bf1153371b9d8ef5c828790"
    text = f"Ask help@example.org, call 555-0123, or see commit {commit}.\nThen: ssh -p 22 deploy@kestrel.eu\n"
    assert llm("redact", stdin=text.encode()).out == text


def test_documents_are_read_as_ask_reads_them(llm, tmp_path):
    """The text of a Word document or a PDF is what would be sent; markup and tables stay as they are."""
    word, page = tmp_path / "a.docx", tmp_path / "b.html"
    word.write_bytes(make_docx(lambda document: document.add_paragraph(f"Write to {MAIL}.")))
    page.write_text(f"<p>{MAIL}</p>")
    run = llm("redact", str(word), str(page))
    assert (run.code, run.err) == (0, "") and "Write to PII_EMAIL_1." in run.out and "<p>PII_EMAIL_1</p>" in run.out
    assert "card PII_CARD_1." in llm("redact", stdin=make_pdf(f"Your card {CARD}.")).out
    run = llm("redact", stdin=make_pdf(f"Your card {CARD}.", ""))
    assert run.code == 0 and "1 of 2 pages have no text" in run.err
    assert llm("redact", stdin=b"\x7fELF\0").code == 65


def test_the_text_ends_with_a_newline_on_a_terminal(llm, terminal):
    """The shell's prompt begins a line; a pipe gets the text as it was."""
    screen = terminal()
    llm("redact", stdin=MAIL.encode(), out=screen.slave)
    screen.close()
    assert screen.raw == b"PII_EMAIL_1\r\n"
    assert llm("redact", stdin=MAIL.encode()).out == "PII_EMAIL_1"


def test_finds_are_objects(llm, letter):
    """Where each value stands, and the value itself only if it is asked for."""
    run = llm("redact", "--json", letter)
    first, second = map(json.loads, run.out.splitlines())
    assert first == {"kind": "email", "start": 28, "end": 44, "line": 3, "column": 17, "placeholder": "PII_EMAIL_1"}
    assert LETTER[second["start"] : second["end"]] == CARD and CARD not in run.out
    shown = llm("redact", "--json", "--show-values", letter)
    assert [json.loads(line)["value"] for line in shown.out.splitlines()] == [MAIL, CARD]


def test_disguised_values_are_replaced_and_placed(llm):
    """Offsets are those of the text as it is, with its invisible characters and line breaks."""
    text = "Appelez le 06.86.34.59.10. My card 4111\u200b1111 1111\n1111 and \u5bc6\u7801\uff1ahunter22\u3002\n"
    run = llm("redact", stdin=text.encode())
    assert run.out == "Appelez le PII_PHONE_1. My card PII_CARD_2 and \u5bc6\u7801\uff1aPII_KEY_3\u3002\n"
    found = [
        json.loads(line) for line in llm("redact", "--json", "--show-values", stdin=text.encode()).out.splitlines()
    ]
    values = ["06.86.34.59.10", "4111\u200b1111 1111\n1111", "hunter22"]
    assert [text[each["start"] : each["end"]] for each in found] == values == [each["value"] for each in found]


def test_several_files_share_placeholders(llm, letter, tmp_path):
    """Each has a header; one that cannot be read is told, with 3."""
    (tmp_path / "b.txt").write_text(f"to {CARD}\n")
    run = llm("redact", letter, str(tmp_path / "none"), str(tmp_path / "b.txt"))
    assert run.code == 3 and "none" in run.err
    assert f"==> {tmp_path / 'b.txt'} <==\nto PII_CARD_2\n" in run.out
    names = [
        json.loads(line)["name"] for line in llm("redact", "--json", letter, str(tmp_path / "b.txt")).out.splitlines()
    ]
    assert names == [letter, letter, str(tmp_path / "b.txt")]


def test_output_goes_into_a_file(llm, letter, tmp_path):
    """With -o."""
    assert llm("redact", "-o", str(tmp_path / "out"), letter).out == ""
    assert "PII_CARD_2" in (tmp_path / "out").read_text()


def test_own_patterns_and_kinds_come_from_the_configuration(llm, tmp_path):
    """A pattern that may take for ever is refused with its name."""
    config = configure()
    config.write_text(json.dumps({"redact.patterns": {"customer": r"CU-\d{6}"}, "redact": "auto", "redact.kinds": ["ip"],
                                  "redact.words": {"project": ["Blue Heron"]}}))  # fmt: skip
    run = llm("redact", stdin=f"{MAIL} CU-123456 blue heron 10.1.2.3".encode())
    assert run.out == f"{MAIL} PII_CUSTOMER_1 PII_PROJECT_2 PII_IP_3"
    config.write_text(json.dumps({"redact.patterns": {"customer": r"(\d+)+x"}}))
    run = llm("redact", stdin=b"x")
    assert run.code == 78 and "no upper bound" in run.err


def test_names_are_found_by_a_local_model(llm, letter):
    """Those that it names and the text holds; the model of -m answers."""
    answer = '{"names": ["Jane", "Nobody Else", "dear"]}'
    run = llm("redact", "--names", letter, answer=lambda _: answer)
    assert run.out.startswith("Dear PII_NAME_1,\n\nyour address") and run.backend.closed
    assert run.backend.requests[0].schema["required"] == ["names"]
    assert "Jane" in run.backend.requests[0].messages[-1].content


# ---- on the way to a server ------------------------------------------------------------------------------------------


def sent(server):
    return json.dumps([asked.body for asked in server.asked], ensure_ascii=False)


def test_servers_on_this_machine_get_values_by_default(llm, server):
    """Other hosts do not; what the flag, the variable, the server's description and the setting say counts in this order."""
    llm("ask", "--base-url", server.url, MAIL)
    assert MAIL in sent(server)
    server.asked.clear()
    assert llm("ask", "--redact", "--base-url", server.url, MAIL).out == f"{MAIL}\n"
    assert llm("ask", "--base-url", server.url, MAIL, env={"LLMCLI_REDACT": "on"}).out == f"{MAIL}\n"
    configure(there={"base_url": server.url, "redact": True})
    assert llm("ask", "--backend", "there", MAIL).out == f"{MAIL}\n"
    assert server.chats() and MAIL not in sent(server)
    llm("ask", "--set", "redact=off", "--backend", "there", MAIL)
    assert MAIL in sent(server)


def test_names_are_replaced_with_redact_names(llm, server):
    """-m names the server's model, and another one finds names."""
    question = "Is Jane Doe there?"
    argv = ("ask", "--set", "redact=names", "--base-url", server.url, "-m", "big", question)
    run = llm(*argv, env={"LLMCLI_REDACT_MODEL": str(llm.model)}, answer=lambda _: '{"names": ["Jane Doe"]}')
    assert (run.code, run.out) == (0, f"{question}\n"), run.err
    assert "Jane" not in sent(server) and "PII_NAME_1" in sent(server) and run.backend.closed


@pytest.mark.parametrize("words", [("--redact=names",), ("--redact", "names")])
def test_the_form_of_an_earlier_release_sends_nothing(llm, server, words):
    """The word would be a part of the question, and names would be sent."""
    run = llm("ask", *words, "--base-url", server.url, "Is Jane Doe there?")
    assert (run.code, run.err) == (2, "llm: --redact takes no value\nTry: --set redact=names\n")
    assert server.asked == []
    assert llm("ask", "--redact", "--base-url", server.url, "--", "names").code == 0


def test_verbose_says_what_is_replaced(llm, server):
    """And why."""
    run = llm("ask", "-v", "--redact", "--base-url", server.url, MAIL)
    assert "private values are replaced (--redact)" in run.err and "1 email" in run.err
    assert "runs on this machine" in llm("ask", "-v", "--base-url", server.url, MAIL).err


def test_a_damaged_placeholder_is_reported(llm, server):
    """The answer stands, with the code in it, and the exit code is 3."""
    server.usual = stream_answer("It is PII_EMAIL_9.")
    run = llm("ask", "--redact", "--base-url", server.url, MAIL)
    assert (run.code, run.out) == (3, "It is PII_EMAIL_9.\n")
    assert "changed the code of a private value: PII_EMAIL_9" in run.err
    found = json.loads(llm("ask", "--json", "--redact", "--base-url", server.url, MAIL).out)
    assert found["warnings"] == ["private values were not put back: PII_EMAIL_9"]


@pytest.mark.parametrize(
    "written",
    [
        "**PII**\\_EMAIL_1",
        "PII_E-MAIL_1",
        "PII&#95;EMAIL&#95;1",
        "PII%5FEMAIL%5F1",
        "PII _EMAIL_ 1",
        "P\u200bII_EMAIL_\u200b1",
        "PII_\u2009EMAIL_1",
        "\uff30\uff29\uff29\uff3f\uff25\uff2d\uff21\uff29\uff2c\uff3f\uff11",
    ],
)
def test_a_changed_placeholder_is_restored_or_reported(llm, server, written):
    """It means one value by its number; with a number that no value has, the exit code is 3."""
    server.usual = stream_answer(f"It is {written}.")
    run = llm("ask", "--redact", "--base-url", server.url, MAIL)
    assert (run.code, run.out, len(server.chats())) == (0, f"It is {MAIL}.\n", 1)
    other = f"{written[:-1]}9"
    server.usual = stream_answer(f"It is {other}.")
    run = llm("ask", "--redact", "--base-url", server.url, MAIL)
    assert (run.code, run.out) == (3, f"It is {other}.\n")
    assert "changed the code of a private value" in run.err


def test_an_error_names_no_codes(llm, server):
    """The user knows the labels, and not what the server got for them."""
    server.usual = stream_answer("neither of them")
    run = llm("classify", "--redact", "--labels", f"{MAIL},nobody", "--base-url", server.url, stdin=b"who?\n")
    assert run.code != 0 and "neither of them" in run.err and "PII_" not in run.err
    assert server.chats() and MAIL not in sent(server)


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("verb", [["ask", MAIL], ["chat"], ["generate", "poem", "--var", f"topic={MAIL}"]])
def test_a_damaged_placeholder_in_a_stream_is_asked_for_again(llm, server, verb, size):
    """Nothing of the damaged answer is shown, however its events are split."""
    blocks = [b"data: " + event + b"\n\n" for event in iter_answer_events("It was PII_EMAIL_9.")]
    server.script = [lambda handler, _body: handler.stream_blocks(rechunk(blocks, size))]
    server.usual = stream_answer("It is PII_EMAIL_1.")
    run = llm(*verb, "--redact", "--base-url", server.url, stdin=f"{MAIL}\n".encode() if verb == ["chat"] else b"")
    assert run.code == 0, run.err
    assert run.out.strip() == f"It is {MAIL}." and len(server.chats()) == 2
    assert MAIL not in sent(server)


def test_a_translation_must_carry_the_values(llm, server):
    """A segment that lacks one is asked for again; where it still does, it is left as it was and counted."""
    server.usual = stream_answer("Votre carte est ici.")
    source = f"Your card is {CARD} and your phone number is +49 30 1234567.\n".encode()
    arguments = ("translate", "--redact", "--base-url", server.url, "--from", "en", "--to", "fr", "--no-tm")
    run = llm(*arguments, stdin=source)
    assert run.code == 3 and run.out.encode() == source and len(server.chats()) >= 2
    assert "codes that stand for private text" in json.dumps(server.chats()[1])
    server.usual = stream_answer("Votre carte est PII_CARD_1 et votre num\u00e9ro est PII_PHONE_2.")
    run = llm(*arguments, stdin=source)
    assert (run.code, run.out) == (0, f"Votre carte est {CARD} et votre num\u00e9ro est +49 30 1234567.\n")


def test_a_chat_is_redacted_as_a_whole(llm, server):
    """What an earlier answer repeated does not arrive with a later question."""
    server.usual = stream_answer(lambda body: last_message(body).replace("password=", "Noted: "))
    run = llm("chat", "--redact", "--base-url", server.url, stdin=b"password=hunter2!x\nagain\n")
    assert run.code == 0 and "Noted: hunter2!x" in run.out
    assert len(server.chats()) == 2 and "hunter2" not in sent(server)


@pytest.mark.parametrize("documents", [5, pytest.param(50, marks=pytest.mark.stress)])
def test_no_planted_value_arrives(llm, server, tmp_path, documents):
    """Of 200 keys, cards, IBANs and addresses in each of many texts none arrives, however it is split or grouped.

    The server repeats what it gets in pieces of any size; the answers hold all that was planted.
    """
    rng = random.Random(17)
    planted, texts = {}, {}
    for number in range(documents):
        values = [planted_values.plant(rng, kind) for kind in planted_values.MAKERS for _ in range(50)]
        rng.shuffle(values)
        name = str(tmp_path / f"{number}.txt")
        texts[name] = "\n\n".join([f"Document <{number}>", *(value.text for value in values)])
        Path(name).write_bytes(texts[name].encode())
        planted[f"Document <{number}>"] = values
    server.models = [{"id": "big", "object": "model", "owned_by": "somebody", "max_model_len": 10**6}]
    server.usual = repeat_in_pieces
    run = llm("summarize", "--redact", "--base-url", server.url, *texts)
    assert run.code == 3 and "repeats the words of the request" in run.err, run.err[-500:]
    assert len(server.chats()) == documents and sum(map(len, planted.values())) == 200 * documents
    arrived = []
    for body in server.chats():
        text = last_message(body)
        bare, title = join(text), re.search(r"Document <[0-9]+>", text).group()
        arrived += [value for value in planted.pop(title) if value.written in text or join(value.secret) in bare]
    assert arrived == [] and not planted
    assert all(text in run.out for text in texts.values())


def join(text):
    """Return a text without the characters that group digits and letters, in one case."""
    return re.sub(r"\\+u00a0|&nbsp;|%20|%c2%a0|[ \u00a0-]", "", text.lower())


def repeat_in_pieces(handler, body):
    text, rng, pieces = last_message(body), random.Random(len(handler.fake.asked)), []
    while text:
        size = rng.choice([1, 3, 40, 400, 4000])
        pieces.append(text[:size])
        text = text[size:]
    chunks = [encode_chunk({"content": piece}) for piece in pieces]
    send_events(*chunks, encode_chunk({}, finish_reason="stop"), b"[DONE]")(handler, body)
