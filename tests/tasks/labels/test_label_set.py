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


@pytest.mark.parametrize("text", ["- {}\n- {}\n- {}\n- {}\n", "{}: a\n{}: b\n{}:\n{}: {{examples: [no, 1]}}\n"])
def test_a_label_is_the_text_that_was_written(text):
    """YAML takes yes for True, 007 for 7, and 1.0, true and 1 for the same key."""
    for names in (("yes", "no", "on", "~"), ("1", "1.0", "true", "007"), ("2024-13-45", "0x1F", "null", "1e3")):
        labels = parse_label_file(text.format(*names), "l")
        assert labels.names == names
        assert not labels.examples or labels.examples == (("no", names[3]), ("1", names[3]))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: {descripton: x}\nb:\n", "unknown key descripton"),
        ("a: {examples: text}\nb:\n", "list of texts"),
        ("a: {description: [x]}\nb:\n", "must be a text"),
        ("a: [5]\nb:\n", "expected a description"),
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
    for text in (
        f"- &a0 x\n{aliases}",
        f"- {'[' * 5000}",
        "- !!int x\n",
        "- !!python/object:os.system x\n",
        "- &a [*a]\n",
    ):
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
