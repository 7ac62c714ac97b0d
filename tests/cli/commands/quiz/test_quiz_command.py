"""``llm quiz``: decks are made, asked on a terminal, scored in a pipe, exported, imported."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from scripted import last_message, score_words
from source_files import make_pdf
from terminal import ended

from llmcli.fast_dataclass import replace
from llmcli.tasks.quiz.card import Card, CardKind, Level, deck_text, order_card, read_deck
from llmcli.tasks.quiz.deck_exchange import card_sides
from llmcli.tasks.quiz.review_log import reviews_path

TEXT = """Gregor Mendel sowed peas in 1856 in the garden of a monastery in Brno.
Nicolaus Copernicus drew the orbits of planets around the sun in 1543 in Frombork.
"""
QUOTE = {"text": "Peas were sown in 1856.", "start": 0, "end": 23, "source": "a.txt", "page": None, "last_page": None}
QUOTE |= {"first_line": 1, "last_line": 1}
CARDS = [
    Card(CardKind.CHOICE, "When were peas sown?", "1856", ("1543", "1856"), level=Level.EASY, quote=QUOTE),
    Card(CardKind.CLOZE, "Peas were s____ in 1856.", "sown", level=Level.HARD, quote=QUOTE),
    order_card("Put in order", ("dig", "sow", "water"), ("sow", "water", "dig"), level=Level.HARD),
]
ANSWERS = "2\nsown\n3 1 2\n"


@pytest.fixture
def deck(tmp_path):
    """Return a deck of three cards."""
    path = tmp_path / "deck.jsonl"
    path.write_text(deck_text(CARDS))
    return str(path)


def names(request):
    """Be surprised by names and years, and more by those in a wrong place."""
    if not request.candidates:
        return last_message(request)
    told = " ".join(TEXT.split())

    def bits(candidate):
        stands = " ".join(f"{request.prompt}{candidate}".split())[-60:] in told
        return lambda token: (9.0 if token[:1].isupper() or token.isdigit() else 1.0) + 20.0 * (not stands)

    return tuple(score_words(each, bits(each)) for each in request.candidates)


def make(llm, write, *argv, text=TEXT, **how):
    return llm("quiz", "make", write("notes.txt", text), *argv, **{"answer": names, "token_scores": True, **how})


def test_make_writes_a_deck(llm, write, tmp_path):
    """One card a line, with -o in a file; the note says how many sentences gave none."""
    run = make(llm, write, "-o", str(tmp_path / "deck.jsonl"), "-v")
    assert (run.code, run.out) == (0, "")
    cards = read_deck("deck", (tmp_path / "deck.jsonl").read_text())
    assert {card.quote["first_line"] for card in cards} == {1, 2} and "2 cards of 2 sentences" in run.err
    assert read_deck("deck", make(llm, write).out) == cards


def test_the_quote_of_a_pdf_has_its_page(llm, write):
    """And the card says where it stands."""
    run = llm("quiz", "make", write("notes.pdf", make_pdf(TEXT)), answer=names, token_scores=True)
    (card, *_) = read_deck("deck", run.out)
    assert card.quote["page"] == 1 and card.place.endswith("notes.pdf, p. 1")


def test_a_document_without_prose_gives_3_and_no_deck(llm, write, tmp_path):
    """Nothing with code 0 is empty."""
    run = make(llm, write, "-o", str(tmp_path / "deck.jsonl"), text="# Title\n\nx = 1\n")
    assert (run.code, run.out) == (3, "") and "no sentence" in run.err and not (tmp_path / "deck.jsonl").exists()


ROWS = "name,year,text\nMendel,1856,Gregor Mendel sowed peas in 1856 in the garden of a monastery in Brno.\n" * 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.csv", ROWS),
        ("rows.txt", ROWS),
        ("rows.jsonl", json.dumps({"text": TEXT.splitlines()[0]}) + "\n"),
        ("rows.log", json.dumps({"text": TEXT.splitlines()[0]}) + "\n"),
        ("one.json", json.dumps({"text": TEXT.splitlines()[0]}, indent=1)),
    ],
)
def test_rows_and_json_give_no_cards(llm, write, tmp_path, name, text):
    """In a directory they are left out, which one line says; if there is nothing else, the exit code is that of bad input."""
    (tmp_path / "docs").mkdir()
    write(f"docs/{name}", text)
    refused = llm("quiz", "make", str(tmp_path / "docs"), answer=names, token_scores=True)
    assert (refused.code, refused.out, refused.backend) == (65, "", None)
    assert f"{name}: cards come from prose" in refused.err and "llm quiz import" in refused.err
    write("docs/notes.txt", TEXT)
    run = llm("quiz", "make", "-v", str(tmp_path / "docs"), answer=names, token_scores=True)
    cards = read_deck("deck", run.out)
    assert run.code == 0 and {card.quote["source"].rpartition("/")[2] for card in cards} == {"notes.txt"}
    (said,) = (line for line in run.err.splitlines() if "left out" in line)
    assert said.startswith("llm: warning: 1 file of rows or JSON left out") and name in said


def test_prose_with_commas_is_no_table(llm, write):
    """Nor is a Markdown file that begins with a table, or a log."""
    text = "Peas, beans, and corn grow here.\nFigs, plums, and nuts do, too.\nRye, oats, and wheat need sun.\n"
    for name, start in (
        ("a.txt", text),
        ("b.md", "| a | b | c |\n| - | - | - |\n| 1 | 2 | 3 |\n\n"),
        ("c.log", "[1] Notes\n"),
    ):
        run = llm("quiz", "make", write(name, start + TEXT), answer=names, token_scores=True)
        assert run.code == 0 and run.err == "" and len(run.out.splitlines()) == 2


def test_a_deck_has_a_statement_that_verify_checks(llm, write, tmp_path, monkeypatch):
    """Its documents, prompts and model; --repeat makes it again, and says where it differs."""
    monkeypatch.chdir(tmp_path)
    run = make(llm, write, "--kind", "cloze", "--provenance", "-o", "deck.jsonl")
    assert run.code == 0, run.err
    predicate = json.loads((tmp_path / "deck.jsonl.provenance.json").read_text())["predicate"]
    assert predicate["command"] == "quiz make" and predicate["parameters"]["kind"] == ["cloze"]
    assert [each["name"].rpartition("/")[2] for each in predicate["inputs"]] == ["notes.txt"]
    assert "Mendel" not in json.dumps(predicate)
    again = llm("verify", "--repeat", "deck.jsonl", answer=names, token_scores=True)
    assert again.code == 0 and "ok\trepeated\tdeck.jsonl" in again.out
    (tmp_path / "notes.txt").write_text(TEXT + "More.\n")
    changed = llm("verify", "--repeat", "deck.jsonl", answer=names, token_scores=True)
    assert changed.code == 1 and "changed\tinput" in changed.out and "not everything is as it was" in changed.out


def test_the_provenance_setting_describes_a_deck(llm, write, tmp_path):
    """And a result as JSON has the statement in a field."""
    run = make(llm, write, "-o", str(tmp_path / "deck.jsonl"), env={"LLMCLI_PROVENANCE": "on"})
    assert run.code == 0 and (tmp_path / "deck.jsonl.provenance.json").exists()
    shown = make(llm, write, "--json", "--provenance")
    assert json.loads(shown.out)["provenance"]["predicate"]["command"] == "quiz make"
    assert llm("verify", "-", stdin=shown.out.encode()).code == 0
    refused = make(llm, write, "--provenance")
    assert (refused.code, refused.backend) == (2, None)


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_a_blank_document_is_empty(llm, write, text):
    """As for other commands, before a model is loaded; a pipe as well."""
    run = make(llm, write, text=text)
    assert (run.code, run.backend) == (65, None) and "notes.txt is empty" in run.err
    assert llm("quiz", "make", stdin=text.encode()).code == 65


def test_order_cards_need_a_list_of_steps(llm, write):
    """The note counts one card as one, and the error says what is missing."""
    steps = "# How to sow\n\n1. Loosen the soil.\n2. Sow the seeds.\n3. Water them.\n"
    assert "1 card of 1 sentence\n" in make(llm, write, "--kind", "order", "-v", text=steps).err
    refused = make(llm, write, "--kind", "order", text=steps.replace("How to sow", "Gardens"))
    assert refused.code == 3 and "numbered list of steps" in refused.err


def test_fewer_cards_than_were_asked_for_give_3(llm, write):
    """Those that there are are printed."""
    run = make(llm, write, "-n", "5")
    assert run.code == 3 and len(run.out.splitlines()) == 2 and "2 of 5 questions" in run.err
    assert make(llm, write, "-n", "1").code == 0


def test_answers_of_a_pipe_are_scored(llm, deck, tmp_path):
    """In the order of the deck, without a model and without a trace."""
    run = llm("quiz", "run", deck, stdin=ANSWERS.encode())
    assert run.code == 0 and [line.split("\t")[1] for line in run.out.splitlines()] == ["right"] * 3
    assert run.backend is None and [path.name for path in tmp_path.glob("*.jsonl")] == ["deck.jsonl"]


def test_missing_answers_give_3(llm, deck, write):
    """A blank line is no answer; too many are a mistake."""
    run = llm("quiz", "run", deck, "--answers", write("a.txt", "2\n\n"), "--json")
    assert run.code == 3 and [json.loads(line)["verdict"] for line in run.out.splitlines()] == ["right", "none", "none"]
    assert llm("quiz", "run", deck, stdin=b"1\n2\n3\n4\n").code == 2
    assert llm("quiz", "run", deck, "--no-stdin").code == 2


def test_answers_may_name_their_cards(llm, deck, write):
    """In any order; an id of no card is a mistake."""
    lines = "".join(json.dumps({"id": card.id, "answer": card.answer}) + "\n" for card in reversed(CARDS))
    run = llm("quiz", "run", deck, "--answers", write("a.jsonl", lines), "--json")
    assert run.code == 0 and all(json.loads(line)["verdict"] == "right" for line in run.out.splitlines())
    assert llm("quiz", "run", deck, "--answers", write("b.jsonl", '{"id": "x", "answer": "y"}\n')).code == 2
    twice = llm("quiz", "run", deck, "--answers", write("d.jsonl", lines + lines))
    assert (twice.code, twice.out) == (65, "") and f"card {CARDS[-1].id} is answered twice" in twice.err
    for line in ('{"id": "x"}', '{"id": ["x"], "answer": "y"}', '{"id": "x", "answer": {}}', "[]"):
        assert (
            llm(
                "quiz", "run", deck, "--answers", write("c.jsonl", f'{{"id": "{CARDS[0].id}", "answer": 2}}\n{line}\n')
            ).code
            == 65
        )


def test_the_model_is_asked_about_other_words(llm, deck):
    """A typed answer whose form is not the right one may be close."""
    run = llm("quiz", "run", deck, "--json", stdin=b"2\nseeded\n3 1 2\n", answer=lambda _: {"yes": -0.1, "no": -3.0})
    verdicts = [json.loads(line) for line in run.out.splitlines()]
    assert [each["verdict"] for each in verdicts] == ["right", "wrong", "right"]
    assert verdicts[1]["probability"] == 0.5  # as without an answer


def test_without_a_model_the_form_decides(llm, deck):
    """Which is said once."""
    run = llm("quiz", "run", deck, "--offline", stdin=b"2\nseeded\n3 1 2\n", env={"LLMCLI_MODEL": "smollm2-135m"})
    assert run.code == 0 and "wrong" in run.out and run.err.count("only their form counts") == 1


def test_kinds_and_levels_select_cards(llm, deck):
    """One that no card has is a mistake."""
    run = llm("quiz", "run", deck, "--level", "hard", "--kind", "cloze", stdin=b"sown\n")
    assert run.code == 0 and len(run.out.splitlines()) == 1
    assert llm("quiz", "run", deck, "--kind", "short", stdin=b"x\n").code == 2


def test_state_keeps_the_answers_of_a_script(llm, deck, tmp_path):
    """Show counts them, and rm removes them."""
    state = str(tmp_path / "anna.jsonl")
    first = json.loads(llm("quiz", "show", deck, "--json").out)
    assert (first["new"], first["reviews"], first["next"]) == (3, 0, None) and not reviews_path(deck).exists()
    missing = llm("quiz", "show", deck, "--state", state)
    assert missing.code == 66 and "cannot read" in missing.err and "Hub" not in missing.err
    assert llm("quiz", "run", deck, "--state", state, stdin=b"1\nsown\n3 1 2\n").code == 0
    values = json.loads(llm("quiz", "show", deck, "--state", state, "--json").out)
    assert (values["cards"], values["new"], values["learning"], values["reviews"], values["right"]) == (3, 0, 3, 3, 2)
    assert llm("quiz", "rm", deck, "--state", state).code == 2  # nobody to ask
    removed = llm("quiz", "rm", deck, "--state", state, "--yes", "--json")
    assert removed.code == 0 and json.loads(removed.out) == {"removed": [state], "answers": 3}
    assert not (tmp_path / "anna.jsonl").exists() and llm("quiz", "rm", deck, "--state", state, "--yes").code == 66


def test_the_decks_of_a_directory_are_listed(llm, deck, write, tmp_path, monkeypatch):
    """Also those without answers, by the command list and without one; other files of JSON Lines are none."""
    monkeypatch.chdir(tmp_path)
    assert llm("quiz").out == "deck.jsonl\t3\t3\t0\t0\t0\n"
    write("rows.jsonl", '{"text": "Peas."}\n')
    write("new.jsonl", deck_text(CARDS[:1]))
    assert llm("quiz", "run", "deck.jsonl", "--state", "deck.reviews.jsonl", stdin=ANSWERS.encode()).code == 0
    run = llm("quiz", "list")
    assert run.code == 0 and run.out == "deck.jsonl\t3\t0\t3\t0\t0\nnew.jsonl\t1\t1\t0\t0\t0\n"
    first = json.loads(llm("quiz", "--json").out.splitlines()[0])
    assert first == {"deck": "deck.jsonl", "cards": 3, "new": 0, "learning": 3, "known": 0, "due": 0}


def test_a_directory_without_decks_says_how_to_make_one(llm, tmp_path, monkeypatch, terminal):
    """On a terminal; in a pipe, the list is empty."""
    monkeypatch.chdir(tmp_path)
    assert (llm("quiz").code, llm("quiz").out) == (0, "")
    screen = terminal(columns=120)
    assert llm("quiz", out=screen.slave).code == 0
    assert "No deck is in this directory. To make one: llm quiz make FILE -o deck.jsonl" in screen.close()


def test_a_deck_that_cannot_be_read_is_listed_by_its_name(llm, deck, write, tmp_path, monkeypatch):
    """The others have their numbers, and the exit code is that of bad input."""
    monkeypatch.chdir(tmp_path)
    write("bad.jsonl", CARDS[0].to_line() + "{}\n")
    write("forgotten.jsonl", "no card\n")
    write("forgotten.reviews.jsonl", '{"version": 1}\n')
    run = llm("quiz", "list")
    assert [line.split("\t")[:2] for line in run.out.splitlines()] == [
        ["bad.jsonl", ""],
        ["deck.jsonl", "3"],
        ["forgotten.jsonl", ""],
    ]
    assert run.code == 65 and "bad.jsonl, line 2" in run.err and "forgotten.jsonl, line 1" in run.err


def test_answers_to_several_decks_are_removed_together(llm, deck, write, tmp_path, monkeypatch):
    """All or none; a file of answers belongs to one deck."""
    monkeypatch.chdir(tmp_path)
    write("new.jsonl", deck_text(CARDS))
    for name in ("deck", "new"):
        assert llm("quiz", "run", f"{name}.jsonl", "--state", f"{name}.reviews.jsonl", stdin=ANSWERS.encode()).code == 0
    assert llm("quiz", "rm", "--yes", "deck.jsonl", "none.jsonl").code == 66 and Path("deck.reviews.jsonl").exists()
    assert llm("quiz", "rm", "--yes", "deck.jsonl", "new.jsonl", "--state", "new.reviews.jsonl").code == 2
    removed = json.loads(llm("quiz", "rm", "--yes", "deck.jsonl", "new.jsonl", "deck.jsonl", "--json").out)
    assert removed == {"removed": ["deck.reviews.jsonl", "new.reviews.jsonl"], "answers": 6}
    assert Path("deck.jsonl").exists() and not list(tmp_path.glob("*.reviews.jsonl"))


def test_export_and_import(llm, deck, write, tmp_path):
    """Anki's file, Markdown, and a table that becomes a deck."""
    made = llm("quiz", "export", deck, "-o", str(tmp_path / "a.txt"), "--json")
    assert made.code == 0 and json.loads(made.out) == {"path": str(tmp_path / "a.txt"), "cards": 3}
    assert (tmp_path / "a.txt").read_text().startswith("#separator:tab\n")
    printed = llm("quiz", "export", deck).out
    assert printed.startswith("# Questions\n") and llm("quiz", "export", deck, "-o", "-").out == printed
    assert llm("quiz", "export", deck, "-o", str(tmp_path / "a.md")).code == 0
    assert (tmp_path / "a.md").read_text() == printed
    assert "question,answer" in llm("quiz", "import", write("bad.csv", "a,b\n1,2\n")).err
    cut = llm("quiz", "import", write("comma.csv", "question,answer\nWhere?,in Paris, France\n"))
    assert (cut.code, cut.out) == (65, "") and "line 2: 3 fields for 2 columns" in cut.err and "--format" not in cut.err
    run = llm("quiz", "import", write("words.csv", "question,answer\nHaus,house\n"))
    (card,) = read_deck("deck", run.out)
    assert (run.code, card.kind, card.answer) == (0, CardKind.SHORT, "house")


