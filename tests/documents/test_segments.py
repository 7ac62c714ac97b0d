from llmcli.documents.segments import Edit, Segment, join_segments, split_at_protected


def shout(text):
    return text.upper()


def test_only_translated_regions_change():
    """A region without a translation does not change, including its escapes."""
    segments = [Segment(0, 3, "one", shout), Segment(4, 7, "two", shout)]
    assert join_segments("one two", segments, [None, "zwei"]) == "one ZWEI"


def test_edits_come_with_translations():
    """An edit is made once, as soon as a segment with that edit is translated."""
    edit = Edit(0, 1, "!")
    segments = [Segment(2, 3, "b", shout, extra_edits=(edit,)), Segment(4, 5, "c", shout, extra_edits=(edit,))]
    assert join_segments("a b c", segments, [None, None]) == "a b c"
    assert join_segments("a b c", segments, ["x", "y"]) == "! X Y"


def test_a_fallback_is_used_if_others_of_the_group_are_translated():
    """A segment without a translation gets its fallback text if another segment of its group is translated."""
    segments = [Segment(0, 1, "a", shout, fallback=(1, "-")), Segment(1, 1, "b", shout, fallback=(1, "+"))]
    assert join_segments("a", segments, ["x", None]) == "X+"
    assert join_segments("a", segments, [None, "y"]) == "-Y"
    assert join_segments("a", segments, [None, None]) == "a"


def test_protected_texts_are_found_in_any_order():
    """Each protected text is matched as often as wanted, longer ones first."""
    assert split_at_protected("b %s a %s2", ["%s2", "%s"]) == [
        ("b ", False),
        ("%s", True),
        (" a ", False),
        ("%s2", True),
    ]
    assert split_at_protected("%s %s", ["%s"]) == [("%s", True), (" %s", False)]
    assert split_at_protected("\x1b[ \x1b[m", ["\x1b[m", "\x1b"]) == [
        ("\x1b", True),
        ("[ ", False),
        ("\x1b[m", True),
    ]
