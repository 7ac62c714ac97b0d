"""Private values in forms that a reader takes for the plain one: other digits, invisible characters, line breaks, quotes."""

from __future__ import annotations

import random
import time

import country_numbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from row_table import all_rows

from llmcli.redaction.detectors import DEFAULT_KINDS, KINDS, find_private
from llmcli.redaction.normalization import decode_spaces, normalize
from llmcli.redaction.redactor import Redactor, UsedPlaceholders
from llmcli.redaction.request_redaction import Restorer


def found(text, kinds=KINDS):
    return [(span.kind, text[span.start : span.end]) for span in find_private(text, kinds)]


@all_rows(
    ("text", "kind", "value"),
    [
        # dots, as docs/redaction.md promises
        ("appelez le 06.86.34.59.10.", "phone", "06.86.34.59.10"),
        ("+33.6.86.34.59.10", "phone", "+33.6.86.34.59.10"),
        ("01.02.03.04.05 ou", "phone", "01.02.03.04.05"),
        ("call 555.234.5678 now", "phone", "555.234.5678"),
        # full-width letters and digits, digits of other scripts
        ("\u96fb\u8a71 \uff10\uff13\uff0d\uff11\uff12\uff13\uff14\uff0d\uff15\uff16\uff17\uff18\u3002", "phone",
         "\uff10\uff13\uff0d\uff11\uff12\uff13\uff14\uff0d\uff15\uff16\uff17\uff18"),
        ("\uff4a\uff41\uff4e\uff45\uff20\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45\uff0e\uff4f\uff52\uff47", "email",
         "\uff4a\uff41\uff4e\uff45\uff20\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45\uff0e\uff4f\uff52\uff47"),
        ("\u0647\u0627\u062a\u0641: \u0660\u0665\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667", "phone",
         "\u0660\u0665\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667"),
        ("card \uff14111 1111 1111 111\uff11", "card", "\uff14111 1111 1111 111\uff11"),
        ('"\\uff14111 1111 1111 1111"', "card", "\\uff14111 1111 1111 1111"),
        # invisible characters
        ("card 4111\u200b1111\u200b1111\u200b1111", "card", "4111\u200b1111\u200b1111\u200b1111"),
        ("write ja\u00adne@exam\u00adple.org!", "email", "ja\u00adne@exam\u00adple.org"),
        ("\u200bjane@example.org\u200b", "email", "jane@example.org"),
        ("see\u200bjane@example.org", "email", "see\u200bjane@example.org"),
        ("DE89 3704\u2060 0044 0532 0130 00", "iban", "DE89 3704\u2060 0044 0532 0130 00"),
        ('"+49 30\\u200b 1234567"', "phone", "+49 30\\u200b 1234567"),
        ("sk-ant-\u200bapi03-" + "a1B2" * 10, "key", "sk-ant-\u200bapi03-" + "a1B2" * 10),
        ("x\u200b0151 12345678", "phone", "0151 12345678"),
        # spaces that do not break
        ("06\u00a086\u00a034\u00a059\u00a010", "phone", "06\u00a086\u00a034\u00a059\u00a010"),
        ("4111\u30001111\u20071111\u202f1111", "card", "4111\u30001111\u20071111\u202f1111"),
        # two lines
        ("Please charge 4111 1111\n1111 1111 today", "card", "4111 1111\n1111 1111"),
        ("> my card 41111111\n> 11111111 is", "card", "41111111\n> 11111111"),
        ('{"a": "my card 4111 1111\\n1111 1111 is"}', "card", "4111 1111\\n1111 1111"),
        ("the IBAN DE89 3704 0044\r\n  0532 0130 00, BIC", "iban", "DE89 3704 0044\r\n  0532 0130 00"),
        ("my address jane@\nexample.org is", "email", "jane@\nexample.org"),
        ("my address jane@example.\norg is", "email", "jane@example.\norg"),
        ("Call +49 30\n1234567, please", "phone", "+49 30\n1234567"),
        ("appelez le 06 86 34\n59 10 demain", "phone", "06 86 34\n59 10"),
        ("call 555-234-\n5678 now", "phone", "555-234-\n5678"),
        # mobiles of China without groups
        ("\u5f20\u4f1f,13812345678,\u5317\u4eac", "phone", "13812345678"),
        ('send("13812345678")', "phone", "13812345678"),
        ("\u624b\u673a\uff1a138 1234 5678\u3002", "phone", "138 1234 5678"),
        # passwords
        ('password: "correct horse battery staple"', "key", "correct horse battery staple"),
        ('password="hunter2!x', "key", "hunter2!x"),
        ("DB_PASSWORD='s3cr3tValue\nDB_HOST=localhost", "key", "s3cr3tValue"),
        ("mysql -u root -ps3cr3tPw shop", "key", "s3cr3tPw"),
        ("sshpass -p 'blue fox 42' ssh me@host", "key", "blue fox 42"),
        ("docker login -u jane -p hunterhunter quay.example", "key", "hunterhunter"),
        ("\u5bc6\u7801\uff1ahunter22\uff0c\u8bf7\u4fdd\u5bc6", "key", "hunter22"),
        ("\u5bc6\u7801\u662fhunter22\u3002", "key", "hunter22"),
        ("\u043f\u0430\u0440\u043e\u043b\u044c: hunter22", "key", "hunter22"),
    ],
)  # fmt: skip
def test_a_disguised_value_is_found_as_a_whole(text, kind, value):
    """Nothing of it is left outside of the span."""
    assert found(text) == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "on 01.02.2024 and 31.12.99, version 1.10.2.33, 192.168.10.20, 3.141592653, 0.25.50.75",
        "from 09.30 to 10.45, 01.02.2024-03.02.2024, chapter 01.02.03, 12.345.678 people",
        "The total was 4111\n1111 of the parts and 2024\n2025 of the years.\n10\n20\n30\n",
        "41111111\n11111111\n",  # a column of numbers, with the check digit of a card
        "id,n\n7,41111111\n11111111,8\n",
        "we met 06\n86 people in 34 towns, and 59 10 of them",
        "We sent it to the office in 2024.\n13 people came at 10.\n30 left.",
        "See the chapter about mail.\njane was there, and @jane.\nso was I",
        "x = a @\nb.c\n@app.route\ndef f(): pass",
        'password: "Enter your password", "password": "Choose a new one", passwd = getpass("Password: ")',
        '"password_label": "blue river stone", "pass": "two of three", token: "next word"',
        "mkdir -p some/dir && ssh -p 2222 host && docker run -u 1000 -p 8080:80 nginx && mysql -P 3306 -p shop",
        "\u5bc6\u7801\u4e0d\u80fd\u4e3a\u7a7a\uff0c\u5bc6\u7801\uff1a\u8bf7\u8f93\u5165\u3002 \u043f\u0430\u0440\u043e\u043b\u044c: \u043e\u0431\u044f\u0437\u0430\u0442\u0435\u043b\u0435\u043d",
        "order 23812345678, 1381234567890, 0.13812345678, v13812345678",
        "\uff12\uff10\uff12\uff14\u5e74\uff11\uff11\u6708\uff12\uff16\u65e5, \uff11\uff0c\uff12\uff13\uff14\u5186",
    ],
)
def test_ordinary_text_in_such_forms_is_left(text):
    """Dates, versions, addresses of machines, decimals, columns, prose on several lines, labels of forms."""
    assert found(text, DEFAULT_KINDS) == []


