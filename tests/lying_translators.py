"""Translators of the tests: a good one, which writes Greek letters, and liars."""

from __future__ import annotations

from document_texts import MARK, greek
from scripted import Reply, last_message


def well(request):
    """Answer with a translation of the text: the built-in prompt ends with it."""
    return greek(last_message(request).rpartition(":\n\n")[2])


def _keep_marks(request, text):
    """Answer with a text and all marks in order."""
    return " ".join([*MARK.findall(well(request)), text])


LIES = {
    "drop": lambda request: MARK.sub("", well(request)),
    "double": lambda request: MARK.sub(r"\g<0> \g<0>", well(request)),
    "swap": lambda request: well(request).replace("[#1]", "[#0]").replace("[#2]", "[#1]").replace("[#0]", "[#2]"),
    "fence": lambda request: f"```\n{MARK.sub('', well(request))}\n```",
    "number": lambda request: f"{well(request)} 5",
    "direction": lambda request: f"\u202e{well(request)}",
    "german": lambda request: _keep_marks(request, "Der alte Mann sagt heute guten Morgen"),
    "spanish": lambda request: _keep_marks(request, "El viejo dice hoy buenos d\u00edas"),
    "english": lambda request: _keep_marks(request, "The old man says hello today"),
    "endless": lambda _: Reply("blah " * 3000, stalls=True),
}
"""What is wrong with an answer, and how it is made."""
