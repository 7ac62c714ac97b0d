"""The callables for Ray without Ray: a batch is a dictionary of NumPy arrays."""

from __future__ import annotations

import csv
import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import scripted
from llm_fixtures import llm, write

from llmcli.errors import InternalError
from llmcli.ray import Ask, Classify, Embed
from llmcli.runtime import backend_factory

__all__ = ["llm", "write"]
TEXTS = ["The tap drips.", "", "Thank you all!", "It crashed, again."]
LABELS = ["billing", "bug", "praise"]


@pytest.fixture
def answer(llm, monkeypatch):
    """Return a function that makes the callables use a backend with this answer, and the backends that were built."""
    built = []

    def use(answer, **scripting):
        def build(_path, *, name, model_id, options, interrupt, on_loading):
            del model_id, options, on_loading
            built.append(scripted.ScriptedBackend(answer, model=name, interrupt=interrupt, **scripting))
            return built[-1]

        monkeypatch.setenv("LLMCLI_MODEL", str(llm.model))
        monkeypatch.setattr(backend_factory, "open_local_backend", build)
        return built

    return use


def scores(request):
    """Return a log-probability of each candidate that depends on the text."""
    text = scripted.last_message(request)
    return {label: -float((len(text) * 7 + 3 * number) % 5) for number, label in enumerate(request.candidates)}


def batch(**columns):
    return {name: np.array(values) for name, values in columns.items()}


def verb_rows(run):
    """Return the rows that a verb has written as CSV."""
    assert run.code == 0, run.err
    return list(csv.DictReader(io.StringIO(run.out)))


def as_cells(column):
    """Return a column as the cells of a CSV."""
    return ["" if str(value) in {"None", "nan"} else str(value) for value in column.tolist()]


def test_labels_are_those_of_the_verb(llm, answer, write):
    """All columns of ``llm classify``, in the order of the rows; a blank row has none."""
    path = write("in.csv", "text,id\n" + "".join(f'"{text}",{number}\n' for number, text in enumerate(TEXTS)))
    wanted = verb_rows(llm("classify", "--labels", ",".join(LABELS), path, "--column", "text", answer=scores))
    answer(scores)
    added = Classify(LABELS, column="text")(batch(text=TEXTS, id=range(4)))
    assert [*added] == ["text", "id", "label", *(f"p_{label}" for label in LABELS), "margin", "error"]
    assert added["margin"].dtype == np.float64 and added["id"].tolist() == [0, 1, 2, 3]
    for name in wanted[0]:
        assert as_cells(added[name]) == [row[name] for row in wanted], name


def test_several_labels_and_a_threshold_are_those_of_the_verb(llm, answer, write):
    """``multi`` and ``threshold`` are the options of the verb."""
    path = write("in.csv", "text\n" + "".join(f'"{text}"\n' for text in TEXTS if text))
    texts = batch(text=[text for text in TEXTS if text])
    words = ("classify", "--labels", ",".join(LABELS), path, "--column", "text", "--threshold", "0.6")
    for more, multi in (((), False), (("--multi",), True)):
        wanted = verb_rows(llm(*words, *more, answer=scores))
        answer(scores)
        added = Classify(LABELS, multi=multi, threshold=0.6)(texts)
        for name in wanted[0]:
            assert [text.lower() for text in as_cells(added[name])] == [row[name].lower() for row in wanted], name


def test_a_calibration_is_used(llm, answer, write):
    """The labels are those of ``llm classify --calibration``; one for other labels is refused."""
    rows = "".join(f"{'a' * (number % 5 + 1)} {number},{LABELS[number % 2]}\n" for number in range(20))
    labelled = write("labelled.csv", "text,label\n" + rows)
    path = write("in.csv", "text\naa 3\naaaa 1\n")
    names = "billing,bug"
    made = llm("classify", "--labels", names, "--calibrate", labelled, "--calibration", "mine", answer=scores)
    assert made.code == 0, made.err
    wanted = verb_rows(
        llm("classify", "--labels", names, "--calibration", "mine", path, "--column", "text", answer=scores)
    )
    answer(scores)
    texts = batch(text=["aa 3", "aaaa 1"])
    added = Classify(names.split(","), calibration="mine")(texts)
    assert [as_cells(added[name]) for name in wanted[0]] == [[row[name] for row in wanted] for name in wanted[0]]
    plain = Classify(names.split(","))(texts)
    assert plain["p_bug"].tolist() != added["p_bug"].tolist()
    with pytest.raises(RuntimeError, match="mine"):
        Classify(LABELS, calibration="mine")(texts)


def test_answers_are_those_of_the_verb(llm, answer, write):
    """A question about each row, with instructions and limits."""
    path = write("in.csv", "note,id\none,1\ntwo,2\n")
    words = ("--column", "note", "--system", "Be brief.", "--max-tokens", "5", "--seed", "3", "--temperature", "0.5")
    wanted = verb_rows(llm("ask", "Which number?", "-f", path, *words))
    asked = llm.backends[0].requests
    built = answer(scripted.last_message)
    callable_ = Ask(
        "Which number?", column="note", system="Be brief.", seed=3, temperature=0.5, settings={"max_tokens": 5}
    )
    added = callable_(batch(note=["one", "two"], id=[1, 2]))
    assert added["answer"].tolist() == [row["answer"] for row in wanted] and added["error"].tolist() == ["", ""]
    assert [request.messages for request in built[0].requests] == [request.messages for request in asked]
    assert [request.sampling for request in built[0].requests] == [request.sampling for request in asked]
    assert [request.max_tokens for request in built[0].requests] == [5, 5]


