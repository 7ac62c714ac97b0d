"""Completion: the scripts of four shells, what they offer, and the cost of a Tab press."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from llmcli.cli import command_registry, completers, completion_scripts, reference
from llmcli.cli.completion_scripts import FILES, Shell

ROOT = Path(__file__).parents[2]
PROTOCOL = {"_LLM_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
MODELS = {
    "list",
    "search",
    "recommend",
    "pull",
    "show",
    "rm",
    "alias",
    "default",
    "verify",
    "prune",
    "import",
    "tune",
    "quantize",
}
HEAVY = ("llama_cpp", "numpy", "huggingface_hub", "pydantic", "rich", "prompt_toolkit", "yaml", "jinja2")


@pytest.fixture
def environ(tmp_path):
    """Return the environment of a shell in which llm and llmcli are this checkout's."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("llm", "llmcli"):
        script = programs / name
        script.write_text(f"#!{sys.executable}\nimport sys\nfrom llmcli.cli.main import run\nrun()\n")
        script.chmod(0o755)
    return {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


@pytest.fixture
def offer(llm, monkeypatch):
    """Return the program's offers for a line: pairs of word and explanation."""

    def offered(line):
        for name, value in {**PROTOCOL, "_TYPER_COMPLETE_ARGS": line}.items():
            monkeypatch.setenv(name, value)
        run = llm(env={"LLMCLI_MODEL": None})
        assert (run.code, run.err) == (0, "")
        return dict((found + "\t").split("\t")[:2] for found in run.out.splitlines() if found)

    return offered


# ---- the files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", Shell)
def test_the_files_are_what_the_program_writes(shell, tmp_path):
    """completions/ does not drift; python -m llmcli.cli.completion_scripts completions/ regenerates it."""
    assert completion_scripts.run([str(tmp_path)]) == 0
    written = (tmp_path / FILES[shell]).read_bytes()
    assert (ROOT / "completions" / FILES[shell]).read_bytes() == written


@pytest.mark.parametrize("shell", Shell)
def test_the_command_prints_the_script(llm, shell):
    """A user can install it without knowing the wheel's directory; it serves both names."""
    run = llm("completion", shell.value)
    assert run.code == 0 and run.out.encode() == (ROOT / "completions" / FILES[shell]).read_bytes()
    assert "llmcli" in run.out


@pytest.mark.parametrize("arguments", [[], ["tcsh"]])
def test_a_shell_without_a_script_is_usage(llm, arguments):
    """The error lists the supported shells."""
    run = llm("completion", *arguments)
    assert run.code == 2 and run.out == ""


# ---- what is offered ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("llm su", {"summarize"}),
        ("llm models ", MODELS),
        ("llm models recommend --for se", {"sentiment"}),
        ("llm models recommend --language fr-", {"fr-CA"}),
        ("llm ask -m qwen3-1", {"qwen3-1.7b"}),
        ("llm ask --model qwen3-1", {"qwen3-1.7b"}),
        ("llm ask --model=qwen3-1", {"qwen3-1.7b"}),
        ("llm models show smol", {"smollm2-135m"}),
        ("llm generate po", {"poem"}),
        ("llm prompts show generate/po", {"generate/poem"}),
        ("llm prompts new x --from summarize.", {"summarize.length", "summarize.merge", "summarize.update"}),
        ("llm translate --to pt-", {"pt-BR", "pt-PT"}),
        ("llm translate --from Braz", {"Brazilian Portuguese"}),
        ("llm config show kv", {"kv_layout", "kv_type"}),
        ("llm summarize --style k", {"key-sentences"}),
        ("llm ask --set weights=q", {"weights=q8_0"}),
        ("llm ask --set kv", {"kv_layout=", "kv_type="}),
        ("llm ask --set kv_type=", {"kv_type=auto", "kv_type=f16", "kv_type=q8_0", "kv_type=bf16"}),
        ("llm ask --set draft=qwen3-1", {"draft=qwen3-1.7b"}),
        ("llm ask --set nothing=", set()),
        ("llm completion f", {"fish"}),
        ("llm -m qwen3-1", {"qwen3-1.7b"}),
        ("llm -m x --set kv_type=q", {"kv_type=q8_0"}),
        ("llm shell --sh", {"--shell"}),
        ("llm ask --model-", set()),
        ("llm ask --help-", {"--help-all"}),
        ("llm models --help-", {"--help-all"}),
        ("llm models pull --help-", {"--help-all"}),
        ("llm --help-", {"--help-all"}),
        ("llm help --a", {"--all"}),
        ("llm help exit", {"exit-codes"}),
        ("llm ask -f REA", set()),
    ],
)
def test_words_are_offered_in_their_place(offer, line, words):
    """Commands, names of models, prompts, languages and settings, and choices; nothing if a file is expected."""
    assert set(offer(line)) == words


