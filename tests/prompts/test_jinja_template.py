"""Templates: the fast path equals Jinja, values are data, the sandbox holds."""

import itertools
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcli.documents.records.record import Row
from llmcli.prompts import jinja_template
from llmcli.prompts.jinja_template import Template, TemplateError

VALUES = {"a": "A{{ b }}", "b": "{% raw %}\n"}


@given(st.lists(st.sampled_from(["{{ a }}", "{{b}}", "{", "}", "{{", "}}", "\n", "x", "{ {", "%}", "#}", "{#", "é"])))
def test_the_fast_path_equals_jinja(parts):
    """A template that only inserts values renders the same text as with Jinja."""
    source = "".join(parts)
    try:
        template = Template.parse(source)
    except TemplateError:
        return
    if template.pieces:
        values = {name: VALUES.get(name, "v") for name in template.names}
        assert template.render(values) == jinja_template._render_with_jinja(template.source, values)
        assert jinja_template._undeclared_names(template.source) == template.names


def test_a_value_is_never_rendered_again():
    """Jinja syntax inside a value does not change, on the fast path and with Jinja."""
    value = "{{ secret }} {% for %} {# x #}"
    assert Template.parse("{{ a }}").render({"a": value}) == value
    assert Template.parse("{% if a %}{{ a }}{% endif %}").render({"a": value}) == value


def test_nothing_is_escaped():
    """HTML characters reach the model unchanged."""
    assert Template.parse("{% if a %}{{ a }}{% endif %}").render({"a": '<b> & "q"'}) == '<b> & "q"'


@pytest.mark.parametrize(("text", "marks"), [("a", 3), ('"quoted"', 3), ('a\n"""\nb', 4), ('""""" x', 6), (7, 3)])
def test_a_fenced_text_cannot_end_its_fence(text, marks):
    """There are more quotation marks around it than follow each other in it."""
    fence = '"' * marks
    assert Template.parse("{{ a | fenced }}\n\nWhy?").render({"a": text}) == f"{fence}\n{text}\n{fence}\n\nWhy?"


def test_one_newline_at_the_end_is_dropped():
    """The newline at the end of a YAML block is not part of the message, one in a value is."""
    assert Template.parse("x\n").render({}) == "x"
    assert Template.parse("{{ a }}\n").render({"a": "y\n"}) == "y\n"


@pytest.mark.parametrize(
    "source",
    [
        "{{ a.__class__ }}",
        "{{ 1 / 0 }}",
        "{{ a + 1 }}",
        "{{ range(10 ** 9) }}",
        "{{ a.nothing }}",
        "{{ missing | upper }}",
    ],
)
def test_expressions_that_fail_are_the_templates_fault(source):
    """A forbidden or failing expression is a failure of the template."""
    with pytest.raises(TemplateError):
        Template.parse(source).render({"a": "text"})


ENDLESS = {
    "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "output": "{% for i in range(99999) %}{{ a }}{{ 'x' * 999999 }}{% endfor %}",
    "output of a block": "{% set t = 'x' * 999999 %}{% set s %}{% for i in range(99999) %}{{ t }}{% endfor %}{% endset %}",
    "power": "{{ 9 ** (9 ** 9) }}",
    "product": "{{ a * 999999999 }}",
    "width of a filter": "{{ a | center(999999999) }}",
    "width of a method": "{{ a.ljust(999999999) }}",
    "width in a format": "{{ '%999999999d' % 1 }}",
    "width in a format's arguments": "{{ '{:{w}}'.format(1, w=999999999) }}",
    "width in a formatting filter": "{{ '%*d' | format(999999999, 1) }}",
    "fields of a format": "{{ ('{0}' * 99999).format('x' * 99999) }}",
    "join": "{{ range(99999) | join('x' * 999999) }}",
    "join by a method": "{{ ('x' * 999999).join(range(99999) | map('string')) }}",
    "indent": "{{ ('\\n' * 99999) | indent(999999, true) }}",
    "nested lists": "{% set n = namespace(a=[a]) %}"
    "{% for i in range(64) %}{% set n.a = [n.a, n.a] %}{% endfor %}{{ n.a }}",
    "nested tuples": "{% set n = namespace(a=[a]) %}"
    "{% for i in range(64) %}{% set n.a = (n.a, n.a) %}{% endfor %}{{ n.a | string }}",
    "nested mappings": "{% set n = namespace(a=[a]) %}"
    "{% for i in range(64) %}{% set n.a = dict(a=n.a, b=n.a) %}{% endfor %}{{ n.a }}",
    "sum of lists": "{{ ([[1]] * 400000) | sum(start=[]) }}",
    "word without end": "{{ ('x' * 900000) | wordwrap(1) }}",
    "macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
}


