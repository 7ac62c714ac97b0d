"""`llm --help` and a Tab press against simonw/llm's `llm --help`: whole processes, seconds."""

from __future__ import annotations

import common

TARGET = "0.25"


def main() -> None:
    """Measure and print."""
    options = common.parser(__doc__ or "").parse_args()
    if not options.peer_llm:
        raise SystemExit("--peer-llm names the peer's script")
    tab = {"_LLM_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "llm translate --to fr"}
    ours, key, peer = common.interleave(
        options.runs,
        lambda: common.run([options.llm, "--help"]).seconds,
        lambda: common.run([options.llm], **tab).seconds,
        lambda: common.run([options.peer_llm, "--help"]).seconds,
    )
    version = common.run([options.peer_llm, "--version"]).output.strip()
    common.print_table(
        [
            [
                "llm --help",
                common.median_range(ours, 3),
                common.median_range(peer, 3),
                f"{common.median_ratio(ours, peer):.2f}",
                TARGET,
            ],
            [
                "a Tab press",
                common.median_range(key, 3),
                common.median_range(peer, 3),
                f"{common.median_ratio(key, peer):.2f}",
                TARGET,
            ],
        ],
        ["", "llmcli, s", f"simonw/llm --help ({version}), s", "ratio", "at most"],
    )


if __name__ == "__main__":
    main()