def test_offers_carry_their_explanation(offer):
    """Shells that can show it show it in full."""
    assert offer("llm translate --to fr-") == {"fr-CA": "Canadian French"}
    assert offer("llm sen") == {"sentiment": "Label each line or record as positive, neutral or negative."}
    assert offer("llm ask --mod") == {"--model": "Name, file or repository of the model."}


def test_a_model_of_the_configuration_is_offered(offer):
    """Aliases are valid values of -m."""
    file = Path(os.environ["LLMCLI_CONFIG_DIR"]) / "config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("aliases: {quick: smollm2-135m}\n")
    assert "quick" in offer("llm ask -m qu")


def test_a_users_prompt_is_offered(offer, llm):
    """A prompt made with ``prompts new`` is a kind of generate."""
    llm("prompts", "new", "generate/haiku", "--from", "generate/poem")
    assert "haiku" in offer("llm generate ha")


def test_every_named_completer_exists():
    """Options name theirs, since only a Tab press needs the module."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "llmcli" / "cli").rglob("*.py")]
    named = {name for text in texts for name in re.findall(r'autocompletion="(\w+)"', text)}
    assert "models" in named and all(callable(getattr(completers, name, None)) for name in named)


def test_a_broken_configuration_breaks_no_tab_press(offer):
    """Names are not offered then, and no error appears in the line."""
    file = Path(os.environ["LLMCLI_CONFIG_DIR"]) / "config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("nonsense: 1\n")
    assert offer("llm ask -m ") == {} and "--model" in offer("llm ask --mod")


@pytest.mark.parametrize(
    "line", ["llm ", "llm ask --", "llm ask -m ", "llm generate ", "llm translate --to ", "llm config show "]
)
def test_a_tab_press_imports_nothing_heavy(line, environ):
    """A Tab press costs as much as llm --help."""
    code = "import sys; from llmcli.cli.main import main; main([]); sys.stderr.write(' '.join(sys.modules))"
    env = {**environ, **PROTOCOL, "_TYPER_COMPLETE_ARGS": line}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert run.stdout.strip() and not set(HEAVY) & set(run.stderr.split())


def test_rich_is_restored_after_a_completion(offer):
    """Modules hidden from Typer during a Tab press come back."""
    import rich

    offer("llm ")
    assert sys.modules["rich"] is rich


# ---- the shells ---------------------------------------------------------------------------------------------------


def bash(environ, line):
    """Return what bash would insert into the line."""
    script = (
        'source "$SCRIPT"; COMP_LINE=$1; COMP_POINT=${#1}; complete -p llm llmcli >/dev/null || exit; '
        '_llm_completion "${1%% *}"; (( ${#COMPREPLY[@]} )) && printf "%s\\n" "${COMPREPLY[@]}"; true'
    )
    env = {**environ, "SCRIPT": str(ROOT / "completions" / "llm.bash"), "LC_ALL": "C"}
    command = ["bash", "--norc", "--noprofile", "-c", script, "bash", line]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("llm models sh", ["show"]),
        ("llmcli models sh", ["show"]),
        ("llm translate --to=fr-", ["fr-CA"]),
        ("llm translate --to Braz", [r"Brazilian\ Portuguese"]),
        ("llm ask -f REA", []),
        ("llm ask --set kv_type=q", ["q8_0"]),
        ("llm ask --set kv_t", ["kv_type="]),
        ("llm generate 'po", ["poem"]),
    ],
)
def test_bash_completes(environ, line, words):
    """Real bash, for both names; words with spaces are quoted, and files are left to bash."""
    assert bash(environ, line) == words


@pytest.mark.parametrize("line", ["llm ask -m own/repo:", "llm ask -m own/repo:Q", "llm ask --model=own/repo:Q"])
def test_bash_completes_names_with_a_colon(environ, line):
    """Bash replaces only the text after the colon, so that is all it gets."""
    file = Path(os.environ["LLMCLI_CONFIG_DIR"]) / "config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("aliases: {'own/repo:Q4': smollm2-135m, 'own/repo:Q8': smollm2-135m}\n")
    assert bash(environ, line) == ["Q4", "Q8"]


def test_every_script_follows_the_protocol():
    """Each script sets the variables that the program reads, once a Tab press."""
    for shell in Shell:
        text = completion_scripts.completion_script(shell)
        for variable in ("_LLM_COMPLETE", "_TYPER_COMPLETE_FISH_ACTION", "_TYPER_COMPLETE_ARGS"):
            assert variable in text
        assert text.count("complete_fish") == 1


# ---- the reference ------------------------------------------------------------------------------------------------


REFERENCE = ROOT / "docs" / "reference"
OTHER_PAGES = {"exit-codes.md", "redaction-formats.md"}


def test_the_reference_does_not_drift():
    """Write its pages again with: python -m llmcli.cli.reference docs/reference."""
    written = {path.name: path.read_text(encoding="utf-8") for path in REFERENCE.iterdir()}
    assert {name: text for name, text in written.items() if name not in OTHER_PAGES} == reference.build_pages()


def test_every_command_has_a_page_in_the_reference():
    """The index links to each."""
    pages = reference.build_pages()
    names = [command.name for command in command_registry.COMMANDS]
    assert set(pages) == {reference.INDEX_PAGE, *map(reference.page_name, names)}
    assert all(f"[`llm {name}`]({reference.page_name(name)})" in pages[reference.INDEX_PAGE] for name in names)


def test_the_reference_names_every_command_and_option():
    """It contains the same commands and options as --help."""
    text = "".join(reference.build_pages().values())
    for words in ("# llm ask", "llm models pull [OPTIONS] [NAME]", "llm config show [OPTIONS] [SETTING]"):
        assert words in text
    for option in (
        "`-m, --model MODEL`",
        "`--style STYLE`",
        "`--on-error keep\\|skip\\|fail`",
        "`-y, --yes`",
        "`--to LANG`",
    ):
        assert option in text
    assert "\nllm sentiment reviews.txt\n" in text


def test_the_reference_is_printed_or_written(tmp_path, capsys):
    """Without a directory it goes to standard output, with one to a file per page."""
    directory = tmp_path / "docs" / "reference"
    assert reference.run([str(directory)]) == reference.run([]) == 0
    pages = reference.build_pages()
    assert {path.name: path.read_text(encoding="utf-8") for path in directory.iterdir()} == pages
    assert capsys.readouterr().out == "\n".join(pages.values())


def test_indexes_are_offered_by_name(llm, offer, tmp_path):
    """By the last part of the path, and by all of it if several end alike."""
    paths = [tmp_path / name for name in ("a/docs", "b/docs", "b/letters")]
    for path in paths:
        path.mkdir(parents=True)
        (path / "a.txt").write_text("The gate is green.")
        assert llm("index", "add", str(path)).code == 0
    assert set(offer("llm ask --index ")) == {str(paths[0]), str(paths[1]), "letters"}
    assert set(offer("llm ask --index l")) == {"letters"}