def test_a_prompt_of_your_own_answers(answer, write):
    """Its variables have the given values and those of the columns."""
    name = write("review.yaml", "description: d\nuser: '{{ tone }} {{ title }}'\nvariables: {tone: {}, title: {}}\n")
    built = answer(scripted.last_message)
    added = Ask(prompt=name, variables={"tone": "kind"})(batch(title=["A", "B"], id=[1, 2]))
    assert added["generated"].tolist() == ["kind A", "kind B"]
    assert len(built) == 1


def test_vectors_are_those_of_the_verb(llm, answer, write):
    """A row of a matrix each, as wide in all batches; that of a blank row is NaN."""
    path = write("in.csv", "text\none\ntwo words\n")
    states = np.array([3.0, 4.0, 0.0], dtype="<f4").tobytes()
    run = llm("embed", path, "--column", "text", "-o", f"{path}.jsonl", answer=lambda _request: states)
    assert run.code == 0, run.err
    wanted = [json.loads(line)["embedding"] for line in Path(f"{path}.jsonl").read_text("utf-8").splitlines()]
    answer(lambda _request: states)
    embed = Embed()
    blank = embed(batch(text=["", " "]))["embedding"]
    assert blank.shape == (2, 3) and np.isnan(blank).all()
    added = embed(batch(text=["one", " ", "two words"]))["embedding"]
    assert added.dtype == np.float32 and np.allclose(added[[0, 2]], wanted) and np.isnan(added[1]).all()


def test_the_setting_embedding_model_names_the_model(llm, answer, tiny):
    """As for ``llm embed``; ``model`` overrides it."""
    built = answer(lambda _request: np.ones(2, dtype="<f4").tobytes())
    settings = {"embedding_model": str(tiny("gemma3"))}
    Embed(settings=settings)(batch(text=["one"]))
    Embed(settings=settings, model=str(llm.model))(batch(text=["one"]))
    assert [Path(backend.info().model).stem for backend in built] == ["gemma3", "llama"]


def test_a_row_that_fails_has_an_error(answer):
    """The other rows have their answers, and all columns the types that they always have."""

    def reply(request):
        return InternalError(detail="broken") if "two" in scripted.last_message(request) else "fine"

    answer(reply)
    added = Ask()(batch(text=["one", "two", "three"]))
    assert added["answer"].tolist() == ["fine", "", "fine"]
    assert [bool(error) for error in added["error"].tolist()] == [False, True, False]
    assert "broken" in added["error"][1]
    answer(lambda _request: InternalError(detail="broken"))
    failed = Classify(LABELS)(batch(text=["one"]))
    assert failed["label"].tolist() == [""] and np.isnan(failed["p_bug"]).all()


def test_an_answer_that_was_cut_has_an_error(answer):
    """The answer is kept, and ``error`` says that it is incomplete."""
    answer(lambda _request: scripted.Reply("half of", reason=scripted.FinishReason.LENGTH))
    added = Ask(column="text")(batch(text=["one"]))
    assert added["answer"].tolist() == ["half of"] and added["error"][0]


def test_one_backend_answers_all_batches(answer):
    """It is built with the first batch, so that the callable can be pickled before; ``close`` closes it."""
    built = answer(scores)
    callable_ = pickle.loads(pickle.dumps(Classify({"bug": "It does not work.", "praise": None})))
    assert not built
    first, second = (callable_(batch(text=[text]))["label"].tolist() for text in ("one", "two"))
    assert len(built) == 1 and first and second
    callable_.close()
    assert built[0].closed


def test_values_of_arrays_become_values_of_python(answer):
    """A missing number is an empty text, and structures are JSON."""
    built = answer(lambda _request: "yes")
    columns = {"n": np.array([1.5, np.nan]), "l": np.array([[1, 2], [3, 4]]), "o": np.array([None, "x"], dtype=object)}
    Ask(column=["n", "l", "o"])(columns)
    assert {scripted.last_message(request) for request in built[0].requests} == {"1.5\n[1, 2]\n", "\n[3, 4]\nx"}


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda: Classify(["one"]), "two labels or more"),
        (lambda: Ask(settings={"ctz": 5}), "ctx"),
        (lambda: Ask(column="body")(batch(text=["a"])), "no column body"),
        (lambda: Ask(rename={"anwer": "x"})(batch(text=["a"])), "anwer"),
        (lambda: Ask()(batch(text=["a"], error=["b"])), "rename={'error': 'ask_error'}"),
        (lambda: Ask(model="no-such-model")(batch(text=["a"])), "no-such-model"),
        (lambda: Ask(settings={"ctx": "wide"})(batch(text=["a"])), "ctx"),
    ],
)
def test_errors_have_texts_and_can_be_pickled(answer, use, words):
    """What concerns all rows is an error of Python with the message of llm, which Ray sends to the driver."""
    built = answer("fine")
    with pytest.raises(RuntimeError) as caught:
        use()
    assert words in str(pickle.loads(pickle.dumps(caught.value)))
    assert not any(backend.requests for backend in built)


def test_added_columns_get_other_names(answer):
    """So two callables follow each other."""
    answer(lambda _request: "yes")
    once = Ask("Is it?")(batch(text=["a"]))
    twice = Ask("Is it?", column="text", rename={"answer": "again", "error": "error_again"})(once)
    assert [*twice] == ["text", "answer", "error", "again", "error_again"]
