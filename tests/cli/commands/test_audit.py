"""``llm audit``: planted shifts are found, fair models pass, and what cannot be compared is said."""

from __future__ import annotations

import json
import math
import random
import re

import pytest
from scripted import Reply, last_message

from llmcli.errors import InternalError
from llmcli.tasks.audit.swap_file import parse_swap_file, read_bundled, read_templates
from llmcli.types import FinishReason

NAMES = {group.name: group.words["person"] for group in parse_swap_file(read_bundled("names"), "names").groups}
BLACK_MEN = re.compile(rf"\b({'|'.join(NAMES['Black men'])})\b")
TEMPLATES = read_templates().encode()
CLASSIFY = ("audit", "classify", "--labels", "yes,no", "--swap", "names")
TEMPERATURE = 1.5
"""That of the prompt's labels, so that probabilities are those that the script says."""
PEOPLE = "groups:\n  a: {words: {person: [Emily]}}\n  b: {words: {person: [Lakisha]}}\n"


def scripted_model(shift=0.0, noise=0.05):
    """Return the answers of a model whose probability of yes is .5 with noise, and shifted for Black men."""

    def answer(request):
        text = last_message(request).rpartition("Text: ")[2]
        if "boom" in text:
            return InternalError(detail="boom")
        share = 0.5 + random.Random(text).gauss(0, noise) + (shift if BLACK_MEN.search(text) else 0.0)
        share = min(max(share, 0.01), 0.99)
        return {each: TEMPERATURE * math.log(share if each == "yes" else 1 - share) for each in request.candidates}

    return answer


def rows(run):
    """Return the tab-separated cells of the table."""
    return [line.split("\t") for line in run.out.splitlines()]


def test_a_planted_shift_is_found_and_fails_the_check(llm):
    """The exit code is 1, and standard error names the group."""
    run = llm(*CLASSIFY, "--fail-above", "0.05", stdin=TEMPLATES, answer=scripted_model(0.1))
    assert run.code == 1 and "larger than 0.05: Black men: yes +0.1" in run.err
    found = {(measure, group): cells for measure, group, *cells in rows(run)}
    assert len(found) == 16 and found["yes", "Black men"][0] == "50"
    pairs, _mean, shift, low, high, p, flips = map(float, found["yes", "Black men"])
    assert low < 0.1 < high and abs(shift - 0.1) < 0.03 and p < 0.05 and flips > 0 and pairs == 50
    assert float(found["no", "Black men"][2]) == pytest.approx(-shift)


def test_a_fair_model_passes(llm):
    """With the same noise, exit code 0 and nothing on standard error."""
    run = llm(*CLASSIFY, "--fail-above", "0.05", stdin=TEMPLATES, answer=scripted_model())
    assert (run.code, run.err) == (0, "") and all(float(cells[7]) >= 0.05 for cells in rows(run))


def test_a_shift_without_a_limit_is_no_failure(llm):
    """The table is the answer."""
    assert llm(*CLASSIFY, stdin=TEMPLATES, answer=scripted_model(0.1)).code == 0


def test_few_inputs_are_not_called_fair(llm):
    """Where the intervals go beyond the limit, a warning says that the inputs are too few."""
    run = llm(
        *CLASSIFY, "--fail-above", "0.01", stdin=b"{person} called.\n{person} paid.\n", answer=scripted_model(0.1)
    )
    assert run.code == 0 and "the inputs are too few to tell" in run.err


def test_all_texts_are_one_batch_and_the_same_text_is_answered_once(llm, write):
    """In the order of the inputs, so that prompts share their beginnings up to the word that differs."""
    lines = b"We saw {person}.\nNo slot here.\nWe saw {person}.\n"
    swaps = write("people.yaml", PEOPLE)
    argv = ("audit", "classify", "--labels", "yes,no", "--swap", f"@{swaps}", "-v")
    assert llm(*argv, stdin=lines, answer=scripted_model()).code == 0  # measures the prior
    run = llm(*argv, stdin=lines, answer=scripted_model())
    texts = [last_message(request).rpartition("Text: ")[2].split("\n")[0] for request in run.backend.requests]
    assert texts == ["We saw Emily.", "We saw Lakisha."] and run.backend.jobs == 1
    assert run.code == 0 and "1 input left out (no word to swap)" in run.err
    assert [cells[2] for cells in rows(run)] == ["2"] * 4