@pytest.mark.parametrize("form", country_numbers.FORMS)
@pytest.mark.parametrize("kind", country_numbers.KINDS)
def test_values_of_forty_countries_are_found(kind, form):
    """In each form. National numbers without a leading 0, a word or usual groups look like any other number."""
    rng = random.Random(11)
    missed = []
    for country in country_numbers.COUNTRIES:
        for _ in range(3):
            text, value = country_numbers.plant(rng, country, kind, form)
            start = text.index(value)
            spans = find_private(text)
            if not any(span.start <= start and start + len(value) <= span.end for span in spans):
                missed.append((country.code, text))
    if kind == "phone, national":
        dots_on_two_lines = {"SE", "RU"} if form == "two lines" else set()
        plain = {"IT", "ES", "PT", "LU", "DK", "NO", "PL", "CZ", "GR", "SG", "IN", "BR", "HU"}
        assert {code for code, _ in missed} <= plain | dots_on_two_lines
    else:
        assert len(missed) <= (3 if kind == "phone, after a word" and form == "two lines" else 0), missed


@all_rows("text", [text for texts in country_numbers.PASSWORDS.values() for text in texts])
def test_passwords_are_found(text):
    """Behind words of many languages, in quotes, and as arguments."""
    start, end = country_numbers.password_of(text)
    assert any(span.start <= start and end <= span.end for span in find_private(text))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6))