def read_notes(path):
    """Return the deck names, and per GUID the fields and the date, of an Anki package."""
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["collection.anki2", "media"] and json.loads(archive.read("media")) == {}
        path.with_suffix(".anki2").write_bytes(archive.read("collection.anki2"))
    with closing(sqlite3.connect(path.with_suffix(".anki2"))) as collection:
        assert collection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        decks = json.loads(collection.execute("SELECT decks FROM col").fetchone()[0])
        notes = collection.execute("SELECT guid, flds, tags, mod FROM notes").fetchall()
        assert collection.execute("SELECT count(*) FROM cards").fetchone() == (len(notes),)
    return {each["name"] for each in decks.values()}, {
        guid: (flds.split("\x1f"), tags, mod) for guid, flds, tags, mod in notes
    }


def test_a_package_for_anki_is_a_zip_archive_with_a_collection(llm, deck, tmp_path):
    """Its notes have the sides of the cards; the same deck gives the same bytes, and a name in capitals counts too."""
    package = tmp_path / "deck.apkg"
    made = llm("quiz", "export", deck, "-o", str(package), "--json")
    assert made.code == 0 and json.loads(made.out) == {"path": str(package), "cards": 3}
    names, notes = read_notes(package)
    assert Path(deck).stem in names and len(notes) == 3
    assert [fields for fields, _, _ in notes.values()] == [list(card_sides(card)) for card in CARDS]
    assert notes[next(iter(notes))][1].split() == [str(CARDS[0].kind), str(CARDS[0].level)]
    assert llm("quiz", "export", deck, "-o", str(tmp_path / "again.APKG")).code == 0
    assert (tmp_path / "again.APKG").read_bytes() == package.read_bytes()


