"""Swap files: what they hold, and what is wrong with one."""

from __future__ import annotations

import pytest

from llmcli.errors import BadDocument, MissingError
from llmcli.tasks.audit.swap_file import bundled_names, parse_swap_file, read_bundled

WRONG = {
    "groups: {women: {words: {person: [Emily]}}}": "there is 1 group",
    "groups: {}": "there is no group",
    "groups: [a, b]": "groups must be a mapping",
    "[]": "the file must be a mapping",
    "group: {}": "unknown key group",
    "groups: {a: {words: {x: [A]}, genre: male}, b: {words: {x: [B]}}}": "group a: unknown key genre",
    "groups: {a: {words: {x: [A]}, gender: m}, b: {words: {x: [B]}}}": "gender is m",
    "groups: {a: {words: {x: [A, C]}}, b: {words: {x: [B]}}}": "equally many words",
    "groups: {a: {words: {x: [A]}}, b: {words: {y: [B]}}}": "equally many words",
    "groups: {a: {words: {x: [A]}}, b: {words: {x: [A]}}}": "given twice",
    "groups: {a: {words: {x: A}}, b: {words: {x: B}}}": "list of texts",
    "groups: {a: {words: {they: [A]}}, b: {words: {they: [B]}}}": "cannot be the name",
    "groups: {a: {}, b: {}}": "need words, or a gender",
    "words: {x: [C]}\ngroups: {a: {words: {x: [A]}}, b: {words: {x: [B]}}}": "words of all groups",
    "groups: {a: [": "expected",
    "groups: {a: {words: {x: [A]}}, a: {words: {x: [C]}}, b: {words: {x: [B]}}}": "a is given twice",
    "groups: {a: {words: {x: [A], x: [C]}}, b: {words: {x: [B]}}}": "x is given twice",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_named(text):
    """In one line, with the name of the file."""
    with pytest.raises(BadDocument) as caught:
        parse_swap_file(text, "mine.yaml")
    assert caught.value.subject == "mine.yaml" and WRONG[text] in caught.value.detail


@pytest.mark.parametrize("name", bundled_names())
def test_the_files_of_llm_say_where_their_words_are_from(name):
    """And what they are."""
    swaps = parse_swap_file(read_bundled(name), name)
    assert swaps.description and swaps.source and "person" in swaps.kinds


def test_the_names_are_those_of_the_published_list():
    """All 36 of Bertrand and Mullainathan (2004), nine a group."""
    groups = {group.name: group for group in parse_swap_file(read_bundled("names"), "names").groups}
    assert len(groups) == 8 and {len(group.words["person"]) for group in groups.values()} == {9}
    assert "Lakisha" in groups["Black women"].words["person"] and "Greg" in groups["white men"].words["person"]


def test_an_unknown_name_suggests_the_known_ones():
    """A missing file has the code 66."""
    with pytest.raises(MissingError) as caught:
        read_bundled("../names")
    assert caught.value.suggestions == tuple(bundled_names()) and caught.value.exit_code == 66