def test_json_has_everything(llm):
    """One object: what was compared, each shift, the flips and the tokens of all requests."""
    run = llm(*CLASSIFY, "--json", "--reference", "white women", stdin=TEMPLATES, answer=scripted_model(0.1))
    found = json.loads(run.out)
    assert (found["inputs"], found["answers"], found["failed"], found["swaps"]) == (50, 400, 0, "names")
    (black,) = (each for each in found["shifts"] if (each["measure"], each["group"]) == ("yes", "Black men"))
    assert black["significant"] and abs(black["shift"] - 0.1) < 0.03 and black["low"] < black["shift"] < black["high"]
    (reference,) = (each for each in found["shifts"] if (each["measure"], each["group"]) == ("yes", "white women"))
    assert reference["shift"] is None and reference["mean"] > 0 and found["reference"] == "white women"
    assert [each["group"] for each in found["flips"]] == [*NAMES] and found["usage"]["prompt_tokens"] > 400
    assert found["largest"][0]["name"].startswith("line ") and found["model"] and found["prompt"] == "classify"


def test_pairs_that_would_not_agree_are_dropped_and_counted(llm):
    """The others of the same input stay."""
    lines = b"Emily lost her parcel.\nEmily and Jamal called.\nEmily called.\n"
    run = llm(*CLASSIFY, "-v", stdin=lines, answer=scripted_model())
    assert "1 input left out (words of several groups), 4 pairs dropped (a pronoun is ambiguous)" in run.err
    pairs = {cells[1]: cells[2] for cells in rows(run)}
    assert (pairs["white women"], pairs["white men"]) == ("2", "1")


def test_a_report_and_a_chart_are_written(llm, tmp_path):
    """The report has the sources of the words, the table and the limits of an audit; the chart names the groups."""
    report, chart = tmp_path / "audit.md", tmp_path / "audit.svg"
    run = llm(*CLASSIFY, "--report", str(report), "--plot", str(chart), stdin=TEMPLATES, answer=scripted_model(0.1))
    assert run.code == 0
    text = report.read_text()
    assert "Bertrand and Mullainathan (2004)" in text and "## What this audit cannot show" in text
    assert re.search(r"\| yes \| Black men \| 50 \| 0\.\d+ \| \+0\.\d+ \| .* \| 0\.\d+ \* \| \d+/50 \|", text)
    svg = chart.read_text()
    assert svg.startswith("<svg ") and svg.count("Black men *") == 2 and "white women" in svg


def test_an_audit_has_a_statement_that_verify_checks(llm, write, tmp_path, monkeypatch):
    """The texts, the words and the model; --repeat audits again, writes no report, and prints the differences."""
    monkeypatch.chdir(tmp_path)
    write("people.yaml", PEOPLE)
    write("texts.txt", "We saw {person}.\nThey called {person}.\n")
    words = ("audit", "classify", "--labels", "yes,no", "--swap", "@people.yaml", "texts.txt")
    done = llm(*words, "--report", "a.md", "--provenance", "-o", "a.tsv", answer=scripted_model())
    assert done.code == 0, done.err
    predicate = json.loads((tmp_path / "a.tsv.provenance.json").read_text())["predicate"]
    assert predicate["command"] == "audit classify" and predicate["parameters"]["swap"] == "@people.yaml"
    assert {each["name"] for each in predicate["inputs"]} == {"texts.txt", "people.yaml"}
    (tmp_path / "a.md").unlink()
    again = llm("verify", "a.tsv", "--repeat", "--text", "yes,no", answer=scripted_model())
    assert again.code == 0 and "ok\trepeated\ta.tsv" in again.out and not (tmp_path / "a.md").exists()
    other = llm("verify", "a.tsv", "--repeat", "--text", "yes,no", answer=scripted_model(noise=0.2))
    assert other.code == 1 and "the run was not --deterministic" in other.out and "\n+yes\ta\t2\t" in other.out
    write("people.yaml", PEOPLE.replace("Emily", "Anne"))
    changed = llm("verify", "a.tsv")
    assert changed.code == 1 and "changed\tinput\tpeople.yaml" in changed.out


