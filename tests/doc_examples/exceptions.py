"""The parts of the examples that do not run as they stand, each with the reason. All others run."""

from __future__ import annotations

NOT_RUN = {
    "python benchmarks/": "a benchmark runs for minutes, and beside programs of others; its options are looked up",
    "python tests/doc_examples/": "runs these examples",
    "llm summarize https://": "needs a page of the web; tests/cli/commands/test_web_documents.py reads some on loopback",
    'llm ask "What changed for tenants?" -f https://': "needs a page of the web, too",
    "llm check answer.md --against https://": "needs a page of the web, too",
    "./install.sh": "downloads from the package index and from npm's registry; .ci/run runs it",
    "llm engine install": "downloads from npm's registry; tests/cli/commands/engine has one on loopback",
    "llm engine use": "needs installed engines; see tests/cli/commands/engine",
    "llm engine rm": "needs installed engines, too",
    "llm quiz run garden.jsonl": "asks a person, too; tests/cli/commands/quiz answers it on a terminal",
    "llm label": "asks a person; tests/cli/commands/label answers it on a terminal",
}
"""Commands by their beginning: every line of a block that begins so is left out."""

STAND_INS = {
    "pip": "an installation takes minutes and the network; the files and extras that it names are looked up",
    "pytest": "runs these tests",
    "mkdocs": "is installed only with the extra docs, and .ci/run builds the site",
    "nano": "waits for a person",
    "less": "waits for a person",
    "man": "a system without manual pages has no ls(1)",
    "xmllint": "is not on each machine; its place takes Python's parser of XML",
    **dict.fromkeys(
        ("sbatch", "parallel", "kubectl"), "needs several machines; cluster.py runs processes in their place"
    ),
}
"""Programs whose place is taken by one that does nothing, or by what is said here."""

TINY_MODEL = frozenset({"docs/worker.md", "docs/serve.md", "docs/reference/worker.md", "docs/reference/serve.md"})
"""Pages about workers and servers: there a tiny model of random weights answers, in a real worker."""

STARTER_PAGES = ("README.md", "docs/tutorial.md")
"""Pages whose examples run with the starter, too; a tiny model takes the place of the other models that they name."""

OTHER_MODELS = r"qwen3|gemma|strings\.json|--to (de|fr) docs|\$HOME/project"
"""Examples that need another model than the starter, or the files of one."""

STARTER_EXIT_CODES = {
    "ask Write a commit message for this change.": {0, 3},
    "ask -f report.txt What does it say about costs?": {0, 3},
    "ask -m small Hello?": {0, 3},
    "chat --session pets": {0, 3},
    "summarize --style bullets --words 80 chapter1.txt chapter2.txt": {0, 3},
    "summarize --style headline": {0, 3},
    "generate email --var topic=a later meeting --var tone=formal": {0, 3},
    "translate --to fr notes.txt": {0, 3},
    "translate --to de guide.md -o guide.de.md": {0, 3},
    "translate --to de docs -o docs-de": {0, 3},
    "translate --offline --to de docs -o docs-de --force": {0, 3},
}
"""Codes with which a command may end: the starter repeats itself, and it cannot translate."""

EXIT_CODES = {
    ("docs/coming-from.md", "pull qwen3-0.6b"): 2,
    ("docs/coming-from.md", "-n 100 Why is the sky blue?"): 2,
    ("docs/configuration.md", "ask hi"): 78,
    ("docs/reference/exit-codes.md", "ask -m qwen3-4b Hi"): 69,
    ("docs/documents.md", "summarize login.pdf"): 65,
    ("docs/provenance.md", "verify copy.txt"): 1,
    ("docs/remote-servers.md", "ask --base-url http://gpu.lab:8000/v1"): 77,
    ("docs/remote-servers.md", "ask --backend priced --max-cost 0.0001 --max-tokens 500 Hello?"): 3,
    ("docs/scripting.md", "ask --json -m nosuch hi"): 66,
    ("docs/translation.md", "translate --to de notes.txt"): 3,
    ("docs/translation.md", "translate --check --to de strings.json -o strings.de.json"): 1,
}
"""Codes other than 0 with which a command ends, since the example is about that."""

NORMALIZERS = {
    "times and rates": (r'"(first_token_s|total_s|tokens_per_second)": [\d.]+', r'"\1": 0'),
    "tokens, which the scripted model counts as words": (r'"(\w+_tokens)": \d+', r'"\1": 0'),
    "what --stats says": (
        r"\d+ tokens in \(\d+ reused\), \d+ out, first in [\d.]+ s, [\d.]+ tokens/s, [\d.]+ s total, threads \d+, "
        r"width \d+, peak [\d.]+ MB, energy .+".replace(" ", r"\s+"),
        "STATS",
    ),
    "energy, which not every machine tells": (r", energy .+", ", ENERGY"),
    "the engine in use": (r"llm: engine .*", "llm: engine NAME"),
    "a date with its time": (r"\d{4}-\d\d-\d\d \d\d:\d\d", "DATE"),
    "the row of a worker": (r"\d+ +smollm2-135m +[\d.]+ [kM]B +[\dms]+ +\d+ +[\d.]* +\d+s", "WORKER"),
    "the head above that row": (r"PID +MODEL +MEMORY +UPTIME +REQUESTS +TOK/S +IDLE", "WORKERS"),
    "where the built-in prompts are": (r'"path": "[^"]*"', '"path": "..."'),
    "where the starter is": (r"snapshots/[0-9a-f]{40}/", "snapshots/COMMIT/"),
    "the estimate of --dry-run": (r"(?m)(\d+ +\d+) +\d+ +[\d.]+$", r"\1 TOKENS SECONDS"),
}
"""Parts of an output that differ from run to run: a pattern and what takes its place, in what is shown and what is
got."""
