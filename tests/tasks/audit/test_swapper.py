"""The words of a text that are exchanged, and the pairs that are dropped since the rest would not agree."""

from __future__ import annotations

import pytest

from llmcli.documents.records.record import Record
from llmcli.errors import BadDocument, InputError
from llmcli.tasks.audit.swap_file import bundled_names, parse_swap_file, read_bundled, read_templates
from llmcli.tasks.audit.swapper import Swapper, swap_records, variant_records

PEOPLE = """
groups:
  women: {gender: female, words: {person: [Emily, Anne], title: [Ms., Ms]}}
  men: {gender: male, words: {person: [Greg, Brad], title: [Mr., Mr]}}
"""


def swap(text, swaps="names", number=0):
    """Return the texts by group, and the reasons of those that are dropped; or why nothing is swapped."""
    body = read_bundled(swaps) if swaps in bundled_names() else swaps
    found = Swapper(parse_swap_file(body, "swaps")).swap(Record(0, text, 1), number)
    return found if isinstance(found, str) else (dict(found.texts), dict(found.dropped))


def men(text):
    """Return a text about a woman as one about a man, or the reason why there is none."""
    texts, dropped = swap(text, PEOPLE)
    return texts.get("men") or dropped["men"]


@pytest.mark.parametrize("name", bundled_names())
def test_every_template_has_a_text_for_every_group(name):
    """With its own words in each: no slot is left, and the texts of a template differ."""
    swaps = parse_swap_file(read_bundled(name), name)
    lines = read_templates().splitlines()
    found = swap_records([Record(at, line, at + 1) for at, line in enumerate(lines)], swaps)
    assert (len(found.inputs), found.unchanged, found.dropped) == (50, {}, {})
    for each in found.inputs:
        assert len(each.texts) == len(swaps.groups) and not any("{" in text for text in each.texts.values())
        genders = {group.gender for group in swaps.groups}
        assert len({*each.texts.values()}) == len(swaps.groups) or (swaps.shared and len(genders) == len(swaps.groups))


def test_a_name_is_exchanged_for_the_one_at_its_place():
    """Everywhere in the text, as a whole word, with the pronouns that refer to it."""
    texts, dropped = swap("Anne called. We told Anne that she was right, said Annette.", PEOPLE)
    assert texts["men"] == "Brad called. We told Brad that he was right, said Annette." and dropped == {}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Emily said that we saw her.", "Greg said that we saw him."),
        ("We gave Emily back what was hers.", "We gave Greg back what was his."),
        ("Emily came with her own bag.", "Greg came with his own bag."),
        ("For her birthday Emily got a cake.", "For his birthday Greg got a cake."),
        ("Emily did it herself, AND SHE WAS LATE.", "Greg did it himself, AND HE WAS LATE."),
        ("Ms. Emily Baker called.", "Mr. Greg Baker called."),
        ("Emily told her him.", "ambiguous"),  # her answer, or a person
        ("Emily lost her parcel.", "ambiguous"),
        ("Emily is a mother.", "gender"),
        ("Emily, an actress, called.", "gender"),
        ("Emily told her husband.", "ambiguous"),
        ("Emily spoke with her husband.", "Greg spoke with his husband."),
    ],
)
def test_words_that_follow_a_person_agree(text, wanted):
    """Or the pair is dropped with the reason."""
    assert men(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("He asked for his money, and we called him.", "They asked for their money, and we called them."),
        ("He said it was his.", "They said it was theirs."),
        ("He'd waited.", "They'd waited."),
        ("He is late.", "number"),
        ("He's late.", "number"),
        ("He never calls.", "number"),
    ],
)
def test_they_needs_a_verb_that_is_the_same_in_the_plural(text, wanted):
    """In a text without names, the pronouns are swapped."""
    texts, dropped = swap(text, "pronouns")
    assert (texts.get("they") or dropped["they"]) == wanted and "she" in texts


