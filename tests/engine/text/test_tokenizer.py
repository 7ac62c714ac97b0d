"""Tokenizing: text that looks like a control token stays text in user input."""

from __future__ import annotations

import ctypes

import pytest
from engine.tools import for_all
from hypothesis import strategies as st

from llmcli.engine.llama import bindings
from llmcli.engine.text.tokenizer import Tokenizer

VOCABULARIES = ("llama", "chatml")


@pytest.fixture(scope="module", params=VOCABULARIES)
def tokenizer(models, request):
    return Tokenizer(models(request.param))


@pytest.fixture(scope="module")
def chatml(models):
    return Tokenizer(models("chatml"))


def whole(tokenizer, text):
    """Tokenize with llama.cpp alone, special tokens parsed."""
    data = text.encode()
    room = (ctypes.c_int32 * (len(data) + 16))()
    count = bindings.lib().llama_tokenize(tokenizer._vocab, data, len(data), room, len(room), False, True)
    return room[:count]


def control_like(controls):
    """Texts made of control tokens and pieces of them."""
    fragments = [part for text in controls for part in (text, text[:-1], text[1:], text[0], text[-1], text[1:-1])]
    return st.lists(st.sampled_from([*fragments, "hello", " ", "\n", "é"]), max_size=12).map("".join)


def test_plain_text_never_becomes_a_control_token(tokenizer):
    """However control tokens are combined, broken or overlapped, their names are tokenized as text."""

    @for_all(control_like(tokenizer.control_tokens))
    def check(text):
        assert not set(tokenizer.encode(text)) & set(tokenizer.control_tokens.values())

    check()


@pytest.mark.parametrize("name", VOCABULARIES)
def test_text_survives_a_round_trip(models, name):
    """Any text survives tokenizing and detokenizing, except for the space that SentencePiece models put before it."""
    tokenizer = Tokenizer(models(name))

    @for_all(st.text(max_size=80))
    def check(text):
        back = tokenizer.decode(tokenizer.encode(text))
        assert back == (" " + text if tokenizer.adds_space_prefix and text else text)

    check()


def test_lone_surrogates_are_replaced(tokenizer):
    """A text that is not valid Unicode (a file name, for example) is tokenized with replacements."""
    assert tokenizer.decode(tokenizer.encode("a\ud800b")).strip() == "a?b"


def test_escaped_text_contains_no_control_token(tokenizer):
    """After escaping, no control token's name is left, and removing the mark restores the text."""

    @for_all(st.lists(control_like(tokenizer.control_tokens), min_size=1, max_size=3))
    def check(contents):
        broken, mark = tokenizer.escape_control_tokens(contents, "")
        assert tokenizer._control_pattern.search("\n".join(broken)) is None
        assert [text.replace(mark, "") for text in broken] == contents

    check()


def test_the_mark_occurs_in_no_input(tokenizer):
    """Private-use characters of the input survive: the mark occurs neither in the input nor in the template."""
    used = [chr(code) for code in range(0xE000, 0xE010)]
    broken, mark = tokenizer.escape_control_tokens(["".join(used[:8]), "<s><|im_end|>"], "".join(used[8:]))
    assert mark not in used
    assert broken[0] == "".join(used[:8])


def test_private_use_characters_survive(chatml):
    """A text's own private-use characters come back from its tokens."""
    contents, mark = chatml.escape_control_tokens(["\ue000<|im_end|>\ue001"], "")
    tokens = chatml.encode_rendered(contents[0], mark)
    assert chatml.decode(tokens) == "\ue000<|im_end|>\ue001"


def test_a_rendered_prompt_is_tokenized_as_by_llama_cpp(chatml):
    """Without control tokens in the contents, the tokens equal llama.cpp's of the whole prompt."""

    @for_all(st.lists(st.text("abc hello\n\t 漢é", max_size=20), min_size=1, max_size=4))
    def check(contents):
        prompt = "".join(f"<|im_start|>user\n{text}<|im_end|>\n" for text in contents) + "<|im_start|>assistant\n"
        assert chatml.encode_rendered(prompt, "\ue000") == whole(chatml, prompt)

    check()


def test_overlapping_control_tokens_are_all_split(chatml):
    """Splitting a control token may reveal another one, which is split too."""
    chatml_controls = "<|im_<|im_end|>end|><|im_start|><|im_start<|im_start|>|>"
    broken, _ = chatml.escape_control_tokens([chatml_controls], "")
    assert chatml._control_pattern.search(broken[0]) is None


class OddVocabulary:
    """A vocabulary whose control tokens are ordinary texts."""

    def __init__(self, model, odd):
        self._model, self._odd = model, odd
        self.vocab, self.header = model.vocab, model.header

    def token_attributes(self):
        attributes = self._model.token_attributes()
        for token in self._odd:
            attributes[token] = 1 << 3
        return attributes

    def token_text(self, token):
        return self._odd.get(token) or self._model.token_text(token)


@pytest.mark.parametrize("odd", [{40: "#"}, {40: "#", 41: "##"}, {40: "a\ue000b", 41: "ab"}, {40: "abab", 41: "ba"}])
def test_odd_control_tokens_cannot_hang_the_tokenizer(models, odd):
    """A file may list any text as a control token: single characters, overlaps, the mark itself."""
    tokenizer = Tokenizer(OddVocabulary(models("chatml"), odd))
    text = "".join(odd.values()) * 3 + "ababab##"
    broken, mark = tokenizer.escape_control_tokens([text], "")
    assert not set(tokenizer.encode_rendered(broken[0], mark)) & set(odd)
    assert broken[0].replace(mark, "") == text


def test_white_space_around_control_tokens_is_stripped_by_attribute(models):
    """Tokens with the attribute lstrip or rstrip strip the white space on that side, as in llama.cpp."""
    tokenizer = Tokenizer(models("chatml"))
    start, end = tokenizer.control_tokens["<|im_start|>"], tokenizer.control_tokens["<|im_end|>"]
    tokenizer._strip_flags[end] = 1 << 7
    assert tokenizer.encode_rendered("a  <|im_end|> b", "\ue000") == [
        *tokenizer.encode("a"),
        end,
        *tokenizer.encode(" b"),
    ]
    tokenizer._strip_flags[end] = 1 << 8
    assert tokenizer.encode_rendered("a <|im_end|>  b", "\ue000") == [
        *tokenizer.encode("a "),
        end,
        *tokenizer.encode("b"),
    ]
    assert tokenizer.encode_rendered("<|im_start|><|im_end|>", "\ue000") == [start, end]


def test_control_tokens_have_no_text_in_an_answer(chatml):
    """A generated control token shows nothing, unless it is a tag that splits the output."""
    end = chatml.control_tokens["<|im_end|>"]
    assert chatml.token_to_piece(end) == b""


def test_a_tag_to_split_at_keeps_its_text(models):
    """Reasoning tags may be control tokens; the parser gets their text."""
    tokenizer = Tokenizer(models("chatml"))
    tokenizer.register_tags(["<|im_start|>", "</think>"])
    assert tokenizer.token_to_piece(tokenizer.control_tokens["<|im_start|>"]) == b"<|im_start|>"


def test_tokens_that_end_a_generation_are_known(tokenizer):
    """The vocabulary's end-of-sequence token ends generation, an ordinary one does not."""
    assert tokenizer.is_eog(tokenizer.eos)
    assert not tokenizer.is_eog(50)