def test_a_second_package_updates_the_notes_of_the_first(llm, deck, tmp_path):
    """A card whose level changed has the same GUID and a later date, so that Anki takes it."""
    os.utime(deck, (1_700_000_000, 1_700_000_000))
    llm("quiz", "export", deck, "-o", str(tmp_path / "a.apkg"))
    Path(deck).write_text("".join(replace(card, level=Level.EASY).to_line() for card in CARDS), encoding="utf-8")
    llm("quiz", "export", deck, "-o", str(tmp_path / "b.apkg"))
    (_, first), (_, second) = read_notes(tmp_path / "a.apkg"), read_notes(tmp_path / "b.apkg")
    assert first.keys() == second.keys() and first != second
    assert all(second[guid][2] > first[guid][2] == 1_700_000_000 for guid in first)


def test_a_card_with_separators_and_lone_surrogates_becomes_one_note(llm, write, tmp_path):
    """Anki separates fields by a control character."""
    card = Card(CardKind.SHORT, "What\x1fis \ud800 {{Back}} <b>?", "a\x1fb\0")
    run = llm("quiz", "export", write("odd.jsonl", json.dumps(card.to_json()) + "\n"), "-o", str(tmp_path / "odd.apkg"))
    assert run.code == 0
    ((fields, _, _),) = read_notes(tmp_path / "odd.apkg")[1].values()
    assert fields == ["What is ? {{Back}} &lt;b&gt;?", "<b>a b </b>"]


