"""The search for patterns at their literals finds what a search at each character finds."""

from __future__ import annotations

import random
import re

import pytest
from planted_values import MAKERS, plant

from llmcli.redaction import password_contexts
from llmcli.redaction.literal_prefilter import PrefilteredPattern, find_required_literals
from llmcli.redaction.text_index import TextIndex

PATTERNS = {
    "words": r"mysql[\w-]{0,12} -p(\S+)",
    "optional": r"--?user(?:name)? \w+",
    "behind": r"[a-z][\w+.-]{1,20}://\S+",
    "overlapping": r"\w{0,3}aa",
    "line": r"^[\w.-]{1,60}:[0-9]+$",
    "lookbehind": r"(?<=@)\s?\w+",
    "case": r"(?i:basic|token)[ :]+(\w+)",
    "counted": r"(?:ab){2,3}c",
}
TEXTS = (
    "run mysqldump -pabc; mysql -u x -pq\nMYSQL -pz",
    "a --user bob -username x --username y",
    "see https://x.y/z and svn+ssh://h, ://no",
    "aaaaaaa baaa caa",
    "host:1\nother:22\n:3\nx.y:4",
    "to @ bob or @jane@kim",
    "Basic abc TOKEN: x to\u212aen y ba\u017fic z BAS\u0130C q bas\u0131c w",
    "ababc abababc abababababc abc",
    "",
)


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("text", TEXTS)
def test_matches_are_those_of_a_plain_search(name: str, text: str) -> None:
    """A pattern with literals has the same matches, in the same order, also in long texts."""
    search = PrefilteredPattern(PATTERNS[name], re.MULTILINE)
    for filler in ("", "- " * 500):
        index = TextIndex(filler + text + filler)
        plain = [match.span() for match in search.pattern.finditer(index.text)]
        assert [match.span() for match in search.finditer(index)] == plain


@pytest.mark.parametrize("name", PATTERNS)
def test_each_pattern_has_literals(name: str) -> None:
    """The literals of these patterns are known, or the test above would compare a search with itself."""
    assert find_required_literals(PATTERNS[name], re.MULTILINE)


def test_a_pattern_without_literals_is_searched_everywhere() -> None:
    """A class of many characters has no literal."""
    assert find_required_literals(r"[a-z0-9]{20,}") == ()
    spans = [match.span() for match in PrefilteredPattern(r"[a-z]{3,}").finditer(TextIndex("ab cde fghi"))]
    assert spans == [(3, 6), (7, 11)]


def test_formats_find_the_same_at_their_literals() -> None:
    """All patterns for passwords find the same, in texts that hold values of every kind."""
    rng = random.Random(4)
    values = [plant(rng, kind).text for kind in MAKERS for _ in range(20)]
    values += [each.example_parts()[0] for each in password_contexts.all_formats()]
    rng.shuffle(values)
    index = TextIndex("\n".join(values))
    for each in password_contexts.all_formats():
        if not each.pattern.startswith("@") and find_required_literals(each.pattern, re.MULTILINE):
            search = PrefilteredPattern(each.pattern, re.MULTILINE, lowered=True)
            plain = [match.span() for match in search.pattern.finditer(index.lowered)]
            assert [match.span() for match in search.finditer(index)] == plain, each.name
