"""``--provenance`` and ``llm verify``, on a scripted backend."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest
import scripted
from tiny_adapters import write_adapter

from llmcli.prompts.prompt_library import builtin_directory
from llmcli.types import FinishReason

QUESTION = "When does the canary workshop open?"
TEXT = "The canary workshop opens at nine. Bicycles are repaired on Mondays.\n"


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """Write notes.txt into the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text(TEXT)
    return tmp_path / "notes.txt"


@pytest.fixture
def answer(llm, notes):
    """Return a function that asks about the notes with --provenance; it returns the statement beside out.txt."""

    def ask(*more, **how):
        done = llm("ask", "-f", "notes.txt", "--provenance", "-o", "out.txt", *more, QUESTION, **how)
        assert done.code == 0, done.err
        return json.loads(Path("out.txt.provenance.json").read_text())

    return ask


def states(run):
    """Return what was found: (kind, name) and state."""
    rows = [line.split("\t") for line in run.out.splitlines()]
    return {(row[1], row[2]): row[0] for row in rows if len(row) == 4}


def test_the_statement_says_what_an_answer_was_made_of(answer, llm):
    """The output, question, input, prompt, model and options; the private ones by keyed digests only."""
    found = answer("--max-tokens", "50", "--seed", "3", answer=lambda _: "At nine.")
    predicate = found["predicate"]
    assert found["subject"] == [
        {"name": "out.txt", "digest": {"sha256": hashlib.sha256(b"At nine.\n").hexdigest()}},
    ]
    assert predicate["command"] == "ask"
    (words,) = predicate["parameters"].pop("words")
    assert list(words) == ["hmac-sha256"]
    assert predicate["parameters"] == {"file": ["notes.txt"], "max_tokens": 50, "seed": 3}
    assert [(each["name"], list(each["digest"])) for each in predicate["inputs"]] == [("notes.txt", ["hmac-sha256"])]
    assert [(each["name"], list(each["digest"])) for each in predicate["prompts"]] == [("ask.documents", ["sha256"])]
    model = hashlib.sha256(llm.model.read_bytes()).hexdigest()
    assert (predicate["model"]["digest"], predicate["model"]["weights"]) == ({"sha256": model}, "original")
    assert predicate["versions"]["llmcli"] and predicate["versions"]["llama-cpp-python"]
    assert predicate["outcome"] == {"results": 1} and predicate["usage"]["completion_tokens"] == 2
    assert predicate["started"] <= predicate["finished"] and predicate["finished"].endswith("Z")


def test_no_text_is_in_it_and_none_can_be_guessed(answer):
    """Neither the texts, nor a plain digest of one, by which a short text could be found."""
    answer("-s", "You are a canary.", answer=lambda _: "A canary answer.")
    written = Path("out.txt.provenance.json").read_text()
    assert "anary" not in written
    for private in (QUESTION, TEXT, "You are a canary."):
        assert hashlib.sha256(private.encode()).hexdigest() not in written


def test_the_key_is_private_and_doctor_names_it(answer, llm):
    """It is created at first use; the statement names it without giving it away."""
    found = answer()
    path = Path(os.environ["LLMCLI_DATA_DIR"]) / "provenance.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().strip() not in json.dumps(found)
    assert str(path) in llm("doctor").out


def test_everything_matches_after_a_run(answer, llm):
    """The output, the input, the prompt and the model; a text that is not kept is not checked until it is given."""
    answer()
    done = llm("verify", "out.txt")
    model = str(llm.model)
    expected = {
        ("output", "out.txt"): "ok",
        ("statement", "out.txt"): "ok",
        ("input", "notes.txt"): "ok",
        ("text", "PROMPT"): "unchecked",
        ("prompt", "ask.documents"): "ok",
        ("model", model): "ok",
    }
    assert (done.code, states(done)) == (0, expected)
    given = llm("verify", "out.txt", "--text", QUESTION)
    assert (given.code, states(given)) == (0, expected | {("text", "PROMPT"): "ok"})
    wrong = llm("verify", "out.txt", "--text", "When does it close?")
    assert wrong.code == 1 and states(wrong)[("text", "--text")] == "changed"


