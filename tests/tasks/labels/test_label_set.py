"""Labels of a command line and of a file."""

import pytest

from llmcli.errors import BadDocument, UsageError
from llmcli.tasks.labels.label_set import Label, parse_label_file, parse_label_names


def test_names():
    """Commas separate them; blanks around them do not count."""
    assert parse_label_names("billing, bug report ,praise").names == ("billing", "bug report", "praise")


@pytest.mark.parametrize(("text", "what"), [("a", "two labels"), ("a,,b", "empty"), ("a,b,a", "twice"), ("", "empty")])
def test_names_that_make_no_set(text, what):
    """One label is no choice, and each has a name of its own."""
    with pytest.raises(UsageError, match=what):
        parse_label_names(text)


def test_a_file_has_descriptions_and_examples():
    """A mapping may hold a description alone, or both; the examples of all labels take turns."""
    labels = parse_label_file(
        "bug: The app does something wrong.\n"
        "idea:\n  description: A wish.\n  examples: [please add X, what about Y]\n"
        "other: {examples: [hello]}\n",
        "labels.yaml",
    )
    assert labels.labels[0] == Label("bug", "The app does something wrong.")
    assert labels.names == ("bug", "idea", "other")
    assert labels.examples == (("please add X", "idea"), ("hello", "other"), ("what about Y", "idea"))
    assert parse_label_file("- yes\n- 1\n", "l").names == ("True", "1")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: {descripton: x}\nb:\n", "unknown key descripton"),
        ("a: {examples: text}\nb:\n", "list of texts"),
        ("a: {description: [x]}\nb:\n", "must be a text"),
        ("a: 5\nb:\n", "expected a description"),
        ("text", "expected a list"),
        ("a: [\n", ""),
    ],
)
def test_a_broken_file(text, what):
    """It is reported with its name and with what is wrong."""
    with pytest.raises(BadDocument) as caught:
        parse_label_file(text, "labels.yaml")
    assert caught.value.subject == "labels.yaml" and what in caught.value.detail


def test_a_hostile_file():
    """Aliases are not written out, and what Python cannot convert is no YAML."""
    aliases = "".join(f"- &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30))
    for text in (f"- &a0 x\n{aliases}", f"- {'[' * 5000}", "- 2024-13-45\n", f"- {'9' * 5000}\n", "- &a [*a]\n"):
        with pytest.raises(BadDocument):
            parse_label_file(text, "labels.yaml")


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("bug: a crash\npraise: thanks\nbug: an error\n", 3, "bug"),
        ("bug:\n  description: a crash\n  description: an error\npraise: thanks\n", 3, "description"),
    ],
)
def test_a_key_that_is_given_twice_is_named(text, line, key):
    """YAML's parser keeps the last one and says nothing; an alias of a part is no repetition."""
    with pytest.raises(BadDocument, match=f"{key} is given twice") as caught:
        parse_label_file(text, "labels.yaml")
    assert caught.value.line == line
    assert parse_label_file("bug: &a {description: x}\npraise: *a\n", "labels.yaml").names == ("bug", "praise")