def test_without_genanki_the_extra_is_named(llm, deck, tmp_path, monkeypatch):
    """No file is written."""
    monkeypatch.setitem(sys.modules, "genanki", None)
    run = llm("quiz", "export", deck, "-o", str(tmp_path / "a.apkg"))
    assert run.code == 69 and "llmcli[anki]" in run.err and not (tmp_path / "a.apkg").exists()


def test_a_broken_deck_is_refused_with_its_line(llm, write):
    """The exit code is that of bad input."""
    run = llm("quiz", "run", write("deck.jsonl", CARDS[0].to_line() + "{}\n"), stdin=b"1\n")
    assert run.code == 65 and "line 2" in run.err and "version" in run.err and "--format" not in run.err


# ---- a terminal ------------------------------------------------------------------------------------------------------


def stored(tmp_path):
    lines = (tmp_path / "deck.reviews.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[1:]]


@pytest.mark.slow
def test_a_session_asks_by_keys_and_typed_answers(person, deck, tmp_path):
    """Each answer is in the file before the next question, and the exit code is 0."""
    child = person("quiz", "run", deck)
    child.expect("When were peas sown")
    child.expect("quit")
    child.send("2")
    child.expect("Right")
    child.expect("> ")
    assert [(each["verdict"], each["answer"], each["rating"]) for each in stored(tmp_path)] == [
        ("right", "1856", "good")
    ]
    child.sendline("/hnit")
    child.expect("> ")
    child.sendline("/HINT")
    child.expect("letters|begins")
    child.sendline("/quit")
    child.expect("1 of 1 right")
    assert ended(child) == 0 and len(stored(tmp_path)) == 1


@pytest.mark.slow
def test_a_wrong_answer_shows_the_source_and_may_be_overruled(person, deck, tmp_path):
    """The learner decides; what was wrong is taken back in the file."""
    child = person("quiz", "run", "--set", "worker=off", deck)
    child.expect("quit")
    child.send("1")
    child.expect("The answer: 1856")
    child.expect(r"\(a.txt, line 1\)")
    child.expect("I was right")
    assert [each["verdict"] for each in stored(tmp_path)] == ["wrong"]
    child.send("w")  # the source again, and what the model says
    child.expect(r"\(a.txt, line 1\)")
    child.expect("I was right")
    child.send("r")
    child.expect("> ")
    assert stored(tmp_path)[1] == {"undo": True} and stored(tmp_path)[2]["verdict"] == "right"
    child.sendline("/quit")
    assert ended(child) == 0


@pytest.mark.slow
def test_a_learned_card_is_not_asked_again_today(person, deck, tmp_path):
    """Twice right, it is due in days; the next session says when."""
    child = person("quiz", "run", deck, "--kind", "choice")
    for _ in range(2):
        child.expect("quit\r\n")
        child.send("2")
        child.expect("Right")
    assert ended(child) == 0
    assert [each["verdict"] for each in stored(tmp_path)] == ["right", "right"]
    child = person("quiz", "run", deck, "--kind", "choice")
    child.expect("next card comes on")
    assert ended(child) == 0


def test_a_tutor_knows_the_documents_and_what_the_learner_knows(llm, deck, write, tmp_path):
    """A prompt file for llm chat: what was wrong comes first."""
    state = str(tmp_path / "deck.reviews.jsonl")
    assert llm("quiz", "run", deck, "--state", state, stdin=b"2\nsown\n1 2 3\n").code == 0
    notes = write("notes.txt", "Peas were sown in 1856.\n")
    run = llm("chat", "-p", "tutor", "-f", notes, "--deck", deck, stdin=b"Hello.\n")
    assert run.code == 0
    told = run.backend.requests[0].messages[0].content
    assert "patient tutor" in told and "Peas were sown in 1856." in told
    assert told.index("- wrong: Put in order") < told.index("- right: When were peas sown?")
    assert llm("chat", "--deck", deck, stdin=b"Hello.\n").code == 2
    assert llm("chat", "-p", "poem", "--deck", deck, stdin=b"Hello.\n").code == 2
