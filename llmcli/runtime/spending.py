"""What a run on a hosted model may cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.configuration.backend_presets import find_preset
from llmcli.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from llmcli.backend_config import ServerConfig
    from llmcli.backends.remote.transport.cost_budget import CostBudget
    from llmcli.settings import Settings


def make_budget(settings: Settings, server: ServerConfig, model: str | None) -> CostBudget | None:
    """Return what counts and limits the costs of ``model`` (None: of the server's own), None where no price is known.

    Raises ``UsageError`` and ``ConfigError`` for ``--max-cost`` without a price.
    """
    from llmcli.backends.remote.transport.cost_budget import CostBudget

    price, limit = server.price_of(model or server.model), settings["max_cost"]
    if price is not None:
        return CostBudget(price, limit)
    if limit is None:
        return None
    where = model or server.model or server.label
    advice = _price_advice(settings, server)
    origin = settings.origin("max_cost")
    if origin.startswith("--"):
        raise UsageError(f"--max-cost needs the price of {where}", detail=advice)
    raise ConfigError("max_cost", origin=origin, detail=f"the price of {where} is not known. {advice}")


def _price_advice(settings: Settings, server: ServerConfig) -> str:
    """Return how to add a price."""
    price = "--price-input 3 --price-output 15"
    if server.name in settings["backends"]:
        return f"Add price: {{input: 3, output: 15}} (for a million tokens) to backends.{server.name}: llm config edit"
    known = server.name and find_preset(server.name)
    address = "" if known else f" --base-url {server.base_url}"
    return f"Add it, for a million tokens: llm backends add {server.name or 'NAME'}{address} {price}"
