"""`llm ask` started cold, 32 tokens out, against simonw/llm with the same GGUF file: whole processes, seconds."""

from __future__ import annotations

from pathlib import Path

import common

PROMPT = "Write a story about the sea."
# the peer's plugin has no option for the length of an answer, so its call of the binding gets one
PEER = (
    "import llama_cpp, sys; plain = llama_cpp.Llama.create_chat_completion\n"
    "llama_cpp.Llama.create_chat_completion = lambda self, **k: plain(self, max_tokens=32, temperature=0, **k)\n"
    "from llm.cli import cli; cli()"
)


def main() -> None:
    """Measure and print."""
    options = common.parser(__doc__ or "").parse_args()
    if not options.peer_llm:
        raise SystemExit("--peer-llm names the peer's script")
    model = common.model_path(options.model)
    python = str(Path(options.peer_llm).parent / "python")
    ask = [options.llm, "ask", "-m", model, "--max-tokens", "32", "--temperature", "0", PROMPT]
    ours, peer = common.interleave(
        options.runs,
        lambda: common.run(ask).seconds,
        lambda: common.run([python, "-c", PEER, "-m", "SmolLM2", PROMPT]).seconds,
    )
    version = common.run([options.peer_llm, "--version"]).output.strip()
    row = [
        "llm ask, 32 tokens",
        common.median_range(ours),
        common.median_range(peer),
        f"{common.median_ratio(ours, peer):.2f}",
        "0.50",
    ]
    common.print_table([row], ["", "llmcli, s", f"simonw/llm ({version}), s", "ratio", "at most"])


if __name__ == "__main__":
    main()