def test_a_failed_text_is_reported_and_the_rest_is_compared(llm):
    """The exit code is 3, as for records."""
    run = llm(*CLASSIFY, stdin=TEMPLATES + b"boom, said {person}.\n", answer=scripted_model())
    assert run.code == 3 and run.err.count("line 51 (") >= 6 and "(Black men)" in run.err
    assert rows(run)[0][2] == "50"


def test_filter_and_sentiment_have_their_own_measures(llm):
    """The probability of the statement, and those of the labels of the prompt file."""

    def answer(request):
        return dict.fromkeys(request.candidates, -1.0)

    run = llm("audit", "filter", "it is about money", "--swap", "titles", stdin=TEMPLATES, answer=answer)
    assert {cells[0] for cells in rows(run)} == {"match"} and run.code == 0
    run = llm("audit", "sentiment", "--swap", "ages", stdin=TEMPLATES, answer=answer)
    assert {cells[0] for cells in rows(run)} == {"positive", "neutral", "negative"}


def test_a_calibration_is_audited(llm, write):
    """The probabilities are those of the calibration: it inverts what the model says."""
    labelled = write("rows.csv", "text,label\n" + "".join(f"fine {n},no\npoor {n},yes\n" for n in range(20)))

    def answer(request):
        text = last_message(request).rpartition("Text: ")[2]
        share = 0.9 if "fine" in text or BLACK_MEN.search(text) else 0.1
        return {each: math.log(share if each == "yes" else 1 - share) for each in request.candidates}

    plain = llm(*CLASSIFY, stdin=TEMPLATES, answer=answer)
    run = llm(*CLASSIFY, "--calibrate", labelled, stdin=TEMPLATES, answer=answer)
    shift = {cells[1]: float(cells[4]) for cells in rows(run) if cells[0] == "yes"}["Black men"]
    assert shift < -0.4 < 0.4 < {cells[1]: float(cells[4]) for cells in rows(plain) if cells[0] == "yes"}["Black men"]


def test_free_answers_have_refusals_length_and_sentiment(llm):
    """The sentiment is that of llm sentiment for the answer."""

    def answer(request):
        said = last_message(request)
        if request.candidates:
            return {
                each: 0.0 if each == ("negative" if "sorry" in said else "positive") else -9.0
                for each in request.candidates
            }
        return "I'm sorry, I cannot answer that." if BLACK_MEN.search(said) else "Give the person a very good answer."

    run = llm("audit", "ask", "What next?", "--swap", "names", "--fail-above", "0.5", stdin=TEMPLATES, answer=answer)
    found = {(measure, group): [*map(float, cells)] for measure, group, *cells in rows(run)}
    assert run.code == 1 and {measure for measure, _ in found} == {"refused", "length", "sentiment"}
    assert found["refused", "Black men"][1:3] == [1.0, 1.0] and found["refused", "white men"][1] == 0.0
    assert found["sentiment", "Black men"][2] < -0.9 and found["length", "Black men"][2] < 0


def test_an_answer_that_was_cut_is_an_incomplete_audit(llm):
    """Its length is that of the limit, so that the exit code is 3."""

    def answer(request):
        cut = Reply("Well", reason=FinishReason.LENGTH)
        return dict.fromkeys(request.candidates, -1.0) if request.candidates else cut

    run = llm("audit", "ask", "--swap", "pronouns", stdin=b"{person} said {they} called.\n", answer=answer)
    assert run.code == 3 and len(rows(run)) == 9 and "cut" in run.err


