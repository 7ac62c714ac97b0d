"""The options of other programs: what to write for one that a command lacks, or that means something else here.

Options that are named for a setting, as those of earlier releases, are among them.

In each row of the tables, the spellings of other programs follow what to write. That is an option, shown by the
commands that have it, with the value that was typed instead of the capital letters at its end; or else a sentence. A
spelling with ``N`` or ``URL`` is one before such a value.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterable, Sequence

from llmcli.cli import command_registry
from llmcli.cli.options import find_parameters
from llmcli.cli.parsing.parameters import Argument, CommandParameter, argument_words, option_of
from llmcli.cli.parsing.setting_options import assignment_advice
from llmcli.errors import UsageError

_MODEL_OPTION_ADVICE = "An option of the model has its own name: --temperature 0, --seed 7, --max-tokens 100"
_PROMPT_ADVICE = "A prompt of your own: llm ask -p NAME < FILE"
_ROWS_FOR_ALL = (
    ("--temperature T", "--temp", "-T N"),
    ("--max-tokens N", "-n N", "--predict", "--n-predict"),
    ("--ctx N", "-c N", "--ctx-size"),
    ("--set threads=N", "-t N"),
    ("--set gpu_layers=N", "-ngl", "--ngl", "--n-gpu-layers"),
    ("--set kv_type=TYPE", "-ctk", "-ctv", "--cache-type-k", "--cache-type-v"),
    ("--seed N", "-s N"),
    ("-m OWNER/REPO:QUANT", "-hf", "--hf-repo"),
    ("--system TEXT", "-sys", "--system-prompt"),
    ("--system @FILE", "--sf", "--system-fragment"),
    ("--stats", "-u", "--usage"),
    ("--reasoning", "--think"),
    ("--to LANG", "-t", "--target", "--target-lang"),
    ("--from LANG", "--source-lang"),
    ("--backend NAME", "--api"),
    ("--index NAME", "--rag"),
)
_ROWS_OF_ASK = (
    ("An attachment is a file here: llm ask -f FILE", "-a", "--attachment", "--at", "--attachment-type"),
    ("A fragment is a file here: llm ask -f FILE", "--fragment"),
    ("It is a prompt here: -p NAME (all of them: llm prompts list)", "-r", "-R", "--role", "--pattern"),
    ("A conversation has a name here: --session NAME", "--cid", "--conversation", "--title"),
    ("--session NAME", "-c"),
    ('Try: llm ask -f URL "QUESTION"', "-u URL"),
    ("Try: --continue", "-C", "--continue-last"),
    ("Try: llm chat", "-i", "--interactive", "-cnv"),
    ('A shell command: llm command "TASK". A question written in your editor: llm ask --editor', "-e"),
    ('A shell command is printed, never run: llm command "TASK"', "--execute"),
    ("Try: llm ask -p NAME --var NAME=VALUE", "--param", "-v="),
    ("Leave it out: reasoning is shown only with --reasoning", "--hidethinking"),
    (_MODEL_OPTION_ADVICE, "-o", "--option"),
    ("The options of sampling are --temperature T and --seed N", "--top-k", "--top-p", "--topp", "--min-p"),
    ("A template is a prompt here: llm prompts new NAME, then llm ask -p NAME", "--save"),
    ("Try: llm extract --many --schema SCHEMA FILE, or a list: llm ask --schema 'names list'", "--schema-multi"),
    ("Try: llm ask --schema SCHEMA", "-j", "--json-schema"),
    ("The first code block of the answer: llm ask -x", "--xl", "--extract-last"),
    ("A key is stored: llm keys set NAME, or named by its variable: --set key_env=VARIABLE", "--key"),
    ("Leave it out: answers are kept only after llm config set logs on", "-n", "--no-log"),
    ("Try: llm config set logs on", "--log"),
    ("Leave it out: in a pipe, only the answer is written", "--no-stream", "--stream", "--nowordwrap"),
    ("Try: llm config set worker.idle_timeout SECONDS", "--keepalive"),
    ("Prompts: llm prompts list. Saved chats: llm sessions list", "-l", "--list"),
    ("Try: llm prompts list", "--listpatterns", "--list-roles"),
    ("Try: llm sessions list", "--list-sessions"),
    ("Try: llm models", "-L", "--listmodels", "--list-models"),
    ("Try: llm serve", "--serve"),
)
_INSTRUCTIONS_ROW = ("Instructions of your own: llm ask -s TEXT < FILE", "-s", "--system")
_ROWS_BY_COMMAND = {
    "ask": _ROWS_OF_ASK,
    "chat": _ROWS_OF_ASK,
    "summarize": (_INSTRUCTIONS_ROW, (_PROMPT_ADVICE, "-t", "-p")),
    "extract": (_INSTRUCTIONS_ROW,),
    "translate": (("The language of the document: --from LANG. About the text: --context TEXT", "-s"),),
    "generate": (("A prompt of your own is a kind: llm generate NAME", "-t", "-p"),),
    "embed": (("A text comes from standard input: echo TEXT | llm embed", "-c"),),
    "quiz export": (
        ("Try: llm quiz export DECK -o FILE.apkg, or FILE.txt for a text file", "--anki"),
        ("Leave it out: a deck is written as Markdown, unless -o names a file for Anki", "--markdown"),
    ),
    "sessions export": (("Try: llm sessions export NAME for Markdown, or with --json for messages", "--format"),),
    "similar": (("The text is the first argument: llm similar TEXT FILE", "-c"),),
}
_SINGLE_DASH_NAMES = frozenset({"-ngl", "-hf", "-sys", "-cnv", "-ctk", "-ctv"})
"""Long names with one dash, which are read here as several letters, or as a letter with its value."""

_MEANINGS = {"-c": "-c continues a chat", "-s": "-s gives instructions", "-t": "-t names a prompt"}
"""Letters of llm ask and llm chat that llama.cpp and others use for something else."""
_MIN_PROSE_WORDS = 2
_MODEL_OPTION_NAMES = frozenset({"temperature", "max_tokens", "seed", "top_p", "top_k", "num_ctx", "num_predict"})


# ---- options that a command lacks ------------------------------------------------------------------------------------


def lacking_option_error(option: str, words: Sequence[str]) -> UsageError | None:
    """Return the error for an option that the command of the line ``words`` lacks; None if it is of no known program.

    ``option`` is as the parser read it: for ``-ngl``, one of the letters.
    """
    typed = _before_dashes(words)
    if re.fullmatch("-[a-z]", option):
        option = next((word for word in typed if word in _SINGLE_DASH_NAMES and option[1] in word), option)
    elif option == "-=":
        option = next((word[: len("-v=")] for word in typed if re.match("-[a-z]=", word)), option)
    implied = not words or words[0].startswith("-")
    command = "ask" if implied else command_registry.command_path(words)
    before = itertools.takewhile(lambda word: not word.startswith(option), typed[0 if implied else 1 :])
    if command == "ask" and _is_prose([*before]):
        return None
    advice = _find_advice(command, option, _value_after(typed, option))
    return UsageError(f"no such option: {option}", detail=advice) if advice else None


def _is_prose(before: Sequence[str]) -> bool:
    """Return whether words before an option of llm ask begin a question without quotes, of which it may be a word."""
    return len([each for each in _arguments("ask", before) if each and not _has_space(each)]) >= _MIN_PROSE_WORDS


def _before_dashes(words: Sequence[str]) -> Sequence[str]:
    return words[: words.index("--")] if "--" in words else words


def _value_after(words: Sequence[str], option: str) -> str:
    """Return the value of an option, behind ``=`` or the next word; "" if there is none."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == option:
            return "" if following.startswith("-") else following
        if word.startswith(f"{option}="):
            return word[len(option) + 1 :]
    return ""


