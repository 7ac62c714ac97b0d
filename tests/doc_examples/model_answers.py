"""The answers of the scripted model in the examples of the documentation."""

from __future__ import annotations

import json
import math
import re
import struct
from typing import TYPE_CHECKING

from long_text_answers import LongTextModel
from scripted import score_words

from .example_files import GARDEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmcli.types import Request, Score

FIND = '{"command": "find . -type f -size +1G -mtime -7", "explanation": "Lists large files."}'
ANSWERS = {
    "about: Heat pumps in old houses\nSections: 2, each with 3 points.": (
        "## Heating and cooling\n- how it is used in the old houses\n- how they are made of materials\n"
        "- reused to make new ones\n## Energy efficiency\n- how they help reduce energy consumption\n- how they work\n"
        "- what people use them for\n"
    ),
    "What is the capital of France?": "The capital of France is Paris.",
    "When does the workshop open again?": (
        "The workshop will be open again on Monday, 4 May, and the roof will be repaired after the storm."
    ),
    "Suggest three names for a cat.": "1. Lola (Spanish cat)\n2. Luna (Japanese cat)\n3. Luna (Mexican cat)",
    "Name the three primary colors.": "The three primary colors are: Red, Blue, and Yellow.",
    "And for a dog?": "1. Max (Dog)\n2. Maxx (Furry dog)\n3. Maxxmoose (Dog)",
    'Form: {"name": text}': '{"name": "Jane Doe"}',
    'Form: {"item"': ('[{"item": "2 hammers", "price": 49.9}, {"item": "1 saw", "price": 15.43}]'),
    "The kettle broke on 3 May": '{"amount": 35.5, "day": "2024-05-03"}',
    "an invoice of 120 EUR": '{"amount": 120, "day": "2024-06-15"}',
    'Form: {"seller"': '{"seller": "Acme Tools Ltd", "total_with_tax": 65.33, "due": "2024-04-15"}',
    "Say hello.": "Hello, it's me. What's up?",
    "How many receipts has each shop?": "SELECT shop, COUNT(*) FROM sales GROUP BY shop",
    "How many rows are there?": "SELECT COUNT(*) FROM sales",
    "files larger than 1 GB changed this week": FIND,
    "rename all .jpeg files to .jpg": FIND,
    "free space on this disk": FIND,
    "A shell script that counts": "Use wc:\n\n```sh\nwc -l *\n```\n",
    "Who wrote the first program?": '{ "name": "Ada Lovelace", "born": 1815 }',
    "Who wrote it?": '{ "name": "Jane Doe" }',
    "Name a colour.": "A colour is a color.",
    "What is this text about? Summarize it": (
        "The bicycle workshop will be closed on Monday, 4 May. The roof has to be repaired after the storm. Bicycles "
        "that are already in the workshop will arrive one day later than planned."
    ),
    "What is this text about? List its main points": (
        "- The bicycle workshop will be closed on Monday, 4 May.\n- The roof has to be repaired after the storm."
    ),
    "Write minutes of what this text reports": "Topics\n- The workshop is closed.\n\nTasks\n- The roof has to be repaired.",
    "Copy the sentence of the text that says this": "The bicycle workshop will be closed on Monday, 4 May.",
    "Who is this about?": '{ "name": "Ada Lovelace", "born": 1791, "field": "science" }',
    "Write a poem in English about rain.": (
        "In twilight's hush, where shadows play,\nA moment of purest light,\n"
        "A moment of love, a moment of peace,\nA moment of rain, a moment of grace."
    ),
}
"""By what the last message holds; but for the minutes these are answers that the starter gave, greedily where the
example says so."""

RUNAWAY = "Die Werkstatt ist am Montag geschlossen, und das Dach wird repariert. " * 300
PROBABILITIES = {
    "it is wonderful!": {"positive": 0.9824, "neutral": 0.0094, "negative": 0.0082},
    "What a day!": {"positive": 0.9372, "neutral": 0.0481, "negative": 0.0147},
    "I love this bicycle.": {"positive": 0.8422, "neutral": 0.1302, "negative": 0.0276},
    "send me the invoice": {"billing": 0.8700, "bug": 0.0510, "praise": 0.0790, "it is about money": 0.9732},
    "The app crashes": {"billing": 0.00001, "bug": 0.99809, "praise": 0.0019, "it is about money": 0.4995},
    "charged twice": {"billing": 0.8504, "bug": 0.1452, "praise": 0.0044, "it is about money": 0.9862},
}
"""What the starter gave, by a part of the text: the probabilities that it printed."""
LABEL_TEMPERATURES = {"positive": 0.3}
"""Of the built-in prompts, by their first label; of the others it is 1.5."""
TRANSLATIONS = {
    "The bicycle workshop will be closed on Monday": {
        "French": "L'atelier de vélos sera fermé le lundi 4 mai. Le toit doit être réparé après la tempête. Les vélos "
        "qui sont déjà dans l'atelier seront prêts un jour plus tard que prévu. L'atelier rouvre le mardi à 10:00.",
    },
    "Bicycle workshop": {
        "French": "Atelier de vélos",
        "German": "Fahrradwerkstatt",
        "Spanish": "Taller de bicicletas",
    },
    "The workshop opens on": {
        "French": "L'atelier ouvre le **samedi** à 10:00. Écrivez à [#1]l'équipe[#2]\nou lancez [#3].",
        "German": "Die Werkstatt öffnet am **Samstag** um 10:00. Schreiben Sie an [#1]das Team[#2]\n"
        "oder rufen Sie [#3] auf.",
        "Spanish": "El taller abre el **sábado** a las 10:00. Escriba al [#1]equipo[#2]\no ejecute [#3].",
    },
    "Bring your bicycle.": {
        "French": "Apportez votre vélo.",
        "German": "Bringen Sie Ihr Fahrrad mit.",
        "Spanish": "Traiga su bicicleta.",
    },
    "Bring a friend.": {
        "French": "Venez avec un ami.",
        "German": "Bringen Sie einen Freund mit.",
        "Spanish": "Traiga a un amigo.",
    },
}
"""By the beginning of a segment, then by language; for others the answer is far too long."""

