"""Translators of the tests: a good one, which writes Greek letters, and liars."""

from __future__ import annotations

from document_texts import MARK, greek
from scripted import Reply, last_message


def well(request):
    """Answer with a translation of the text: the built-in prompt ends with it."""
    return greek(last_message(request).rpartition(":\n\n")[2])


LIES = {
    "drop": lambda request: MARK.sub("", well(request)),
    "double": lambda request: MARK.sub(r"\g<0> \g<0>", well(request)),
    "swap": lambda request: well(request).replace("[#1]", "[#0]").replace("[#2]", "[#1]").replace("[#0]", "[#2]"),
    "fence": lambda request: f"```\n{MARK.sub('', well(request))}\n```",
    "endless": lambda _: Reply("blah " * 3000, stalls=True),
}
"""What is wrong with an answer, and how it is made."""
