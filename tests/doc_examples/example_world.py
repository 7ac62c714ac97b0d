"""The world in which the examples run: a home, a shell, the files that they name, a Hub and servers on loopback."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs
import yaml
from fake_hub import FakeHub
from fake_server import FakeServer, certificate, embed_texts, last_message, stream_answer
from fork_server import CLIENT, ForkServer
from hosted_servers import AnthropicServer, GeminiServer

from llmcli.cli.command_registry import COMMANDS
from llmcli.cli.small_model_notice import NOTICE_DIRECTORY
from llmcli.engine_library import LIBRARY_VARIABLE
from llmcli.models import catalogue
from llmcli.tasks.summarize.summary_options import KEY_SENTENCES

from .example_files import write_documents, write_models, write_texts
from .example_terminal import converse, render_screen
from .exceptions import NOT_RUN, STAND_INS, TINY_MODEL
from .model_answers import answer_text
from .page_examples import BLOCKS, ROOT, SHELL_KINDS, Block

COLUMNS = 100
_TIMEOUT_S, _STARTER_TIMEOUT_S = 300, 900
"""Seconds for an example; an answer may fill the context of the starter."""
_WIDE = 3000  # of the terminal itself: it breaks no line that llm did not break
_STAND_IN_TEXTS = {
    "man": "echo 'ls - list the files of a directory'",
    "less": 'exec cat "$@"',
    **{
        name: f'exec {sys.executable} {Path(__file__).with_name("cluster.py")} {name} "$@"'
        for name in ("sbatch", "parallel", "kubectl")
    },
    "xmllint": f"exec {sys.executable} -c 'import sys, xml.dom.minidom as m; print(m.parse(sys.stdin).toxml())'",
}
_TOKEN = "a-secret-of-at-least-thirty-two-characters"


@dataclass(frozen=True)
class Preparation:
    """What a reader has done before: the first example of a page, each of its blocks, each line of a block."""

    page: str = ""
    block: str = ""
    line: str = ""


_CONFIGURE = "mkdir -p ~/.config/llmcli && cp servers.yaml ~/.config/llmcli/config.yaml"
_RESTORE = "rm -f ~/.local/share/llmcli/sessions.db*; cp ~/chats.db ~/.local/share/llmcli/sessions.db"
_LOG = "~/.local/share/llmcli/logs.db"
_KEEP_ANSWERS = f"LLMCLI_LOGS=on llm ask 'When is the invoice due? The due date?'; LLMCLI_LOGS=on llm ask Hi; cp {_LOG} ~/answers.db"
_RESTORE_LOG = f"rm -f {_LOG}*; cp ~/answers.db {_LOG}"
_PULLED = "~/.cache/huggingface/hub/models--Qwen--Qwen3-1.7B-GGUF/snapshots/*/*"
_CALIBRATE = "llm classify --labels billing,bug,praise --calibrate labelled.csv --calibration tickets"
_TAKE_SHARES = "for suffix in csv jsonl; do llm sentiment reviews.csv --shard 1/1 -o part-1.$suffix; done"
_DESCRIBE = (
    "llm summarize report.txt --deterministic --provenance -o summary.txt; "
    'llm ask "When does the workshop open?" --provenance -o answer.txt; '
    "llm translate --to fr docs --provenance -o docs-fr"
)
_PREPARATIONS = {
    "docs/reference/verify.md": Preparation(page=_DESCRIBE),
    "docs/reference/calibrations.md": Preparation(line=_CALIBRATE),
    "docs/reference/merge.md": Preparation(page=_TAKE_SHARES),
    "docs/reference/tm.md": Preparation(line="llm tm import memory.tmx"),
    "docs/reference/ask.md": Preparation(page="llm prompts new review"),
    "docs/prompts.md": Preparation(page="mkdir -p ~/.config/llmcli/prompts/generate"),
    "docs/remote-servers.md": Preparation(page=_CONFIGURE),
    "docs/reference/summarize.md": Preparation(page=_CONFIGURE),
    "docs/chat.md": Preparation(block=_RESTORE),
    "docs/reference/logs.md": Preparation(page=_KEEP_ANSWERS, line=_RESTORE_LOG),
    "docs/reference/keys.md": Preparation(line="llm keys set openai < secret"),
    "docs/reference/sessions.md": Preparation(line=_RESTORE),
    "docs/reference/models.md": Preparation(block=f"test -e {_PULLED} || llm models pull qwen3-1.7b"),
    "docs/reference/serve.md": Preparation(page="llm models pull qwen3-4b"),
    "docs/reference/translate.md": Preparation(line="rm -rf docs/*.??.md"),
    "docs/reference/worker.md": Preparation(page="llm models pull qwen3-1.7b", line="llm ask -m qwen3-1.7b Hi"),
    "docs/worker.md": Preparation(block="llm ask Hi"),
}
_NOTICES_SHOWN = """\
mkdir -p ~/.cache/llmcli/small_model_notices; cd ~/.cache/llmcli/small_model_notices
touch ask chat check classify command extract filter generate key-sentences sentiment summarize \\
  translate