def _find_advice(command: str, option: str, value: str) -> str:
    """Return what to write for an option with its value; "" if nothing is known for this command."""
    parameters = find_parameters(command)
    if option in ("-f", "--file", "-i") and _takes_files(parameters):
        return f"A file is an argument here: llm {command} FILE"
    spellings = [option]
    if _is_number(value):
        spellings.insert(0, f"{option} N")
    elif value.startswith(("https://", "http://")):
        spellings.insert(0, f"{option} URL")
    for spelling in spellings:
        for ours in (*_rows_with(spelling, _ROWS_BY_COMMAND.get(command, ())), *_rows_with(spelling, _ROWS_FOR_ALL)):
            if not ours.startswith("-"):
                return ours
            if option_of(parameters, ours.split()[0]) is not None:
                return f"Try: {_fill(ours, value)}"
    has_settings = option.startswith("--") and option_of(parameters, "--set") is not None
    return assignment_advice(option, value) if has_settings else ""


def _rows_with(spelling: str, rows: Iterable[Sequence[str]]) -> Iterable[str]:
    return (ours for ours, *spellings in rows if spelling in spellings)


def _fill(ours: str, value: str) -> str:
    """Return an option with the value that was typed."""
    return re.sub("[A-Z/:]+$", lambda _: shlex.quote(value), ours) if value else ours