def test_disguised_values_come_back_as_they_were(seed):
    """With their invisible characters and line breaks."""
    rng = random.Random(seed)
    kind, form = rng.choice(country_numbers.KINDS), rng.choice(list(country_numbers.FORMS))
    text, _ = country_numbers.plant(rng, rng.choice(country_numbers.COUNTRIES), kind, form)
    redactor, used = Redactor(), UsedPlaceholders()
    redactor.learn([text])
    sent, restorer = redactor.redact(text, used), Restorer(used)
    assert restorer.feed(sent) + restorer.finish() == text and not restorer.damaged


@given(
    st.lists(
        st.sampled_from(
            ["a", "1", "-", "\u200b", "\u00ad", "\uff11", "\u0660", "\u00a0", "&nbsp;", "\\uff11", "%20", "&shy;"]
        ),
        max_size=20,
    ),
    st.data(),
)
def test_ranges_lead_back_to_the_text(parts, data):
    """What a range stands for reads the same; what was removed is not at its edges."""
    text = "".join(parts)
    for read, forms in ((normalize, [*normalize(text)]), (lambda part: [decode_spaces(part)], [decode_spaces(text)])):
        form = forms[-1]
        if form.text:
            start = data.draw(st.integers(0, len(form.text) - 1))
            end = data.draw(st.integers(start + 1, len(form.text)))
            first, last = form.original_range(start, end)
            assert [*read(text[first:last])][-1].text == form.text[start:end]
            removed = {"\u200b", "\u00ad"} - {*form.text}
            assert text[first] not in removed and text[last - 1] not in removed


def test_own_words_and_patterns_are_found_in_disguise():
    """As the built-in kinds are."""
    redactor = Redactor(words={"project": ["Blue Heron"]}, patterns={"customer": r"CU-\d{6}", "wide": "\uff1a!"})
    text = "Blue\u00a0Heron, Bl\u00adue Heron, CU\u2010123\u200b456, \uff23\uff35-123456, \uff1a!"
    values = [text[span.start : span.end] for span in redactor.find(text)]
    assert values == text.split(", ")


@pytest.mark.parametrize(
    "text",
    [
        "\u200b" * 50000,
        "1\u200b" * 40000,
        "\uff11" * 50000,
        "4\n" * 30000,
        "1 " * 20000 + "\n" + "1 " * 20000,
        "DE89 3704\n" * 10000,
        "a@\n" * 20000,
        "@a.\n" * 20000,
        "\\u200b" * 20000,
        "&shy;" * 20000,
        "%20" * 30000,
        " " * 50000 + "\n" + " " * 50000,
        "mysql " * 20000,
        "mysql -p" * 20000,
        " -u a" * 20000,
        'password: "a ' * 10000,
        "\u5bc6\u7801\uff1a" * 20000,
        "password='" + "is a " * 20000,
    ],
    ids=lambda text: ascii(text[:12]),
)
def test_no_disguise_takes_long(text):
    """The time grows with the length, and not with its square: these would take minutes."""
    started = time.process_time()
    find_private(text, KINDS)
    assert time.process_time() - started < 5
