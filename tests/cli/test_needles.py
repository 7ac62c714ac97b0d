"""A sentence at the head, in the middle and at the tail of inputs of 3 and 30 times the context, by each verb.

The model has to see the sentence, and the result has to name the right place. The scripted model knows only the request
at hand, so it finds nothing that was not sent to it.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from document_texts import greek
from grid import grid
from llm_fixtures import Run
from scripted import all_messages, score_words
from source_files import make_pdf

CONTEXT = 500
PROMPT_WORDS = 12
NEEDLE = "The password of the vault is xylophone."
QUESTION = "What is the password of the vault?"
LINES_OF_PAGE = 30


def hay(times: int) -> list[str]:
    """Return sentences that are so many times as long as the context."""
    words = "On day {} the ship sailed on to island {} in the rain."
    return [words.format(n, n % 89) for n in range(times * CONTEXT // PROMPT_WORDS)]


def write_point(request):
    """Write the needle as a point, quote it, and call the statement supported if its passage has the needle."""
    said = all_messages(request)
    if request.candidates:
        yes = 0.9 if NEEDLE in said.partition("Statement:")[0] else 0.1
        return {"Yes": math.log(yes), "No": math.log(1 - yes)}
    if ".quote." in request.id:
        return NEEDLE if NEEDLE in said.partition("Statement:")[0] else "NONE"
    return f"- {NEEDLE}" if NEEDLE in said else "- The ship sailed."


def answer_question(request):
    """Find every passage relevant; quote the needle, and cite it."""
    said = all_messages(request)
    if request.candidates:
        return {"yes": -1.0, "no": -1.0}
    if request.id.startswith("excerpt."):
        return NEEDLE if NEEDLE in said else "NONE"
    if request.id.startswith("quote."):
        return NEEDLE
    numbered = re.search(rf'\[(\d+)\] [^\n]*\n("{{3,}})\n(?:(?!\2).)*{NEEDLE}', said, re.DOTALL)
    return f"It is xylophone [{numbered[1]}]." if numbered else "Not in these documents."


def copy_values(request):
    """Copy the word before the full stop of the needle, as one object or in a list."""
    said = all_messages(request)
    found = [{"password": "xylophone"}] if NEEDLE in said else []
    return json.dumps(found if "JSON list" in said else (found or [{"password": None}])[0])


def support_claim(request):
    """Answer yes where the text has the needle."""
    text = all_messages(request).partition("Statement:")[0]
    yes = 0.9 if NEEDLE in text else 0.5 if "N/A" in text else 0.1
    return {"Yes": math.log(yes), "No": math.log(1 - yes)}


def surprise(request):
    """Find one word surprising."""
    return tuple(score_words(each, lambda token: 40.0 if token == "xylophone" else 3.0) for each in request.candidates)


def translate_letters(request):
    """Translate into Greek letters."""
    return greek(request.messages[-1].content.rpartition("Greek:\n\n")[2])


def name_label(request):
    """Prefer the first label, or statement, for the needle, another one for the other sentences, none without them."""
    first, *others = request.candidates
    text = request.messages[-1].content
    preferred = [first] if NEEDLE in text else others if "ship" in text else request.candidates
    return {each: -0.1 if each in preferred else -5.0 for each in request.candidates}


def states(request):
    """Return a vector of the words of a text."""
    vector = [0.0] * 64
    for word in (request.prompt or request.messages[-1].content).split():
        vector[zlib.crc32(word.encode()) % 64] += 1
    return struct.pack("<64f", *vector)


@dataclass(frozen=True)
class Verb:
    """How a verb is run on FILE, its scripted model, and which places a run of it found.

    ``places`` returns pairs of the first and last line, or page, of each find.
    """

    argv: str
    answer: Callable
    places: Callable[[Run, str], list[tuple[int, int]]]
    scripting: tuple[tuple[str, object], ...] = ()
    setup: str = ""
    """A command that runs before."""


def _record(run: Run):
    return json.loads(run.out)


def _place(found, key: str) -> tuple[int, int]:
    return (found["page"], found["page"]) if key == "page" else (found["first_line"], found["last_line"])


def point_quotes(run, key):
    """Return the places of the quotes of cited points."""
    assert [point["support"] for point in _record(run)["points"]] == ["supported"]
    return [_place(point["quote"], key) for point in _record(run)["points"]]


def key_sentences(run, key):
    """Return the places of the sentences."""
    return [_place(each, key) for each in _record(run)["sentences"]]


def references(run, key):
    """Return the places of the quotes of cited passages."""
    found = _record(run)
    assert found["answered"] and found["method"] == "retrieval" and found["coverage"] < 1
    cited = [each for each in found["references"] if each["cited"]]
    assert [each["quote"]["text"] for each in cited] == [NEEDLE]
    return [_place(each["quote"], key) for each in cited]


def passages(run, key):
    """Return where in the first passage found the needle stands."""
    first = json.loads(run.out.splitlines()[0])
    if key == "page":
        return [_place(first, key)]
    line = first["first_line"] + first["text"][: first["text"].index(NEEDLE)].count("\n")
    assert line <= first["last_line"]
    return [(line, line)]


def values(run, key):
    """Return the places of extracted values."""
    found = _record(run)
    assert found["coverage"] == 1.0
    return [_place(each["quote"], key) for each in found["found"]]


def checked(run, key):
    """Return the places of the quotes of a check."""
    (sentence,) = _record(run)["sentences"]
    assert sentence["support"] == "supported"
    return [_place(sentence["quote"], key)]


def suspicious(run, key):
    """Return the places of suspicious words."""
    return [(each["page" if key == "page" else "line"],) * 2 for each in _record(run)["words"]]


def translated_lines(run, _key):
    """Return the lines of a translation that are the needle's."""
    return [(n, n) for n, line in enumerate(run.out.split("\n"), 1) if line == greek(NEEDLE)]


