"""Translations that repeat phrases which their sources do not repeat."""

from __future__ import annotations

import pytest
from scripted import ScriptedBackend, last_message
from tasks.helpers import result

from llmcli.documents.reading.document import Document
from llmcli.errors import LlmError
from llmcli.errors.incomplete_results import AnswerRefused
from llmcli.store.translation_memory import TranslationMemory, TranslationUnit
from llmcli.tasks.languages import parse_language
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.translate import PROMPT, translate
from llmcli.tasks.translate.answer_checks import repeats_more
from llmcli.tasks.translate.memory_cache import TranslationMemoryCache
from llmcli.tasks.translate.target_file import TranslationSpec
from llmcli.tasks.translate.translator import Translator
from llmcli.types import Delta, ItemFailed, Notice

GERMAN = parse_language("de")
SOURCE = "Bring your bicycle to the workshop."
LOOP = "Bearbeiten ist: Bicycle Bearbeiten ist: Workshop Bearbeiten ist: Bicycle"


def run(prompts, text, answer, memory=None, name="a.txt"):
    by = Translator(ScriptedBackend(answer), prompts.get(PROMPT), GenerationOptions(), GERMAN, model_id="m")
    events = list(translate([TranslationSpec(Document(name, text), by)], remembered=TranslationMemoryCache(memory)))
    return events, by


@pytest.mark.parametrize(
    ("source", "translation"),
    [
        (SOURCE, LOOP),
        (SOURCE, "Bringt das Rad, bringt das Rad, bringt das Rad."),
        (SOURCE, "Rad Rad Rad"),
        ("Very good.", "Sehr, sehr, sehr gut."),
        ("No, no!", "Nein, nein, nein, nein!"),
        ("The workshop opens on Saturday.", "Die Werkstatt " * 3 + "öffnet am Samstag."),
    ],
)
def test_repetition_that_the_source_lacks_is_found(source, translation):
    """Phrases one after another, and pairs of words that take half of a text."""
    assert repeats_more(source, translation)


@pytest.mark.parametrize(
    ("source", "translation"),
    [
        (SOURCE, "Bringt euer Rad in die Werkstatt."),
        ("No, no, no!", "Nein, nein, nein!"),
        ("哈哈哈", "Ha ha ha!"),
        ("Row, row, row your boat, gently down the stream.", "Rudere, rudere, rudere dein Boot den Strom hinab."),
        ("Open the file, open the folder and open the window.",
         "Öffne die Datei, öffne den Ordner und öffne das Fenster."),
        ("The state of the art of the house of the owner of the city of the king",
         "Der Stand der Kunst des Hauses des Eigentümers der Stadt des Königs"),
        ("打开文件,打开文件夹,打开窗户", "Entriegeln Sie die Datei, entriegeln Sie den Ordner, entriegeln Sie das Fenster"),
        ("kupu-kupu", "Schmetterlinge"),
        ("Yes", "Ja"), ("", ""),
    ],
)  # fmt: skip
def test_other_translations_pass(source, translation):
    """Also those that repeat what their sources repeat."""
    assert not repeats_more(source, translation) and not repeats_more(translation, source)


def test_a_translation_that_repeats_itself_is_refused(prompts):
    """The segment keeps its text and is reported, the others are translated."""
    events, _ = run(
        prompts, f"{SOURCE}\n\nWelcome!\n", lambda r: LOOP if "bicycle" in last_message(r) else "Willkommen!"
    )
    found = result(events)
    assert (found.text, found.fields["untranslated"]) == (f"{SOURCE}\n\nWillkommen!\n", 1)
    assert found.warnings == ("line 1: left untranslated: the answer repeats itself",)


def test_such_a_translation_in_the_memory_is_not_returned(prompts, tmp_path):
    """The segment is translated again, also if a person made the entry; the new translation replaces that of the model."""
    with TranslationMemory(tmp_path / "memory.sqlite") as memory:
        _, by = run(prompts, SOURCE, lambda _: "Bringt euer Rad.", memory)
        memory.remove_all()
        memory.add_units([TranslationUnit("en", "de", SOURCE, LOOP, "m", by.cache_key)])
        assert memory.find_translation(SOURCE, ("en", "de"), "m", by.cache_key) == LOOP
        events, _ = run(prompts, SOURCE, lambda _: "Bringt euer Rad.", memory)
        assert result(events).text == "Bringt euer Rad."
        assert memory.find_translation(SOURCE, ("en", "de"), "m", by.cache_key) == "Bringt euer Rad."


@pytest.mark.parametrize("name", ["a.txt", "a.md"])
def test_a_document_of_which_all_is_refused_writes_nothing(prompts, name):
    """Not its first paragraph either."""

    def answer(_request) -> LlmError:
        return AnswerRefused("the server", detail="no")

    events, _ = run(prompts, f"{SOURCE}\n\n* * *\n\nWelcome!\n\nGoodbye!\n", answer, name=name)
    (failed,) = [event for event in events if isinstance(event, ItemFailed)]
    assert isinstance(failed.error, AnswerRefused)
    assert not [event for event in events if isinstance(event, Delta | Notice)]


def test_the_first_answer_lets_refused_paragraphs_through(prompts):
    """They keep their text, with a warning."""

    def answer(request):
        return AnswerRefused("the server", detail="no") if "bicycle" in last_message(request) else "Willkommen!"

    events, _ = run(prompts, f"{SOURCE}\n\nWelcome!\n", answer)
    assert result(events).text == f"{SOURCE}\n\nWillkommen!\n" and result(events).cut
