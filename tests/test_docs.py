"""The README and the pages in docs/: short, and true as far as a test can check."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from llmcli.cli import command_registry
from llmcli.cli.reference import page_name
from llmcli.settings import SETTING_SPECS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
_LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def read(path):
    return path.read_text(encoding="utf-8")


def words(text):
    return len(text.split())


def test_the_readme_is_short():
    """At most 1,500 words and 10 KB."""
    text = read(ROOT / "README.md")
    assert words(text) <= 1500 and len(text.encode()) <= 10_000


def test_the_architecture_is_short():
    """At most 1,500 words."""
    assert words(read(DOCS / "architecture.md")) <= 1500


def test_the_readme_has_the_commands():
    """The commands that set up a fresh clone, each in its own block; the first one needs no compiler."""
    blocks = re.findall(r"^```sh\n(.*?)\n```$", read(ROOT / "README.md"), re.MULTILINE | re.DOTALL)
    assert blocks[0] == "./install.sh\nllm summarize --pull README.md"
    assert {"pip install . && llm summarize --pull README.md", "pip install -e '.[test]' && pytest"} <= set(blocks)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_have_a_target(name):
    """Each relative link of the files beside docs/ has a target; mkdocs checks those of the pages."""
    targets = _LINK.findall(read(ROOT / name))
    assert targets and all((ROOT / target).exists() for target in targets)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_files_that_pages_name_exist(page):
    """A path of the package or the tests in backticks exists."""
    for path in re.findall(r"`((?:llmcli|tests)/[\w./-]+)`", read(page)):
        assert (ROOT / path).exists() or (page.stem == "contributing" and "title" in path), path


def test_every_page_and_command_is_in_the_navigation():
    """A page that the site does not list cannot be found."""
    listed = read(ROOT / "mkdocs.yml")
    assert all(f": {page.name}\n" in listed for page in PAGES)
    assert all(f": reference/{page_name(command.name)}\n" in listed for command in command_registry.COMMANDS)


def test_every_command_is_in_the_readme():
    """In its table."""
    text = read(ROOT / "README.md")
    assert all(f"| `llm {command.name}` |" in text for command in command_registry.COMMANDS)


def test_every_setting_is_documented():
    """On the configuration page."""
    text = read(DOCS / "configuration.md")
    assert [spec.name for spec in SETTING_SPECS if f"`{spec.name}`" not in text] == []


def test_every_exit_code_is_documented():
    """The codes of all errors."""
    from llmcli import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.LlmError)]
    codes = {kind.exit_code for kind in kinds}
    text = read(DOCS / "reference" / "exit-codes.md")
    assert [code for code in sorted(codes) if f"\n| {code} |" not in text] == []


def test_the_example_of_a_format_works():
    """The module in docs/contributing.md finds the values and inserts translations."""
    (example,) = re.findall(
        r'^```python\n("""Lines of .*?)```', read(DOCS / "contributing.md"), re.MULTILINE | re.DOTALL
    )
    module = {}
    exec(example, module)
    text = "title: A workshop\nempty: 12\n"
    pairs = module["FORMAT"]
    segments = pairs.split(text, "de")
    assert [segment.text for segment in segments] == ["A workshop"]
    assert pairs.join(text, segments, ["Eine\nWerkstatt"]) == "title: Eine Werkstatt\nempty: 12\n"
    assert pairs.check(text) == "" and "line 1" in pairs.check("nothing")


def test_the_worked_examples_are_short():
    """At most 40 lines each."""
    blocks = re.findall(r"^```\w+\n(.*?)^```", read(DOCS / "contributing.md"), re.MULTILINE | re.DOTALL)
    assert max(block.count("\n") for block in blocks) <= 40


@pytest.fixture
def site(tmp_path):
    """Return the directory of a site into which docs/llms_txt.py has written its files, as mkdocs has it do."""
    spec = importlib.util.spec_from_file_location("llms_txt", DOCS / "llms_txt.py")
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    described = yaml.safe_load(read(ROOT / "mkdocs.yml"))
    assert "docs/llms_txt.py" in described["hooks"]
    hook.on_post_build({**described, "docs_dir": str(DOCS), "site_dir": str(tmp_path / "site")})
    return tmp_path / "site"


def test_one_file_holds_the_whole_documentation(site):
    """llms-full.txt is the README, the guide and the reference, in the order of the navigation."""
    text = read(site / "llms-full.txt")
    order = ["README.md", "docs/tutorial.md", "docs/scripting.md", "docs/reference/index.md", "docs/reference/ask.md"]
    positions = [text.index(f"<!-- {name} -->\n\n# ") for name in order]
    assert positions == sorted(positions) and "Generated by" not in text
    assert all(f"<!-- docs/{page.name} -->" in text for page in PAGES if page.stem != "index")
    assert all(f"\n# llm {command.name}\n" in text for command in command_registry.COMMANDS)
    assert read(DOCS / "scripting.md") in text


def test_programs_find_the_markdown_of_each_page(site):
    """llms.txt has the form of llmstxt.org, and its links lead to files of the site."""
    text = read(site / "llms.txt")
    assert text.startswith("# llmcli\n\n> ") and "- [Pipes and scripts](scripting.md)\n" in text
    targets = _LINK.findall(text)
    assert len(targets) > len(PAGES) and all((site / target).is_file() for target in targets)


def test_the_site_loads_nothing_from_other_hosts():
    """No fonts, scripts or styles: Material's own are turned off, and there are no others."""
    described = yaml.safe_load(read(ROOT / "mkdocs.yml"))
    assert described["theme"]["font"] is False
    assert not {"extra_javascript", "extra_css"} & set(described)
    pictures = [read(path) for path in (DOCS / "images").glob("*.svg")]
    assert pictures and not any(part in svg for svg in pictures for part in ("@font-face", "@import", "<script"))


def test_messages_in_troubleshooting_exist():
    """Each quoted symptom is in the code; words in capitals are placeholders."""
    source = "".join(read(path) for path in (ROOT / "llmcli").rglob("*.py"))
    rows = [line.split(" | ")[0] for line in read(DOCS / "troubleshooting.md").splitlines() if line.startswith("| ")]
    quoted = [words for row in rows for words in re.findall(r"`([^`]+)`", row) if " " in words]
    constant = [max(re.split(r"\b[A-Z]+\b|\.\.\.", words), key=len).strip() for words in quoted]
    # assembled from parts, or no message
    assembled = {"no model called", "segments were left untranslated", "while read"}
    ours = [words for words in constant if not words.startswith(("pip ", "--")) and words not in assembled]
    assert len(ours) > 20 and [words for words in ours if words not in source] == []
