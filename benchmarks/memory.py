"""Peak memory of `llm ask` against llama.cpp's llama-completion on the same context size: MiB of resident memory."""

from __future__ import annotations

import common

PROMPT = "Write a story about the sea."


def main() -> None:
    """Measure and print."""
    options = common.parser(__doc__ or "").parse_args()
    if not options.llama_cpp:
        raise SystemExit("--llama-cpp names the directory of llama-completion")
    model = common.model_path(options.model)
    peer = str(options.llama_cpp / "llama-completion")
    rows = []
    for context in ("512", "4096", "8192"):
        ask = [options.llm, "ask", "-m", model, "--ctx", context, "--max-tokens", "64", PROMPT]
        completion = [peer, "-m", model, "-c", context, "-n", "64", "-no-cnv", "-p", PROMPT]
        ours, theirs = common.in_turn(
            options.runs, lambda a=ask: common.run(a).peak, lambda c=completion: common.run(c).peak
        )
        ratio = common.ratio(ours, theirs)
        rows.append([f"context {context}", common.span(ours, 0), common.span(theirs, 0), f"{ratio:.2f}", "1.3"])
    common.table(rows, ["peak memory", "llm ask, MiB", "llama-completion, MiB", "ratio", "at most"])


if __name__ == "__main__":
    main()
