"""The language of a translation is identified by words that are no names, and by its neighbors if it is doubtful."""

from __future__ import annotations

import pytest
from row_table import all_rows
from scripted import ScriptedBackend, last_message

from llmcli.documents.reading.document import Document
from llmcli.tasks.languages import parse_language
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.translate import PROMPT, translate
from llmcli.tasks.translate.language_check import is_doubtful, is_foreign, read_evidence
from llmcli.tasks.translate.target_file import TranslationSpec
from llmcli.tasks.translate.translator import Translator
from llmcli.types import Result

ENGLISH, FRENCH = parse_language("en"), parse_language("fr")
DOUBTFUL = {"The lamp is on.": "La lampe es on.", "The form of the table.": "Forma de la table."}
"""Answers that look like no French, but not certainly."""


@all_rows(
    ("text", "translation"),
    [
        ("The old man has cars.", "Der alte Mann hat Autos."),
        ("The old man has cars.", "El viejo tiene coches."),
        ("The old man has cars.", "Il vecchio ha delle macchine."),
        ("The old man has cars.", "The old guy has cars."),
        ("Please close the door.", "Please shut the door."),
        ("An error has occurred.", "Si è verificato un errore."),
        ("An error has occurred.", "Произошла ошибка в программе."),
        ("Save the file first.", "First, save the file."),
    ],
)
def test_another_language_is_foreign(text, translation):
    """German, Spanish, Italian, Russian, and the language of the source in a sentence of four words."""
    assert is_foreign(text, translation, ENGLISH, FRENCH)


@all_rows(
    ("target", "text", "translation"),
    [
        ("fr", "The old man has cars.", "Le vieil homme a des voitures."),
        ("fr", "Microsoft Word and Excel files.", "Fichiers Microsoft Word et Excel."),
        ("es", "Spencer Kimball, Peter Mattis and the team", "Spencer Kimball, Peter Mattis y el equipo"),
        ("fr", "See man page fdisk(8) and --wipe option", "Voir la page de manuel fdisk(8) et l'option --wipe"),
        ("ja", "history [-c] or history -anrw [filename]", "history [-c] または history -anrw [filename]"),
        ("nb", "The weather was really good today.", "Været var veldig bra i dag."),
        ("uk", "The old man has cars.", "У старого чоловіка є машини."),
        ("zh", "The weather was really good.", "天气真的很好。"),
        ("en-GB", "The color of the house.", "The colour of the house."),
    ],
)
def test_a_right_translation_is_not_foreign(target, text, translation):
    """Names, commands and related languages are no reason to refuse it."""
    assert not is_foreign(text, translation, ENGLISH, parse_language(target))


def run(prompts, answers):
    """Return the result of a translation of the paragraphs that are the keys of ``answers``."""
    backend = ScriptedBackend(lambda request: answers[last_message(request)])
    by = Translator(backend, prompts.get(PROMPT), GenerationOptions(), FRENCH, model_id="m")
    spec = TranslationSpec(Document("a.txt", "\n\n".join(answers) + "\n"), by, ENGLISH)
    (result,) = (event for event in translate([spec]) if isinstance(event, Result))
    return result


@pytest.mark.parametrize(("text", "translation"), DOUBTFUL.items())
def test_a_doubtful_translation_alone_is_kept(prompts, text, translation):
    """When unsure, it is not refused: alone, or beside French."""
    assert is_doubtful(read_evidence(text, translation), ENGLISH, FRENCH)
    right = {"The house stands on a hill.": "La maison se trouve sur une colline."}
    for answers in ({text: translation}, {text: translation, **right}, {**right, text: translation}):
        found = run(prompts, answers)
        assert (found.text, found.cut) == ("\n\n".join(answers.values()) + "\n", False)


def test_doubtful_translations_decide_each_other(prompts):
    """Two in a row are certainly not French; both stay as they were."""
    found = run(prompts, DOUBTFUL)
    assert (found.text, found.fields["untranslated"]) == ("\n\n".join(DOUBTFUL) + "\n", 2)