def test_a_prompt_of_the_users_own_is_audited(llm, write):
    """The question is the prompt's; --system and --var are those of llm ask."""
    prompt = write("advice.yaml", 'description: d\nuser: "Advise: {{ text }}"\n')
    answers = {"candidates": lambda request: dict.fromkeys(request.candidates, -1.0)}

    def answer(request):
        return answers["candidates"](request) if request.candidates else "Well."

    run = llm(
        "audit",
        "ask",
        "-p",
        prompt,
        "-s",
        "Be brief.",
        "--swap",
        "pronouns",
        stdin=b"{person} is ill.\n",
        answer=answer,
    )
    asked = [request for request in run.backend.requests if not request.candidates]
    assert [last_message(each) for each in asked] == [
        "Advise: Alex is ill."
    ]  # one text: she, he and they are the same here
    assert run.code == 0 and "Be brief." in asked[0].messages[0].content


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("--swap", "nobody"), 66, "nobody"),
        (("--swap", "@missing.yaml"), 66, "missing.yaml"),
        (("--swap", "@"), 2, "--swap names no file"),
        (("--swap", "@one.yaml"), 65, "one.yaml: there is 1 group; words are swapped between two or more"),
        (("--swap", "@key.yaml"), 65, "key.yaml: the file: unknown key goups"),
        (("--swap", "@broken.yaml"), 65, "broken.yaml, line 1: "),
        (("--swap", "names", "--reference", "nobody"), 2, "names has no such group"),
        (("--swap", "names", "--plot", "a.jpg"), 2, "must end in .svg or .png"),
        (("--swap", "names", "--report", "texts.txt"), 2, "texts.txt"),
        (("--swap", "names", "--report", "-"), 2, "--report needs the name of a file"),
        (("--swap", "names", "--report", "missing/audit.md"), 73, "missing/audit.md"),
        (("--swap", "names", "--plot", "missing/audit.svg"), 73, "missing/audit.svg"),
        (("--swap", "names", "--report", "."), 73, "."),
        (("--swap", "names"), 65, "nothing in the input can be swapped by names: no input has a word of it"),
    ],
)
def test_bad_options_and_inputs(llm, tmp_path, monkeypatch, argv, code, words):
    """One line says what is wrong, before any model is loaded."""
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "texts.txt": "Nobody called.\n",
        "one.yaml": "groups: {a: {words: {person: [Emily]}}}\n",
        "key.yaml": "goups: {}\n",
        "broken.yaml": "groups: [",
    }.items():
        (tmp_path / name).write_text(text)
    run = llm("audit", "sentiment", "texts.txt", *argv)
    assert run.code == code and words in run.err.splitlines()[0] and run.out == "" and run.backend is None
    assert "--format" not in run.err


def test_the_words_are_listed_and_shown(llm):
    """As a file that --swap reads again."""
    assert [line.split("\t")[0] for line in llm("audit").out.splitlines()] == [
        *("ages", "names", "origins", "pronouns", "titles", "templates"),
    ]
    assert llm("audit", "show", "templates").out.encode() == TEMPLATES
    assert parse_swap_file(llm("audit", "show", "names").out, "names").groups[0].name == "white women"
    assert llm("audit", "show", "nobody").code == 66


def test_a_group_that_is_given_twice_is_refused(llm, tmp_path):
    """With the line, before a model is loaded: the first one would be dropped."""
    words = tmp_path / "twice.yaml"
    words.write_text("groups:\n  a: {words: {x: [Ann]}}\n  b: {words: {x: [Bo]}}\n  a: {words: {x: [Cy]}}\n")
    run = llm("audit", "sentiment", "--swap", f"@{words}", stdin=b"Ann is late.\n")
    assert (run.code, run.out, run.backend) == (65, "", None) and "twice.yaml, line 4: a is given twice" in run.err


def test_a_report_says_which_shift_the_inputs_could_have_found(llm, tmp_path):
    """First where that is larger than 0.1 or where no shift could be found, as with two inputs; else below the shifts."""
    report = tmp_path / "report.md"

    def lines(stdin, noise):
        run = llm(*CLASSIFY, "--json", "--report", str(report), stdin=stdin, answer=scripted_model(noise=noise))
        assert run.code == 0
        shown = [line for line in report.read_text().splitlines() if line.startswith("- ")]
        return shown, json.loads(run.out)["detectable"]

    shown, size = lines(b"{person} called.\n{person} paid.\n", 0.05)
    assert size is None and shown[0].startswith("- These inputs are too few: ") and "a power of 80%" in shown[0]
    shown, size = lines(TEMPLATES, 0.3)
    assert size > 0.1 and shown[0].startswith(f"- These inputs could have found a shift of {size:.3f} or more")
    shown, size = lines(TEMPLATES, 0.05)
    assert (
        0 < size < 0.1 and shown[0].startswith("- Model: ") and any(f"a shift of {size:.3f}" in each for each in shown)
    )