def numbered_lines(run, _key):
    """Return the numbers before lines."""
    return [(int(line.split(":")[0]),) * 2 for line in run.out.splitlines()]


def labelled_lines(run, _key):
    """Return the lines with the first label."""
    found = [json.loads(line) for line in run.out.splitlines()]
    return [(each["line"],) * 2 for each in found if each["label"] in {"secret", "positive"}]


def nearest_line(run, _key):
    """Return the line of the nearest text."""
    return [(_record(run)["line"],) * 2]


PARAGRAPHS = {
    "summarize --cite": Verb("summarize --cite --json FILE", write_point, point_quotes),
    "summarize --style key-sentences": Verb(
        "summarize --style key-sentences --words 8 --focus 'The password of the vault is xylophone' --json FILE",
        states,
        key_sentences,
        (("parameters", 135_000_000),),
    ),
    "summarize --combine": Verb(
        "summarize --combine --style key-sentences --words 8 --focus 'The password of the vault is xylophone' --json "
        "FILE OTHER",
        states,
        key_sentences,
        (("parameters", 135_000_000),),
    ),
    "ask": Verb(f"ask --json '{QUESTION}' -f FILE", answer_question, references),
    "ask --cite": Verb(f"ask --cite --json '{QUESTION}' -f FILE", answer_question, references),
    "ask -f DIR": Verb(f"ask --json '{QUESTION}' -f DIR", answer_question, references),
    "ask -f INDEX": Verb(f"ask --json '{QUESTION}' -f DIR", answer_question, references, setup="index add DIR"),
    "index search": Verb(f"index search --json '{QUESTION}'", answer_question, passages, setup="index add DIR"),
    "extract": Verb("extract --json --schema password FILE", copy_values, values),
    "extract --many": Verb("extract --many --json --schema password FILE", copy_values, values),
    "check": Verb("check --json CLAIM --against FILE", support_claim, checked),
    "proofread": Verb("proofread --json FILE", surprise, suspicious, (("token_scores", True),)),
}
"""Verbs that read documents in any format."""
TEXTS = {"translate": Verb("translate --to el --no-tm FILE", translate_letters, translated_lines)}
"""Verbs that read texts."""
LINES = {
    "classify": Verb("classify --labels secret,weather --json FILE", name_label, labelled_lines),
    "sentiment": Verb("sentiment --json FILE", name_label, labelled_lines),
    "sentiment --by sentence": Verb("sentiment --by sentence --json FILE", name_label, labelled_lines),
    "filter": Verb("filter -n 'it is secret' FILE", name_label, numbered_lines),
    "similar": Verb(f"similar '{QUESTION}' --json --top 1 FILE", states, nearest_line),
}
"""Verbs that read a record in each line."""