"""
"""The notices about small models, and about key sentences, are shown once a day, which no page repeats."""
_CHATS = """\
printf '%s\\n' "When is the invoice due?" "And what is a due date?" | llm chat --session 2026-01-31-0915
echo "Write an invoice." | llm chat --session 2026-02-01-1740
echo "Which due date is next?" | llm chat --session work
cp ~/.local/share/llmcli/sessions.db ~/chats.db
rm ~/.local/share/llmcli/sessions.db*
"""


@dataclass
class Result:
    """What an example left: the text on the screen, the runs of llm with their codes, and lines that failed."""

    screen: str = ""
    runs: list[tuple[str, int]] = field(default_factory=list)
    failures: str = ""


class Surroundings:
    """What the worlds of all pages share: a Hub, servers, and the home that each begins with."""

    def __init__(self, directory: Path, model: Path) -> None:
        self.directory = directory
        self.model = model.read_bytes()
        self.hub = FakeHub()
        self._fill_hub()
        self.plain = FakeServer()
        self.plain.paths["/v1/embeddings"] = embed_texts(lambda _text: [0.6, 0.8])
        hosts = ("api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com")
        tls = certificate(directory, ",".join(f"DNS:{host}" for host in hosts))
        self.hosted = dict(zip(hosts, (FakeServer(tls), AnthropicServer(tls), GeminiServer(tls)), strict=True))
        for server in (self.plain, self.hosted["api.openai.com"]):
            server.usual = stream_answer(_answer_chat)
        for server in list(self.hosted.values())[1:]:
            server.usual = server.say(lambda body, server=server: answer_text(server.last_message(body)))
        self.programs = ForkServer("doc_examples.llm_command")
        self.worlds: dict[str, PageWorld] = {}
        self._make_template()

    def _fill_hub(self) -> None:
        """Put the tiny model in the place of each file of the catalogue, and of what the examples name."""
        described = yaml.safe_load(catalogue._CATALOGUE_FILE.read_text(encoding="utf-8"))
        for entry in described.values():
            if pin := entry.get("pinned"):
                pin |= {"revision": self.hub.commit, "size": len(self.model)}
                pin["sha256"] = hashlib.sha256(self.model).hexdigest()
                entry["sources"] = ["hub"]
                name = pin["file"]
            else:
                name = f"{entry['repo'].partition('/')[2].removesuffix('-GGUF')}-{entry['quantizations'][0]}.gguf"
            self.hub.repos[entry["repo"]] = {name: self.model}
        self.catalogue = self.directory / "catalogue.yaml"
        self.catalogue.write_text(yaml.safe_dump(described, sort_keys=False))

    def _make_template(self) -> None:
        template = self.template = self.directory / "template"
        for name in ("home", "bin"):
            (template / name).mkdir(parents=True)
        work = template / "home" / "work"
        work.mkdir()
        write_texts(work)
        write_documents(work)
        write_models(template / "home", work, self.model)
        shutil.copytree(work / "docs", template / "home" / "project" / "docs")
        scripts = {name: _STAND_IN_TEXTS.get(name, "exit 0") for name in STAND_INS}
        scripts["python"] = f'PYTHONPATH={ROOT} exec {sys.executable} "$@"'
        programs = {"llm": CLIENT} | {name: f"#!/bin/sh\n{text}\n" for name, text in scripts.items()}
        for name, text in programs.items():
            (template / "bin" / name).write_text(text)
            (template / "bin" / name).chmod(0o755)
        first = PageWorld(self, "template", template)
        first.run_quietly("llm models pull smollm2-135m")
        first.run_quietly(_CHATS)
        first.run_quietly(_NOTICES_SHOWN)
        first.close()

    def world(self, page: str) -> PageWorld:
        """Return the world of a page; all of its examples run in the same one."""
        if page not in self.worlds:
            directory = self.directory / re.sub(r"\W", "-", page)
            shutil.copytree(self.template, directory, symlinks=True)
            self.worlds[page] = PageWorld(self, page, directory)
        return self.worlds[page]

    def close(self) -> None:
        """End all that runs."""
        for world in self.worlds.values():
            world.close()
        for server in (self.programs, self.hub, self.plain, *self.hosted.values()):
            server.close()


class PageWorld:
    """The world of one page. Its examples run in the order of the page, each once."""

    def __init__(self, shared: Surroundings, page: str, directory: Path) -> None:
        self.page = page
        self.directory = directory
        self.home = directory / "home"
        self.work = self.home / "work"
        self.log = directory / "log"
        self.results: dict[tuple[int, int], Result] = {}
        self.runtime = Path(tempfile.mkdtemp(prefix="llm-example-"))  # a socket's path is short
        self.servers = directory / "servers"
        self.servers.mkdir(exist_ok=True)
        self.environ = self._environ(shared)
        self.programs = shared.programs
        self.timeout_s = _TIMEOUT_S
        if page in TINY_MODEL:
            self.fork_nothing()
        self.prepared = _PREPARATIONS.get(page, Preparation())
        if self.prepared.page:
            self.run_quietly(self.prepared.page)

    def _environ(self, shared: Surroundings) -> dict[str, str]:
        port = _free_port()
        names = ("localhost:8000", "localhost:11434", "gpu.lab:8000", "gpu1.lab:8000", "gpu2.lab:8000")
        addresses = dict.fromkeys(names, shared.plain.port)
        addresses |= {f"{host}:443": server.port for host, server in shared.hosted.items()}
        (self.home / ".curlrc").write_text(f"connect-to = 127.0.0.1:8033:127.0.0.1:{port}\nsilent\nfail\nshow-error\n")
        tiny = self.page in TINY_MODEL
        limit = {"LLMCLI_MAX_TOKENS": "24"} if tiny else {}  # random weights do not end by themselves
        return {
            "HOME": str(self.home),
            "PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}",
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "COLUMNS": str(COLUMNS),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "HF_ENDPOINT": shared.hub.endpoint,
            "NO_PROXY": "127.0.0.1",
            "SSL_CERT_FILE": str(shared.directory / "cert.pem"),
            "OPENAI_API_KEY": "sk-none",
            "ANTHROPIC_API_KEY": "sk-none",
            "GEMINI_API_KEY": "none",
            "EDITOR": "nano",
            "PAGER": "cat",
            "PROFILE": str(self.home / "profile.ps1"),
            "TOKEN": _TOKEN,
            "LLMCLI_SERVE_TOKEN": _TOKEN,
            "LLMCLI_TUNE": "off",
            "EXAMPLE_LOG": str(self.log),
            "EXAMPLE_SERVERS": str(self.servers),
            "EXAMPLE_CATALOGUE": str(shared.catalogue),
            "EXAMPLE_ADDRESSES": json.dumps(addresses),
            "EXAMPLE_PORT": str(port),
            "EXAMPLE_ENGINE": "tiny" if tiny else "scripted",
            **{name: os.environ[name] for name in (LIBRARY_VARIABLE,) if name in os.environ},
            **limit,
        }

    def result(self, block: Block, number: int = 0) -> Result:
        """Return what a block left, or a command of a console block; what stands before it on the page runs first."""
        for earlier in BLOCKS[self.page]:
            if earlier.kind in SHELL_KINDS and earlier.line <= block.line and (earlier.line, 0) not in self.results:
                if self.prepared.block:
                    self.run_quietly(self.prepared.block)
                for at, result in enumerate(self._run_block(earlier)):
                    self.results[earlier.line, at] = result
        return self.results[block.line, number]

    def _run_block(self, block: Block) -> list[Result]:
        if block.kind == "console":
            return [self.run(command.typed, wide=True) for command in block.commands()]
        lines = [line for line in block.body.splitlines() if not line.startswith(tuple(NOT_RUN))]
        if not self.prepared.line:
            return [self.run("\n".join(lines))]
        parts = []
        for line in lines:
            self.run_quietly(self.prepared.line)
            parts.append(self.run(line))
        runs = [run for part in parts for run in part.runs]
        return [Result("".join(part.screen for part in parts), runs, "".join(part.failures for part in parts))]

    def run_quietly(self, script: str) -> None:
        """Run what prepares a page."""
        done = self.run(script)
        assert not done.failures and all(code == 0 for _, code in done.runs), done

    def run(self, script: str, *, wide: bool = False) -> Result:
        """Run a script in bash on a terminal, where questions are answered with yes and chats with two lines."""
        failures = self.directory / "failures"
        failures.write_text("")
        self.log.write_text("")
        trap = f'fpath=("" ~)\ntrap \'echo "line $LINENO: $BASH_COMMAND: exit code $?" >> {failures}\' ERR\n'
        file = self.directory / "script"
        file.write_text(f"set -o pipefail -o errtrace\n{trap}{script}\n")
        seen = converse(
            self.programs,
            ["--norc", str(file)],
            self.work,
            self.environ,
            _WIDE if wide else 80,
            timeout_s=self.timeout_s,
        )
        runs = [json.loads(line) for line in self.log.read_text().splitlines()]
        return Result(
            render_screen(seen, _WIDE if wide else 80).replace(str(self.home), "~"),
            [(" ".join(run["argv"]), run["code"]) for run in runs],
            failures.read_text(),
        )

    def fork_nothing(self) -> None:
        """Let Python start each ``llm``, where native code runs in it or in what it starts."""
        command = f'exec {sys.executable} {Path(__file__).with_name("llm_command.py")} "$@"'
        (self.directory / "bin" / "llm").write_text(f"#!/bin/sh\n{command}\n")

    def use_tiny_model(self) -> None:
        """Let a tiny model of random weights answer in the place of each model, in the command's own process."""
        self.fork_nothing()
        self.environ |= {"EXAMPLE_ENGINE": "tiny", "LLMCLI_MAX_TOKENS": "24", "LLMCLI_WORKER": "off"}

    def use_starter(self) -> None:
        """Let the real starter answer; it is fetched if it is not on this machine yet."""
        self.fork_nothing()
        self.timeout_s = _STARTER_TIMEOUT_S
        kept = Path(platformdirs.user_cache_dir("llmcli-tests", appauthor=False))  # as in tests/test_real.py
        self.environ |= {
            "EXAMPLE_ENGINE": "starter",
            "HF_ENDPOINT": "http://127.0.0.1:9",
            "HF_HOME": str(kept / "huggingface"),
            "LLMCLI_DATA_DIR": str(self.home / "data"),  # chats are not kept
            "LLMCLI_CACHE_DIR": str(kept / "cache"),
            "LLMCLI_WORKER": "off",
        }
        notices = kept / "cache" / NOTICE_DIRECTORY
        notices.mkdir(parents=True, exist_ok=True)
        for name in (*(command.name for command in COMMANDS), KEY_SENTENCES):  # shown once a day, so not again
            (notices / name).touch()
        self.run_quietly("llm models pull smollm2-135m")

    def close(self) -> None:
        """End the servers and workers of the page."""
        for file in self.servers.glob("*.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGTERM)
        if self.page in TINY_MODEL:
            self.run("llm worker stop")
        shutil.rmtree(self.runtime, ignore_errors=True)


def _answer_chat(body: dict) -> str:
    """Return the answer of a server that enforces the schema by which ``llm backends test`` tries it out."""
    tried = '"hello"' in json.dumps(body.get("response_format", {}))
    return '{"word": "hello"}' if tried else answer_text(last_message(body))


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]
