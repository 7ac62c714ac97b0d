"""The table of formats: each example is replaced, no counter-example is, and the page is the one that it generates."""

from __future__ import annotations

import base64
import random
import re
import time
from pathlib import Path

import innocent_lines
import password_forms
import pytest
from row_table import all_rows

from llmcli.redaction.detectors import DEFAULT_KINDS, KINDS, find_private
from llmcli.redaction.format_table import all_formats, page_lines

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "redaction-formats.md"


@all_rows("format_", all_formats())
def test_each_example_is_replaced_and_no_counter_example(format_):
    """The whole value of the example is found, and nothing of the format's kind in the counter-example."""
    text, value = format_.example_parts()
    spans = find_private(text, KINDS)
    start = text.rindex(value)
    assert any(span.start <= start and start + len(value) <= span.end for span in spans), (format_.name, text)
    assert find_private(format_.counter_example, (format_.kind,)) == [], format_.counter_example


def test_the_page_about_formats_is_generated():
    """Write it again with: python -m llmcli.redaction.format_table docs/reference/redaction-formats.md."""
    assert PAGE.read_text("utf-8") == "\n".join(page_lines()) + "\n"


def test_names_of_formats_are_unique():
    """So that a line of the page and a failed test name one format."""
    names = [format_.name for format_ in all_formats()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("forms", password_forms.LISTS)
def test_passwords_in_their_forms_are_found(forms):
    """At most 3% of the values of a list leave."""
    missed = []
    parsed = password_forms.parse(forms)
    for text, values in parsed:
        redacted = text
        for span in reversed(find_private(text)):
            redacted = f"{redacted[: span.start]}PII_KEY_1{redacted[span.end :]}"
        missed += [text] * any(value in redacted for value in values)
    assert len(missed) <= len(parsed) * 0.03, missed


@pytest.mark.parametrize("lines", [*password_forms.INNOCENT_LISTS, *innocent_lines.LISTS])
def test_innocent_lines_are_left(lines):
    """At most 1% of the lines of a list are replaced."""
    texts = [line.replace("\\n", "\n") for line in lines.strip("\n").split("\n")]
    replaced = [text for text in texts if find_private(text, DEFAULT_KINDS)]
    assert len(replaced) <= len(texts) * 0.01, replaced


_BASE64 = base64.b64encode(random.Random(1).randbytes(200_000)).decode()
LONG_TEXTS = {
    "ones": "1 " * 1_000_000,
    "cards": "4111 " * 400_000,
    "passwords": "password " * 200_000,
    "assignments": "a=" * 300_000,
    "no blanks": "x" * 300_000,
    "base64": _BASE64,
    "quotes": '"' * 200_000,
    "open quotes": 'password="' * 15_000,
    "programs": "mysql " * 30_000,
    "tables": "a,password\n" + "b,c\n" * 30_000,
    "headers of tables": "a,password\n" * 15_000,
    "decimals": "1." * 150_000,
    "logins": 'login("a",' * 15_000,
    "braces": 'password" { default ' * 10_000,
    "inserts": "insert into a (password) values (" * 10_000,
    "seed": "seed phrase " * 15_000,
    "certificates": "-----BEGIN CERTIFICATE-----" * 10_000,
    "kinds": "kind: Secret\n" + "data:\n" * 15_000,
}


@pytest.mark.parametrize("name", LONG_TEXTS)
def test_the_time_grows_with_the_length(name):
    """Long texts take a few milliseconds a KB; the square of the length would take minutes."""
    text = LONG_TEXTS[name]
    started = time.process_time()
    find_private(text, KINDS)
    assert time.process_time() - started < len(text) / 1024 * 0.03


def test_a_sentence_of_the_guide_names_every_innocent_placeholder():
    """Placeholders that the guide lists are left."""
    guide = (PAGE.parents[1] / "redaction.md").read_text("utf-8")
    listed = re.findall(r"`([^`]+)`", guide.partition("Placeholders are left:")[2].partition("\n\n")[0])
    assert len(listed) > 5
    for value in listed:
        assert find_private(f'password = "{value}"') == [], value
