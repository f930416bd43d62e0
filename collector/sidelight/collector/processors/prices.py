"""The price table: what models cost by token or by GPU-second, read from YAML with its lines."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from sidelight.base.configuration.section import ConfigError
from sidelight.otlp.remember import remembered

_TEXTS = ("model", "lora", "provider", "service")
_TOKEN_PRICES = (
    "input_per_million",
    "cached_input_per_million",
    "cache_write_per_million",
    "output_per_million",
)
_GPU_NUMBERS = ("gpu_second", "gpus", "assumed_batch_size")
_KEYS = (*_TEXTS, *_TOKEN_PRICES, *_GPU_NUMBERS)


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs; an entry of the table. Token prices are for a million."""

    model: str
    """The model's name, or that of a LoRA adapter; * and ? match."""
    provider: str = "*"
    service: str = "*"
    input_per_million: float | None = None
    cached_input_per_million: float | None = None
    cache_write_per_million: float | None = None
    output_per_million: float | None = None
    gpu_second: float | None = None
    gpus: float = 1.0
    assumed_batch_size: float | None = None
    """How many requests share the GPU where a span does not say it."""


class PriceTable:
    """Prices in the order of the file: the first that fits is taken."""

    def __init__(self, prices: tuple[Price, ...]) -> None:
        self._prices = prices
        self.price = remembered(maxsize=4096)(self._find)
        """The price for (models, provider, service), None if no entry fits."""

    def _find(self, models: tuple[str, ...], provider: str, service: str) -> Price | None:
        for price in self._prices:
            if (
                any(fnmatchcase(model, price.model) for model in models)
                and fnmatchcase(provider, price.provider)
                and fnmatchcase(service, price.service)
            ):
                return price
        return None


def load(path: Path) -> PriceTable:
    """The table in a YAML file.

    Raises `ConfigError` with file, line and key for each fault.
    """
    try:
        root = yaml.compose(path.read_text(), Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(f"shape.prices: {path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    faults: list[str] = []
    prices = tuple(_prices(root, str(path), faults))
    if faults:
        raise ConfigError("\n".join(faults))
    return PriceTable(prices)


def _prices(root: Any, where: str, faults: list[str]) -> Iterator[Price]:
    if root is None:
        faults.append(f"{where}: is empty; it must have a list `prices`")
        return
    held = _mapping(root, where, "(whole file)", ("prices",), faults)
    entries = held.get("prices")
    if entries is None or not isinstance(entries, yaml.SequenceNode):
        at = _at(where, entries if entries is not None else root)
        faults.append(f"{at}: prices: must be a list of prices")
        return
    for index, entry in enumerate(entries.value):
        found = len(faults)
        fields = _fields(entry, where, f"prices[{index}]", faults)
        if len(faults) == found:
            yield Price(**fields)


def _fields(entry: Any, where: str, key: str, faults: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, node in _mapping(entry, where, key, _KEYS, faults).items():
        try:
            value = yaml.SafeLoader.construct_object(yaml.SafeLoader(""), node, deep=True)
        except yaml.YAMLError:
            value = None
        if name in _TEXTS:
            if isinstance(value, str) and value:
                fields[name] = value
            else:
                faults.append(f"{_at(where, node)}: {key}.{name}: must be a text (is {value!r})")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            faults.append(f"{_at(where, node)}: {key}.{name}: must be a number (is {value!r})")
        elif not math.isfinite(value) or value < 0 or (value == 0 and name in _GPU_NUMBERS[1:]):
            faults.append(
                f"{_at(where, node)}: {key}.{name}: must be above zero (is {value!r})"
                if name in _GPU_NUMBERS[1:]
                else f"{_at(where, node)}: {key}.{name}: must not be negative (is {value!r})"
            )
        else:
            fields[name] = float(value)
    if ("model" in fields) == ("lora" in fields):
        faults.append(f"{_at(where, entry)}: {key}: name exactly one of model and lora")
    by_token = [name for name in _TOKEN_PRICES if name in fields]
    if bool(by_token) == ("gpu_second" in fields):
        faults.append(
            f"{_at(where, entry)}: {key}: give either prices per million tokens "
            f"({', '.join(_TOKEN_PRICES)}) or gpu_second"
        )
    if "lora" in fields:
        fields["model"] = fields.pop("lora")
    return fields


def _mapping(
    node: Any, where: str, key: str, allowed: tuple[str, ...], faults: list[str]
) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        faults.append(f"{_at(where, node)}: {key}: must be a mapping of keys")
        return {}
    held: dict[str, Any] = {}
    for name, value in node.value:
        if name.value not in allowed:
            faults.append(
                f"{_at(where, name)}: {key}: unknown key {name.value!r}; "
                f"known keys: {', '.join(allowed)}"
            )
        elif name.value in held:
            faults.append(f"{_at(where, name)}: {key}.{name.value}: is there twice")
        else:
            held[name.value] = value
    return held


def _at(where: str, node: Any) -> str:
    return f"{where}:{node.start_mark.line + 1}"