def _is_number(value: str) -> bool:
    return value.replace(".", "", 1).isdecimal()


def _takes_files(parameters: Sequence[CommandParameter]) -> bool:
    declared = [parameter.declaration for parameter in parameters]
    return any(isinstance(each, Argument) and "FILE" in each.keywords["metavar"] for each in declared)


# ---- options that mean something else here ---------------------------------------------------------------------------


def check_meaning(words: Sequence[str]) -> None:
    """Raise ``UsageError`` if a line of llm ask or llm chat has one of its options in the meaning of another program.

    Such a line could be parsed, and would not do what is meant.
    """
    command, line = ("ask", words) if words[0].startswith("-") else (words[0], words[1:])
    typed = _before_dashes(line)
    for index, word in enumerate(typed):
        values = [*typed[index + 1 :], "", ""][:2]
        happened, advice = _explain_meaning(command, line, word, values)
        if advice and not (command == "ask" and _is_prose(typed[:index])):
            raise UsageError(happened, detail=advice)


def _explain_meaning(command: str, line: Sequence[str], word: str, values: Sequence[str]) -> tuple[str, str]:
    """Return what an option means here, and what to write; an empty advice if it means the same, or is no option.

    ``values`` are the two words after it.
    """
    value, following = values
    if word in _SINGLE_DASH_NAMES or _is_foreign_value(command, line, word, value):
        return _MEANINGS.get(word, f"no such option: {word}"), _find_advice(command, word, value)
    if word in ("-p", "-t", "--prompt") and _is_text(value):
        asks = command == "ask" and not _arguments(command, line)
        advice = "The question needs no option: llm ask" if asks else "Try: --system"
        return f"{word} names a prompt", f"{advice} {shlex.quote(value)}"
    if command == "ask" and word == "--template" and re.fullmatch("[A-Za-z][A-Za-z0-9_.-]*", value):
        return "--template is a text with columns of records", f"A template is a prompt here: -p {value}"
    if command == "ask" and word == "-p" and "-t" in line:
        variable = "NAME=VALUE" if "" in values or following.startswith("-") else shlex.quote(f"{value}={following}")
        return "-p names a prompt, as -t does", f"A parameter is a variable here: --var {variable}"
    if command == "ask" and word == "-o" and _is_number(following):
        is_option = value in _MODEL_OPTION_NAMES or (value.isidentifier() and _stands_beside_question(line, following))
        return "-o is the file for the answer", _MODEL_OPTION_ADVICE if is_option else ""
    return "", ""


def _is_foreign_value(command: str, line: Sequence[str], word: str, value: str) -> bool:
    """Return whether the word after a letter is a value that the letter does not have here.

    That is a number instead of a prompt or instructions, or for -c, a word beside a question in quotes. Chats take no
    words.
    """
    if word in ("-s", "-t"):
        return _is_number(value)
    if word != "-c" or not value or value.startswith("-"):
        return False
    return value in _arguments(command, line) if command == "chat" else _stands_beside_question(line, value)


def _stands_beside_question(line: Sequence[str], word: str) -> bool:
    """Return whether the arguments of llm ask are this word and a question in quotes."""
    others = _arguments("ask", line)
    if word not in others or _has_space(word):
        return False
    others.remove(word)
    return len(others) == 1 and _has_space(others[0])


def _arguments(command: str, line: Sequence[str]) -> list[str]:
    return [each or "" for each in argument_words(find_parameters(command), line)]


def _is_text(value: str) -> bool:
    """Return whether a value is no name of a prompt, and no path."""
    return _has_space(value) and not value.startswith(("/", ".", "~")) and not value.endswith((".yaml", ".yml"))


def _has_space(text: str) -> bool:
    return any(map(str.isspace, text))