def test_the_statement_is_found_from_any_directory(answer, llm, tmp_path, monkeypatch):
    """And by its own name; the output and its inputs may move together."""
    answer()
    (tmp_path / "elsewhere").mkdir()
    for name in ("out.txt", "out.txt.provenance.json", "notes.txt"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    assert llm("verify", "elsewhere/out.txt").code == 0
    assert llm("verify", "elsewhere/out.txt.provenance.json").code == 0
    monkeypatch.chdir("/")
    assert llm("verify", str(tmp_path / "elsewhere" / "out.txt")).code == 0


@pytest.mark.parametrize("kind", ["output", "input", "prompt", "own prompt", "model"])
def test_what_was_changed_is_found_and_named(answer, llm, tmp_path, mine, kind):
    """Exit 1, and only that line says so; a model is hashed again, since size and time can be kept."""
    own = Path(os.environ["LLMCLI_CONFIG_DIR"]) / "prompts" / "ask.documents.yaml"
    if kind == "own prompt":
        own.parent.mkdir(parents=True)
        own.write_text((builtin_directory() / own.name).read_text())
    answer("-m", str(mine))
    if kind == "prompt":
        own.parent.mkdir(parents=True, exist_ok=True)
        own.write_text("user: '{{ question }} {{ documents }}'\n")
    if kind == "own prompt":
        own.write_text(own.read_text() + "\n# changed\n")
    if kind == "model":
        before = mine.stat()
        mine.write_bytes(mine.read_bytes()[:-1] + b"x")
        os.utime(mine, ns=(before.st_atime_ns, before.st_mtime_ns))
    if kind in {"output", "input"}:
        name = tmp_path / {"output": "out.txt", "input": "notes.txt"}[kind]
        name.write_text(name.read_text() + "!")
    name = {"output": "out.txt", "input": "notes.txt", "model": str(mine)}.get(kind, "ask.documents")
    done = llm("verify", "out.txt")
    changed = [key for key, state in states(done).items() if state == "changed"]
    assert (done.code, changed) == (1, [(kind.removeprefix("own "), name)])


def test_adapters_and_copies_of_the_weights_are_checked(answer, llm, mine, tmp_path):
    """The adapter as it was named; the copy by the type of its weights, until it is removed."""
    write_adapter(tmp_path / "style.gguf", mine)
    predicate = answer("-m", str(mine), "--lora", "style.gguf:0.5")["predicate"]
    assert [(each["name"], each["scale"]) for each in predicate["model"]["adapters"]] == [("style.gguf:0.5", 0.5)]
    assert states(llm("verify", "out.txt"))[("adapter", "style.gguf:0.5")] == "ok"
    write_adapter(tmp_path / "style.gguf", mine, seed=1)
    changed = llm("verify", "out.txt")
    assert changed.code == 1 and states(changed)[("adapter", "style.gguf:0.5")] == "changed"
    predicate = answer("-m", str(mine), "--set", "weights=bf16")["predicate"]
    (copy,) = Path("home/cache/derived").glob("*.gguf")
    assert predicate["model"]["weights"] == "bf16"
    assert predicate["model"]["copy"] == {"sha256": hashlib.sha256(copy.read_bytes()).hexdigest()}
    name = ("weights", f"{mine} in bf16")
    assert states(llm("verify", "out.txt"))[name] == "ok"
    copy.chmod(0o600)
    copy.write_bytes(copy.read_bytes()[:-1] + b"x")
    assert states(llm("verify", "out.txt"))[name] == "changed"
    copy.unlink()
    gone = llm("verify", "out.txt")
    assert gone.code == 0 and states(gone)[name] == "unchecked"


def test_what_is_missing_is_named(answer, llm):
    """Exit 66: the output, an input, the statement; a damaged statement is 65."""
    answer()
    Path("notes.txt").unlink()
    done = llm("verify", "out.txt")
    assert done.code == 66 and states(done)[("input", "notes.txt")] == "missing"
    Path("out.txt").rename("other.txt")
    assert llm("verify", "out.txt").code == 66
    alone = llm("verify", "other.txt")
    assert alone.code == 66 and "there is no statement" not in alone.out and "other.txt.provenance.json" in alone.err
    Path("out.txt.provenance.json").write_text("{}")
    assert llm("verify", "out.txt").code == 65
    written = {"code": 66, "type": "MissingError"}
    assert json.loads(llm("verify", "--json", "other.txt").err)["error"].items() >= written.items()


@pytest.mark.parametrize("command", ["quiz run", "quiz", "quiz make x", "ask x", "audit list", "nothing", ""])
def test_a_statement_of_a_command_that_writes_none_is_damaged(answer, llm, command):
    """Exit 65: the statement names no command, or one whose output has no statement."""
    found = answer()
    found["predicate"]["command"] = command
    del found["predicate"]["mac"]
    Path("out.txt.provenance.json").write_text(json.dumps(found))
    refused = llm("verify", "--repeat", "out.txt")
    assert refused.code == 65 and "no command that describes its output" in refused.err


def test_another_key_is_named_and_nothing_counts_as_changed(answer, llm):
    """Exit 69: what needs no key is checked; the same without a key."""
    answer()
    path = Path(os.environ["LLMCLI_DATA_DIR"]) / "provenance.key"
    for change, said in ((lambda: path.write_text("00" * 32), "another key"), (path.unlink, "no key")):
        change()
        done = llm("verify", "out.txt")
        assert done.code == 69 and str(path) in done.err
        assert said in done.out and "changed" not in done.out
        assert llm("verify", "out.txt", "--repeat", "--text", QUESTION).code == 69
        assert states(done)[("output", "out.txt")] == states(done)[("prompt", "ask.documents")] == "ok"
    Path("out.txt").write_text("other\n")
    assert llm("verify", "out.txt").code == 1


def test_several_outputs_are_checked_at_once(llm, notes):
    """Each translation of several has a statement about it alone; one that is changed does not hide others."""
    Path("more.txt").write_text("Good morning.\n")
    done = llm(
        "translate", "--to", "fr", "--to", "de", "notes.txt", "more.txt", "--provenance", "-o", "out", "--from", "en"
    )
    assert done.code in {0, 3}
    outputs = sorted(str(each) for each in Path("out").rglob("*.txt"))
    assert len(outputs) == 4
    for output in outputs:
        predicate = json.loads(Path(f"{output}.provenance.json").read_text())["predicate"]
        assert predicate["parameters"]["files"] == [each["name"] for each in predicate["inputs"]] == [Path(output).name]
        assert len(predicate["parameters"]["to"]) == 1
    assert llm("verify", *outputs).code == 0
    Path(outputs[1]).write_text("changed")
    found = llm("verify", *outputs)
    assert found.code == 1 and [key for key, state in states(found).items() if state == "changed"] == [
        ("output", outputs[1])
    ]
    assert llm("verify", outputs[0], "missing.txt").code == 66


def test_a_result_as_json_has_the_statement_in_a_field(llm, notes):
    """Without -o; verify reads it from a file or a pipe, also formatted anew."""
    done = llm("ask", "-f", "notes.txt", QUESTION, "--json", "--provenance", answer=lambda _: "At nine.")
    result = json.loads(done.out)
    assert result["provenance"]["predicateType"] == "urn:x-llmcli:provenance:v1"
    Path("result.json").write_text(json.dumps(result, indent=2))
    assert llm("verify", "result.json").code == 0
    assert llm("verify", "-", stdin=done.out.encode()).code == 0
    result["text"] = "At ten."
    Path("result.json").write_text(json.dumps(result))
    assert llm("verify", "result.json").code == 1
    Path("more.txt").write_text("Good morning.\n")
    words = ["summarize", "notes.txt", "more.txt", "--style", "paragraph", "--json", "--provenance"]
    both = llm(*words, answer=lambda _: "It opens at nine.")
    assert llm("verify", "-", stdin=both.out.encode()).code == 0 and both.out.count("urn:x-llmcli") == 2


@pytest.mark.parametrize("more", [[], ["-o", "/dev/stdout"], ["-o", "-"]])
def test_an_output_without_a_name_is_refused(llm, notes, more):
    """Exit 2 before a model is loaded; the setting alone refuses nothing."""
    refused = llm("ask", "-f", "notes.txt", QUESTION, "--provenance", *more)
    assert (refused.code, refused.out, refused.backend) == (2, "", None)
    assert "Add -o FILE" in refused.err
    done = llm("ask", "-f", "notes.txt", QUESTION, *more, env={"LLMCLI_PROVENANCE": "on"}, answer=lambda _: "At nine.")
    assert done.code == 0 and done.out == ("" if "/dev/stdout" in more else "At nine.\n")


def test_an_indexed_directory_is_named(llm, notes):
    """The index was read, so only files that fit the context as a whole were read again and are listed."""
    Path("docs").mkdir()
    Path("docs/a.txt").write_text(TEXT)
    assert llm("index", "add", "docs").code == 0
    assert llm("ask", "--index", "docs", QUESTION, "--provenance", "-o", "out.txt").code == 0
    done = llm("verify", "out.txt")
    assert done.code == 0 and states(done)[("input", "docs")] == "unchecked"


def test_a_command_that_describes_nothing_is_no_command_of_a_statement(answer, llm):
    """So a changed statement cannot make --repeat run a chat or anything else that leaves traces."""
    answer()
    path = Path("out.txt.provenance.json")
    for name in ("chat", "config", "worker", "rm"):
        changed = json.loads(path.read_text())
        changed["predicate"]["command"] = name
        changed["predicate"].pop("mac", None)
        path.write_text(json.dumps(changed))
        assert llm("verify", "out.txt", "--repeat").code == 65


def test_records_need_a_file(llm, notes):
    """A statement is about a whole job."""
    refused = llm("sentiment", "notes.txt", "--json", "--provenance", answer={"positive": -1.0})
    assert refused.code == 2 and refused.backend is None


def test_a_job_has_a_statement_when_it_is_complete(llm, notes):
    """Not while records are left; the one at its end counts those of earlier runs, and has the rows of all."""
    scores = {"positive": -0.1, "neutral": -3.0, "negative": -4.0}
    Path("rows.csv").write_text("text\n" + "".join(f"canary {number}\n" for number in range(6)))
    words = ["sentiment", "rows.csv", "--column", "text", "-o", "out.csv", "--provenance"]

    def stop_at(request):
        text = request.messages[-1].content if request.messages else ""
        return OSError("x") if "canary 4" in text and not Path("goes-on").exists() else scores

    failed = llm(*words, "--on-error", "fail", answer=stop_at)
    assert failed.code != 0 and not Path("out.csv.provenance.json").exists()
    Path("goes-on").touch()
    assert llm(*words, "--on-error", "fail", "--resume", answer=stop_at).code == 0
    predicate = json.loads(Path("out.csv.provenance.json").read_text())["predicate"]
    assert predicate["outcome"]["results"] == 6 and predicate["parameters"]["column"] == ["text"]
    assert "anary" not in json.dumps(predicate)
    assert llm("verify", "out.csv").code == 0


def test_the_setting_writes_it_too(llm, notes):
    """As --provenance does."""
    assert llm("ask", QUESTION, "-o", "out.txt", env={"LLMCLI_PROVENANCE": "on"}).code == 0
    assert Path("out.txt.provenance.json").exists()
    assert llm("ask", QUESTION, "-o", "other.txt").code == 0
    assert not Path("other.txt.provenance.json").exists()


def test_nothing_is_stated_about_what_was_not_written(llm, notes):
    """A run that fails leaves the earlier output, and no statement."""
    Path("out.txt").write_text("earlier")
    failed = llm("ask", QUESTION, "-o", "out.txt", "--provenance", answer=lambda _: OSError("x"))
    assert failed.code != 0 and not Path("out.txt.provenance.json").exists()


def test_standard_input_is_an_input(llm, notes):
    """It is not kept, so it is checked when it is given again; the same for records, which are read as they arrive."""
    data = TEXT.encode()
    scores = {"positive": -0.1, "neutral": -3.0, "negative": -4.0}
    runs = [(["summarize"], {"answer": lambda _: "A workshop."}), (["sentiment"], {"answer": lambda _: scores})]
    for words, how in runs:
        assert llm(*words, "--provenance", "-o", "out.txt", stdin=data, **how).code == 0
        assert states(llm("verify", "out.txt"))[("input", "standard input")] == "unchecked"
        assert states(llm("verify", "out.txt", "--text", "-", stdin=data))[("input", "standard input")] == "ok"
        wrong = llm("verify", "out.txt", "--text", "-", stdin=b"other")
        assert wrong.code == 1 and states(wrong)[("input", "standard input")] == "changed"
    assert llm("verify", "-", "--text", "-").code == 2


def test_what_was_cut_is_counted(llm, notes):
    """By the kind of the reason."""
    cut = scripted.Reply("one two", reason=FinishReason.LENGTH)
    done = llm("ask", QUESTION, "--provenance", "-o", "out.txt", answer=lambda _: cut)
    predicate = json.loads(Path("out.txt.provenance.json").read_text())["predicate"]
    assert done.code == 3 and predicate["outcome"] == {"results": 1, "cut": {"AnswerCut": 1}}


def test_private_values_of_servers_are_counted(llm, notes, server):
    """What was replaced before sending, and which server and model answered; no key and no value."""
    env = {"LLMCLI_API_KEY": "sk-canary"}
    server.key = "sk-canary"
    Path("letter.txt").write_text("Write to canary@example.org or canary.two@example.org.")
    words = ["summarize", "letter.txt", "--redact", "--base-url", server.url, "-m", "big", "--style", "paragraph"]
    done = llm(*words, "--provenance", "-o", "out.txt", env=env)
    assert done.code in {0, 3}, done.err
    written = Path("out.txt.provenance.json").read_text()
    predicate = json.loads(written)["predicate"]
    assert predicate["outcome"]["redacted"] == {"email": 2}
    assert predicate["server"]["models"] == ["big"] and predicate["server"]["origin"] in server.url
    assert "canary" not in written.lower()
    assert states(llm("verify", "out.txt"))[("server", predicate["server"]["origin"])] == "unchecked"


# ---- --repeat --------------------------------------------------------------------------------------------------------


def test_a_run_is_repeated(answer, llm):
    """With the same options and settings; the same output is ok, another one is shown as a difference (exit 1)."""
    answer("--max-tokens", "50", env={"LLMCLI_CTX": "512"}, answer=lambda _: "At nine.")
    done = llm("verify", "out.txt", "--repeat", "--text", QUESTION, answer=lambda _: "At nine.")
    assert (done.code, states(done)[("repeated", "out.txt")]) == (0, "ok")
    assert llm.options.ctx == 512
    differs = llm("verify", "out.txt", "--repeat", "--text", QUESTION, answer=lambda _: "At ten.")
    assert differs.code == 1 and "-At nine.\n+At ten.\n" in differs.out and "not --deterministic" in differs.out
    as_json = llm("verify", "--json", "out.txt", "--repeat", "--text", QUESTION, answer=lambda _: "At ten.")
    assert "+At ten." in json.loads(as_json.out.splitlines()[-1])["difference"]
    assert sorted(each.name for each in Path().iterdir() if each.is_file()) == [
        "notes.txt",
        "out.txt",
        "out.txt.provenance.json",
    ]


def test_a_result_as_json_is_repeated(llm, notes):
    """Apart from times."""
    done = llm("ask", "-f", "notes.txt", "When?", "--json", "--provenance", answer=lambda _: "At nine.")
    Path("result.json").write_text(done.out)
    assert llm("verify", "result.json", "--repeat", "--text", "When?", answer=lambda _: "At nine.").code == 0
    assert llm("verify", "result.json", "--repeat", "--text", "When?", answer=lambda _: "At ten.").code == 1


def test_a_repeat_needs_the_texts_and_unchanged_files(answer, llm):
    """Exit 2 names the texts to give; after a change nothing is repeated."""
    answer("-s", "Be short.")
    refused = llm("verify", "out.txt", "--repeat")
    assert refused.code == 2 and "PROMPT, --system" in refused.err and refused.backend is None
    Path("notes.txt").write_text("other")
    changed = llm("verify", "out.txt", "--repeat", "--text", QUESTION, "--text", "Be short.")
    assert changed.code == 1 and states(changed)["repeated", "out.txt"] == "unchecked" and changed.backend is None


def test_an_interrupted_repeat_ends_as_interrupted(answer, llm):
    """It is no failure of the run."""
    answer()

    def interrupt(_):
        os.kill(os.getpid(), signal.SIGINT)
        return "At nine."

    stopped = llm("verify", "out.txt", "--repeat", "--text", QUESTION, answer=interrupt)
    assert stopped.code == 130 and stopped.err == ""


def test_a_repeat_writes_no_file_that_a_statement_names(answer, llm):
    """Another program may have written the statement."""
    answer(answer=lambda _: "At nine.")
    beside = Path("out.txt.provenance.json")
    statement = json.loads(beside.read_text())
    statement["predicate"]["parameters"]["output"] = "other.txt"
    del statement["predicate"]["mac"]
    beside.write_text(json.dumps(statement))
    again = llm("verify", "out.txt", "--repeat", "--text", QUESTION, answer=lambda _: "At nine.")
    assert again.code == 0 and not Path("other.txt").exists()


def test_strange_names_in_a_statement_are_missing_files(answer, llm):
    """A device would be read for ever."""
    answer()
    beside = Path("out.txt.provenance.json")
    statement = json.loads(beside.read_text())
    del statement["predicate"]["mac"]
    for name in ("/dev/zero", "a\0b", "."):
        statement["predicate"]["inputs"][0]["name"] = name
        beside.write_text(json.dumps(statement))
        run = llm("verify", "out.txt")
        assert run.code == 66 and "missing\tinput" in run.out


def test_what_has_no_statement_is_named(answer, llm):
    """A directory, and standard input; text from a pipe that the run did not read."""
    answer()
    assert "is a directory" in llm("verify", ".").err.lower() and llm("verify", ".").code == 66
    piped = llm("verify", "-", stdin=b"text\n")
    assert piped.code == 65 and "standard input: no result in it has a statement" in piped.err
    unused = llm("verify", "out.txt", "--text", "-", stdin=b"text\n")
    assert unused.code == 1 and states(unused)["text", "--text -"] == "changed"


def test_what_a_repeat_cannot_do_is_said(llm, notes):
    """A saved chat goes on, and an earlier version of an output is overwritten."""
    assert llm("ask", "--session", "trip", "Where?", "--provenance", "-o", "out.txt").code == 0
    refused = llm("verify", "out.txt", "--repeat", "--text", "Where?", "--text", "trip")
    assert refused.code == 2 and "saved chat" in refused.err
    body = {"messages": [{"role": "user", "content": "hi"}]}
    request = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    Path("requests.jsonl").write_text(json.dumps(request) + "\n")
    assert llm("run-batch", "-i", "requests.jsonl", "--provenance", "-o", "answers.jsonl").code == 0
    assert llm("verify", "answers.jsonl").code == 0
    batch = llm("verify", "answers.jsonl", "--repeat")
    assert batch.code == 2 and "random ids" in batch.err


def test_a_repeat_writes_no_other_file(llm, notes):
    """Neither a report, nor the translation memory, nor a statement."""
    words = ["translate", "--to", "fr", "--from", "en", "notes.txt", "--report", "report.json"]
    assert llm(*words, "--provenance", "-o", "out.txt").code in {0, 3}
    Path("report.json").unlink()
    before = {each: each.read_bytes() for each in Path("home/data").rglob("*") if each.is_file()}
    done = llm("verify", "out.txt", "--repeat")
    assert states(done)[("repeated", "out.txt")] == "ok"
    assert not Path("report.json").exists()
    assert {each: each.read_bytes() for each in Path("home/data").rglob("*.sqlite")} == {
        each: data for each, data in before.items() if each.suffix == ".sqlite"
    }


def test_statements_are_no_documents_of_their_directory(llm, notes):
    """A directory of outputs is translated and asked about as its documents are; a statement can be named."""
    Path("docs").mkdir()
    assert llm("ask", "-f", "notes.txt", "--provenance", "-o", "docs/a.txt", QUESTION).code == 0
    assert Path("docs/a.txt.provenance.json").exists()
    assert llm("translate", "--pseudo", "accents", "docs", "-o", "out").code == 0
    assert [path.name for path in Path("out").iterdir()] == ["a.txt"]
    assert "urn:x-llmcli" not in scripted.last_message(llm("ask", "-f", "docs", QUESTION).backend.requests[-1])
    assert llm("ask", "-f", "docs/a.txt.provenance.json", QUESTION).code == 0
