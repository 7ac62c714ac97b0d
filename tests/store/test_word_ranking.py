"""Texts ranked by their words."""

from llmcli.store.word_ranking import WordRanking, fuse_rankings


def test_the_text_with_the_rare_words_ranks_first():
    """Common words count little, endings do not matter, and without a common word there is no text."""
    ranking = WordRanking()
    for number, text in enumerate(["the cat and the dog", "the dogs walked home", "the house of the cat"]):
        ranking.add(number, text)
    assert ranking.search("who is walking the dog", 2) == [1, 0]
    assert ranking.search("zebra", 2) == [] and WordRanking().search("a", 2) == []


def test_words_that_only_ask_do_not_rank():
    """A text with the words of the question's form comes behind one with a word of its subject."""
    ranking = WordRanking()
    ranking.add(0, "How do I know? You may ask how it is done, and what it does.")
    ranking.add(1, "The porter has the key of the vault, which nobody else may open on any day of the whole year.")
    ranking.add(2, "Other things. " * 20)
    assert ranking.search("How do I open it?", 3) == [1, 0]


def test_a_question_of_such_words_alone_is_searched():
    """There is nothing else to find it by."""
    ranking = WordRanking()
    ranking.add(0, "To be, or not to be")
    assert ranking.search("What is to be?", 3) == [0]


def test_rankings_are_joined():
    """What stands high in both rankings comes first."""
    assert fuse_rankings([[1, 2, 3], [2, 4, 1]]) == [2, 1, 4, 3]
    assert fuse_rankings([]) == [] and fuse_rankings([["a", "b"]]) == ["a", "b"]