def test_the_article_follows_the_word():
    """They are a matter of sound."""
    texts, _ = swap("We met a 24-year-old customer.", "ages")
    assert texts["eighties"] == "We met an 84-year-old customer."
    texts, _ = swap("An American shop, run by an American.", "origins")
    assert texts["Nigerian"] == "A Nigerian shop, run by a Nigerian."
    assert swap("A German shop.", "origins")[0]["Indian"] == "An Indian shop."


def test_groups_of_the_same_gender_need_no_pronouns():
    """So that nothing is ambiguous between them."""
    texts, dropped = swap("Emily lost her parcel.")
    assert texts["Black women"] == "Aisha lost her parcel." and set(dropped.values()) == {"ambiguous"}
    assert set(dropped) == {"white men", "Black men", "Hispanic men", "Asian men"}


def test_a_title_without_gender_does_not_become_one_of_the_other():
    """Dr. Kelly who is called she does not become Mr. Kelly."""
    texts, dropped = swap("Dr. Kelly said that she called.", "titles")
    assert dropped == {"Mr.": "gender"} and texts["Ms."] == "Ms. Kelly said that she called."


def test_they_may_be_several_people():
    """So that a text with they has no other gender; one without pronouns has."""
    names = PEOPLE + "  people: {gender: neutral, words: {person: [Alex, Sam], title: [Mx., Mx]}}\n"
    assert swap("Alex called.", names)[0]["women"] == "Emily called."
    assert swap("Alex said they were late.", names) == (
        {"people": "Alex said they were late."},
        {"women": "number", "men": "number"},
    )
    assert swap("Alex met his wife.", names)[1] == {"women": "gender", "men": "gender"}


def test_a_text_about_several_groups_is_left_out():
    """Who is who cannot be told; one without a word of the file has nothing to swap."""
    assert swap("Emily called Jamal.") == "words of several groups"
    assert swap("Nobody called.") == ""


def test_slots_take_turns_and_begin_sentences():
    """The words of a group by the number of the input; a capital at the beginning."""
    assert swap("{person} paid; {they} left.", "origins")[0]["German"] == "A person from Germany paid; they left."
    assert [swap("{person}", PEOPLE, number)[0]["women"] for number in range(3)] == ["Emily", "Anne", "Emily"]
    assert swap("We saw {person}. {they} left.", PEOPLE)[0]["men"] == "We saw Greg. He left."


def test_an_unknown_slot_beside_a_known_one_is_an_error():
    """It would stay in the text unnoticed. Braces in a text without slots are nothing special."""
    with pytest.raises(BadDocument, match="city"):
        swap("{person} lives in {city}", PEOPLE)
    assert swap('{"text": {x} Emily}', PEOPLE)[0]["men"] == '{"text": {x} Greg}'


def test_nothing_to_swap_is_an_error():
    """Also where all pairs are dropped, with the reasons."""
    swaps = parse_swap_file(PEOPLE, "people.yaml")
    with pytest.raises(InputError, match=r"slot such as \{person\}"):
        swap_records([Record(0, "Nobody called.", 1)], swaps)
    with pytest.raises(InputError, match=r"ambiguous \(1 times\)"):
        swap_records([Record(0, "Emily lost her parcel.", 1)], swaps)


def test_variants_follow_each_other_with_the_columns_of_their_row():
    """The column that holds the text has the swapped one; an input with one text alone makes no pair."""
    swaps = parse_swap_file(PEOPLE, "people.yaml")
    records = [
        Record(0, "Emily called.", 2, fields={"id": "7", "text": "Emily called."}),
        Record(1, "Emily lost her bag.", 3),
    ]
    found = [*variant_records(swap_records(records, swaps))]
    assert [(record.index, record.text, record.line, group) for record, _, group in found] == [
        (0, "Emily called.", 2, "women"),
        (1, "Greg called.", 2, "men"),
    ]
    assert found[1][0].fields == {"id": "7", "text": "Greg called."}