CHOICES = (
    "threads: 1 (other processes keep 1.6 of 2 cores busy)",
    "KV cache: flash attention, f16 cache, one buffer (assumed; to measure this machine, run llm models tune)",
    "speculative decoding: accepted 22 of 47 draft tokens",
)
"""What an engine explains with ``-v``."""
_TRANSLATE = re.compile(r"Translate into (\w+):\n\n(.*)", re.DOTALL)


_LONG_TEXT = re.compile(
    r"Write the outline of|^Explain in about|^Now explain|^Add something new|^Write (?:more|\d+) bullets|^This is the section",
    re.MULTILINE,
)
LONG_TEXT = LongTextModel()


def answer_text(said: str) -> str:
    """Return the answer to what a user says."""
    asked = _TRANSLATE.search(said)
    if asked:
        found = [known for start, known in TRANSLATIONS.items() if asked[2].startswith(start)]
        return found[0].get(asked[1], RUNAWAY) if found else RUNAWAY
    known = next((answer for part, answer in ANSWERS.items() if part in said), None)
    if known is None and _LONG_TEXT.search(said):
        return LONG_TEXT.write(said)
    return "This is the answer of the model." if known is None else known


PARAMETERS = 134_515_008
"""The size of the starter."""
STATES = {
    "The bicycle workshop will be closed": (-6.0, 2.22, -6.19),
    "The roof has to be repaired": (-11.92, -4.68, 3.04),
    "Bicycles that are": (2.72, 6.41, 3.9),
    "The workshop opens again": (15.2, -3.95, -0.75),
}
"""By the beginning of a sentence: what the starter's mean hidden states are, less their mean, along their main axes."""


def give_states(text: str) -> bytes:
    """Return the hidden states of a text, the same for all that are not known."""
    words = " ".join(text.split())
    return struct.pack("<3f", *next((known for start, known in STATES.items() if words.startswith(start)), (1, 1, 1)))


SURPRISALS = {"repiared": 37.0, "definately": 14.4}
"""What the starter's bits are; of other words they are few."""


def _is_garden(prompt: str) -> bool:
    return " ".join(prompt.split())[-15:] in " ".join(GARDEN.split()) and bool(prompt.strip())


def _score_garden(prompt: str, candidate: str) -> Score:
    """Return a score by which a word is surprising, and another one in its place much more."""
    stands = " ".join(f"{prompt}{candidate}".split())[-60:] in " ".join(GARDEN.split())
    return score_words(candidate, lambda _: 9.0 if stands else 30.0)


def answer_request(request: Request) -> str | bytes | dict[str, float] | tuple[Score, ...]:
    """Return the answer to a request, the log-probability of each candidate or of its tokens, or hidden states."""
    if request.prompt is not None and request.candidates and _is_garden(request.prompt):
        return tuple(_score_garden(request.prompt, each) for each in request.candidates)
    if request.prompt is not None and request.candidates:
        return tuple(score_words(each, lambda word: SURPRISALS.get(word, 3.0)) for each in request.candidates)
    if request.hidden_states and not request.candidates:
        return give_states(request.prompt or "")
    if request.prompt is not None:
        return "the"  # the next word of a text
    if request.candidates:
        return score_candidates(request.messages[-1].content, request.candidates)
    said = request.messages[-1].content
    known = answer_text(said)
    return known if known.startswith(("{", "[")) or not said.startswith("Form: ") else fill_nothing(said)


def fill_nothing(said: str) -> str:
    """Return a form of ``llm extract`` in which each value is missing."""
    if "Write a JSON list" in said:
        return "[]"
    form = said.splitlines()[0]
    return json.dumps({name: [] if is_list else None for name, is_list in re.findall(r'"([^"]+)": (\[?)', form)})


def score_candidates(said: str, candidates: Sequence[str]) -> dict[str, float]:
    """Return scores that a command turns into the known probabilities; other texts, the content-free ones, get equals."""
    found = next((known for part, known in PROBABILITIES.items() if part in said), {})
    temperature = LABEL_TEMPERATURES.get(candidates[0], 1.5)
    if candidates[0] in found and "something else" in candidates:  # the odds of each against that
        odds = {text: found[text] / (1 - found[text]) for text in candidates if text in found}
        return {text: temperature * math.log(odds.get(text, 1.0)) for text in candidates}
    return {text: temperature * math.log(found.get(text, 0.5)) for text in candidates}
