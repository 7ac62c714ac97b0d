"""MkDocs hook: publish the documentation for programs too, as https://llmstxt.org describes it.

Beside each HTML page lies its Markdown; ``llms.txt`` lists these files, and ``llms-full.txt`` holds README, guide and
reference in reading order, which is that of the navigation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

FRONT_PAGE = "index.md"  # says what the README says
_COMMENT = re.compile(r"^<!--.*-->\n+", re.MULTILINE)


def on_post_build(config: Mapping[str, Any]) -> None:
    """Write the files into the finished site."""
    docs, site = Path(config["docs_dir"]), Path(config["site_dir"])
    for page in list_pages(config["nav"]):
        target = site / page
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(read_page(docs / page), encoding="utf-8")
    index = build_index(config["site_name"], config["site_description"], config["nav"], docs)
    (site / "llms.txt").write_text(index, encoding="utf-8")
    (site / "llms-full.txt").write_text(build_full_text(config["nav"], docs), encoding="utf-8")


def build_full_text(nav: Sequence[Any], docs: Path) -> str:
    """Return README and all pages as one text; a comment before each names the file, which links refer to."""
    files = [docs.parent / "README.md", *(docs / page for page in list_pages(nav) if page != FRONT_PAGE)]
    return "\n".join(f"<!-- {file.relative_to(docs.parent).as_posix()} -->\n\n{read_page(file)}" for file in files)


def build_index(name: str, description: str, nav: Sequence[Any], docs: Path) -> str:
    """Return ``llms.txt``: a title, a summary, and for each part of the navigation a list of links."""
    lines = [f"# {name}", "", f"> {description}", "", "All pages in one file: [llms-full.txt](llms-full.txt)"]
    alone = [item for item in nav if not isinstance(_target(item), list)]
    parts = [("Start", alone), *(next(iter(item.items())) for item in nav if item not in alone)]
    for heading, items in parts:
        lines += ["", f"## {heading}", ""]
        lines += [f"- [{read_title(docs / page)}]({page})" for page in list_pages(items)]
    return "\n".join(lines) + "\n"


def list_pages(nav: Sequence[Any]) -> Iterator[str]:
    """Yield the files of a navigation in its order."""
    for item in nav:
        target = _target(item)
        if isinstance(target, list):
            yield from list_pages(target)
        else:
            yield target


def _target(item: Any) -> Any:
    """Return what an entry of the navigation leads to: a file, or a list of entries."""
    return item if isinstance(item, str) else next(iter(item.values()))


def read_page(file: Path) -> str:
    """Return the Markdown of a page, without comments to those who edit it."""
    return _COMMENT.sub("", file.read_text(encoding="utf-8"))


def read_title(file: Path) -> str:
    """Return the heading that a page begins with."""
    return read_page(file).partition("\n")[0].removeprefix("# ")
