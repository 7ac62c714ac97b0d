"""What ``llm serve`` needs of the other rooms: models by their names, the socket, the token, and what is said of them."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.cli.context import Context
from llmcli.errors import BadModelFile, MissingError, ModelNotHere, UsageError

if TYPE_CHECKING:
    from llmcli.models.library import Library
    from llmcli.serve.app import Listed
    from llmcli.serve.guard import Rules
    from llmcli.worker.start import Starter

HOST, PORT = "127.0.0.1", 8033
_SHORT = 16
"""Characters of a token below which somebody may guess it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user wants of the server; sizes in MB of 2**20 bytes."""

    host: str
    port: int
    socket: str | None
    token_file: str | None
    origins: Sequence[str]
    requests: int
    body: int


class ServedModels:
    """The models of this machine as ``serve.app.Models`` wants them; what is pulled or removed meanwhile is seen."""

    def __init__(self, cli: Context) -> None:
        self._cli = cli

    def _library(self) -> Library:
        from llmcli.models.library import Library

        cli = self._cli
        return Library(cli.settings, cli.paths, cli.world.environ, verb=cli.verb)

    def listed(self) -> list[Listed]:
        """Return the models on this machine, that of the setting too where it is a path."""
        from llmcli.serve.app import Listed

        library = self._library()
        models = {model.name: model for model in library.list() if not model.missing and not model.damaged}
        with contextlib.suppress(MissingError, ModelNotHere, BadModelFile):
            default = library.find()
            models.setdefault(default.name, default)
        return [Listed(name, int(model.path.stat().st_mtime)) for name, model in sorted(models.items())]

    def starter(self, name: str | None) -> Starter:
        """Return what finds or starts a model's worker; a path that a client names is none, whatever lies there.

        Raises as ``Library.ready``, and what ``wiring.starter`` raises.
        """
        from llmcli.cli import wiring
        from llmcli.models.paths import is_path

        library = self._library()
        if name is not None and is_path(name) and name not in {model.name for model in self.listed()}:
            raise MissingError(name, kind="model")
        return wiring.starter(self._cli, library.ready(name, self._cli.interrupt))


def run(cli: Context, wish: Wish) -> None:
    """Serve until a signal comes. Raises ``CannotListen``, ``UsageError`` for an origin that is none, what ``token.find`` raises, and what the signal means."""
    from llmcli.cli import wiring
    from llmcli.serve import listening, token
    from llmcli.serve.server import Server
    from llmcli.worker import wire

    origins = _origins(wish)
    given = token.find(wish.token_file, cli.world.environ)
    secret = given or token.make()
    where = listening.on_path(Path(wish.socket)) if wish.socket else listening.on_address(wish.host, wish.port)
    options = wiring.engine_options(cli.settings, cli.paths.cache.absolute())
    _check_default(cli)
    with where as opened:
        server = Server(
            ServedModels(cli),
            wire.dump_options(replace(options, gpu_layers=None)),
            _rules(wish, secret, origins, opened),
            lambda text: _say(cli, text),
            verbose=cli.flags.verbose,
        )
        _announce(cli, opened, None if given else secret)
        if len(secret) < _SHORT and not cli.flags.quiet:
            _say(cli, f"the token has less than {_SHORT} characters: others may guess it")
        server.run_until(opened, lambda: cli.interrupt.requested)
    cli.interrupt.check()


def _check_default(cli: Context) -> None:
    """Say at once what is wrong with the model of the setting, which nobody may ask for before long."""
    try:
        cli.models.find()
    except ModelNotHere:  # the starter need not be here: requests may name others
        if cli.settings["model"]:
            raise


def _origins(wish: Wish) -> frozenset[str]:
    """Return the origins of the pages that may ask. Raises ``UsageError`` for what is none."""
    from llmcli.serve import guard

    try:
        return frozenset(map(guard.origin_of, wish.origins))
    except ValueError as error:
        raise UsageError(f"--allow-origin: {error}", detail="Try: --allow-origin https://HOST:PORT") from error


def _rules(wish: Wish, secret: str, origins: frozenset[str], opened: socket.socket) -> Rules:
    from llmcli.serve import listening
    from llmcli.serve.guard import LOOPBACK, Rules

    everywhere = listening.is_any(opened)
    names = {wish.host.lower(), socket.gethostname().lower()} if everywhere else {wish.host.lower()}
    return Rules(
        token=secret,
        hosts=LOOPBACK | names,
        addresses=everywhere,
        origins=origins,
        body=wish.body << 20,
        requests=wish.requests,
    )


def _announce(cli: Context, opened: socket.socket, secret: str | None) -> None:
    """Say where the server listens, and the token where it was made up: on stderr, also into a pipe, and at once."""
    from llmcli.cli import wording
    from llmcli.serve import listening

    url = listening.url(opened)
    if cli.flags.json:
        wording.say(cli.world, json.dumps({"listening": {"url": url, "token": secret}}))
        return
    if not listening.is_loopback(opened) and not cli.flags.quiet:
        _say(cli, "others can reach this address; tokens and texts go over it unencrypted")
    wording.say(cli.world, f"listening on {url}")
    if secret:
        wording.say(cli.world, f"token {secret}")


def _say(cli: Context, text: str) -> None:
    from llmcli.cli import sanitize, wording

    line = sanitize.line(text)
    wording.say(cli.world, json.dumps({"warning": line}) if cli.flags.json else f"llm: {line}")
