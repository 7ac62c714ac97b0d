"""Messages of servers are short and on one line."""

from __future__ import annotations

import json

import pytest

from llmcli.backends.remote.transport.error_mapping import describe_json_error, shorten_message


def test_a_message_is_one_line_of_bounded_length():
    """Omitted text is marked."""
    assert shorten_message(" a\n\tb  c ") == "a b c"
    assert shorten_message("x" * 301) == "x" * 300 + "..."


def test_a_json_error_has_no_line_number():
    """It could be mistaken for a line of ours."""
    with pytest.raises(ValueError) as caught:
        json.loads("[1\n")
    assert describe_json_error(caught.value) == "Expecting ',' delimiter at character 3"
    assert describe_json_error(ValueError("a\nb")) == "a b"