@pytest.mark.parametrize("source", ENDLESS.values(), ids=ENDLESS.keys())
def test_an_endless_template_fails_with_a_reason(monkeypatch, source):
    """Rendering is bounded in time and size, and the reason names no Python class."""
    monkeypatch.setattr(jinja_template, "_TIMEOUT_S", 0.05)
    with pytest.raises(TemplateError, match=r"too long|without end"):
        Template.parse(source).render({"a": "text"})


def test_a_suspended_machine_is_no_endless_template(monkeypatch):
    """Only the time that rendering itself takes counts."""
    hours = itertools.count(step=3600.0)
    monkeypatch.setattr(time, "monotonic", lambda: next(hours))
    monkeypatch.setattr(time, "perf_counter", lambda: next(hours))
    assert Template.parse("{% for c in a %}{{ c }}{% endfor %}").render({"a": "text"}) == "text"


def test_ordinary_expressions_stay_within_the_bounds():
    """Filters, formats, lists and large numbers that a prompt may use render as with Jinja."""
    source = (
        "{{ '%5d|%s' % (7654321, a) }} {{ [a, a] | join(', ') }} {{ a | indent(2) }} {{ '{:>6}'.format(a) }}{{ 7 % 4 }}"
        "{% for x, y in [(a, 1), (a, 2)] %}{{ y }}{% endfor %}{{ {'k': [1, 2] | sum}['k'] }}{% set p, q = 1, 2 %}"
    )
    assert Template.parse(source).render({"a": "text"}) == "7654321|text text, text text   text3123"


def test_a_template_with_deep_nesting_fails():
    """What the compilers refuse is the template's fault."""
    for source in ("{{ " + "(" * 5000 + "a" + ")" * 5000 + " }}", "{% for i in a %}" * 60 + "{% endfor %}" * 60):
        with pytest.raises(TemplateError):
            Template.parse(source)


def test_a_list_in_a_value_cannot_be_changed():
    """A template may read its documents, but not change them."""
    values = {"documents": ["one"]}
    with pytest.raises(TemplateError):
        Template.parse("{{ documents.append('two') }}").render(values)
    assert values == {"documents": ["one"]}


def test_a_missing_variable_is_never_blank():
    """Rendering without a variable fails on the fast path too."""
    with pytest.raises(TemplateError, match="undefined variables: a"):
        Template.parse("{{ a }}").render({})


@pytest.mark.parametrize("source", ["{{ row.size }}", "{{ row['size'] }}", "{{ row.size.unit }}"])
def test_a_missing_column_is_named_without_a_class_of_ours(source):
    """The name is what the author of a template can correct."""
    with pytest.raises(TemplateError, match=r"^undefined name: size$"):
        Template.parse(source).render({"row": Row({"title": "a"})})


def test_a_broken_template_names_its_line():
    """The failure names the line of the template with the syntax error."""
    with pytest.raises(TemplateError) as caught:
        Template.parse("one\ntwo {{ a | nothing }}")
    assert caught.value.line == 2


def test_the_fast_path_does_not_import_jinja():
    """A prompt that only inserts values does not import Jinja."""
    code = (
        "import sys; from llmcli.prompts.jinja_template import Template; "
        "assert Template.parse('say {{ a }}').render({'a': 'x'}) == 'say x'; assert 'jinja2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