def _words_read(requests) -> str:
    """Return all that a model has read; the windows of a text follow each other."""
    texts = [all_messages(each) + (each.prompt or "") for each in requests]
    return "\n".join([*texts, "".join(word for each in requests for word in each.candidates)])


def run_verb(llm, verb: Verb, tmp_path, file) -> Run:
    """Run a verb on a file; return a run that succeeded and whose model has seen the needle."""
    claim = tmp_path / "claim.txt"
    claim.write_text("The vault has the password xylophone.\n")
    other = tmp_path / "other.txt"
    other.write_text("Nobody else has sailed to these islands.\n")
    names = {"FILE": str(file), "DIR": str(file.parent), "CLAIM": str(claim), "OTHER": str(other)}

    def words(command: str) -> list[str]:
        return [names.get(word, word) for word in shlex.split(command)]

    how = {"answer": verb.answer, "context": CONTEXT, **dict(verb.scripting)}
    if verb.setup:
        assert llm(*words(verb.setup), **how).code == 0
    run = llm(*words(verb.argv), **how)
    assert (run.code, run.err) == (0, "")
    requests = run.backend.requests if run.backend else []
    assert NEEDLE in _words_read(requests) or not requests
    assert all(run.backend.prompt_tokens(each) < CONTEXT for each in requests)
    return run


@pytest.mark.slow
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("times", [3, 30])
@grid("name", [*PARAGRAPHS, *TEXTS, *LINES])
def test_a_needle_is_found_in_its_line(llm, tmp_path, name, times, place):
    """At head, middle and tail."""
    end = "\n" if name in LINES else "\n\n"
    sentences = hay(times)
    at = round(place * len(sentences))
    sentences.insert(at, NEEDLE)
    (tmp_path / "docs").mkdir()
    file = tmp_path / "docs" / "a.txt"
    file.write_text(end.join(sentences) + "\n")
    verb = (PARAGRAPHS | TEXTS | LINES)[name]
    line = at * len(end) + 1
    assert verb.places(run_verb(llm, verb, tmp_path, file), "line") == [(line, line)]


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
@grid("name", PARAGRAPHS)
def test_a_needle_is_found_on_its_page(llm, tmp_path, name, place):
    """At head, middle and tail of a PDF."""
    sentences = hay(3)
    at = round(place * len(sentences))
    sentences.insert(at, NEEDLE)
    pages = [sentences[start : start + LINES_OF_PAGE] for start in range(0, len(sentences), LINES_OF_PAGE)]
    (tmp_path / "docs").mkdir()
    file = tmp_path / "docs" / "a.pdf"
    file.write_bytes(make_pdf(*map("\n".join, pages)))
    page = at // LINES_OF_PAGE + 1
    assert PARAGRAPHS[name].places(run_verb(llm, PARAGRAPHS[name], tmp_path, file), "page") == [(page, page)]


@grid("place", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("times", [3, 30])
def test_a_needle_in_a_file_that_is_one_record_is_found(llm, tmp_path, times, place):
    """Its file matches, and another does not; a label of the whole file counts all of its parts."""
    sentences = hay(times)
    (tmp_path / "b.txt").write_text("\n".join(sentences))
    sentences.insert(round(place * len(sentences)), NEEDLE)
    (tmp_path / "a.txt").write_text("\n".join(sentences))
    files = [str(tmp_path / name) for name in ("a.txt", "b.txt")]
    run = llm("filter", "--files", "it is secret", *files, answer=name_label, context=CONTEXT)
    assert (run.code, run.out) == (0, f"{files[0]}\n")
    run = llm("sentiment", "--by", "document", "--json", files[0], answer=name_label, context=CONTEXT)
    (found,) = map(json.loads, run.out.splitlines())
    assert 0 < found["probabilities"]["positive"] < 0.5
    assert any(NEEDLE in all_messages(each) for each in run.backend.requests)


@grid("place", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("times", [3, 30])
def test_a_needle_in_a_long_paragraph_is_translated(llm, tmp_path, times, place):
    """The paragraph is as long as the whole input; its sentences stay in their order."""
    sentences = hay(times)
    sentences.insert(round(place * len(sentences)), NEEDLE)
    (tmp_path / "a.txt").write_text("\n".join(sentences))
    run = llm("translate", "--to", "el", "--no-tm", str(tmp_path / "a.txt"), answer=translate_letters, context=CONTEXT)
    assert (run.code, run.err) == (0, "")
    assert run.out.split() == greek(" ".join(sentences)).split()
