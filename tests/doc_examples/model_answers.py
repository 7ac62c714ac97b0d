"""What the scripted model answers in the examples of the documentation."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmcli.types import Request

ANSWERS = {
    "What is the capital of France?": "The capital of France is Paris.",
    "When does the workshop open again?": (
        "The workshop will be open again on Monday, 4 May, and the roof will be repaired after the storm."
    ),
    "Suggest three names for a cat.": "1. Lola (Spanish cat)\n2. Luna (Japanese cat)\n3. Luna (Mexican cat)",
    "And for a dog?": "1. Max (Dog)\n2. Maxx (Furry dog)\n3. Maxxmoose (Dog)",
    "Say hello.": "Hello, it's me. What's up?",
    "Which shop sells most?": "North sells most.",
    "Name a colour.": "A colour is a color.",
    "What is this text about? Summarize it": (
        "The bicycle workshop will be closed on Monday, 4 May. The roof has to be repaired after the storm. Bicycles "
        "that are already in the workshop will arrive one day later than planned."
    ),
    "Who is this about?": '{ "name": "Ada Lovelace", "born": 1791, "field": "science" }',
    "Write a poem in English about rain.": (
        "In twilight's hallow tapestry, where shadows play,\nA moment's rain, a moment's rain,\n"
        "A fleeting sight, a fleeting sight,\nA moment's rain, a moment's"
    ),
}
"""By what the last message holds; these are answers that the starter gave, greedily where the example says so."""

RUNAWAY = "Die Werkstatt ist am Montag geschlossen, und das Dach wird repariert. " * 300
PROBABILITIES = {"positive": 0.7018, "neutral": 0.1197, "negative": 0.1785}
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


def answer_text(said: str) -> str:
    """Return the answer to what a user says."""
    asked = _TRANSLATE.search(said)
    if asked:
        found = [known for start, known in TRANSLATIONS.items() if asked[2].startswith(start)]
        return found[0].get(asked[1], RUNAWAY) if found else RUNAWAY
    return next((answer for part, answer in ANSWERS.items() if part in said), "This is the answer of the model.")


def answer_request(request: Request) -> str | dict[str, float]:
    """Return the answer to a request, or the log-probability of each candidate."""
    if request.candidates:
        return {text: math.log(PROBABILITIES[text.strip()]) for text in request.candidates}
    return answer_text(request.messages[-1].content)
