"""The price table: what models cost by token or by GPU-second, read from a YAML file."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from sidelight.base.configuration.reading import validated
from sidelight.base.configuration.section import ConfigError, Section
from sidelight.base.configuration.yaml_file import read
from sidelight.otlp.remember import remembered

_TOKEN_PRICES = (
    "input_per_million",
    "cached_input_per_million",
    "cache_write_per_million",
    "output_per_million",
)

_Pattern = Annotated[str, Field(min_length=1)]
_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
_Count = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]


class Price(Section):
    """What a model costs, in the currency of the table; an entry of it.

    In names `*` and `?` match.
    """

    model: _Pattern | None = Field(None, description="The model's name.")
    lora: _Pattern | None = Field(None, description="The name of a LoRA adapter instead.")
    provider: _Pattern = Field("*", description="gen_ai.provider.name of the span.")
    service: _Pattern = Field("*", description="service.name of the resource.")
    input_per_million: _Amount | None = Field(None, description="A million input tokens.")
    cached_input_per_million: _Amount | None = Field(
        None, description="A million input tokens read from a cache."
    )
    cache_write_per_million: _Amount | None = Field(
        None, description="A million input tokens written to a cache."
    )
    output_per_million: _Amount | None = Field(None, description="A million output tokens.")
    gpu_second: _Amount | None = Field(None, description="A second of one GPU.")
    gpus: _Count = Field(1.0, description="GPUs that serve the model.")
    assumed_batch_size: _Count | None = Field(
        None, description="Requests that share the GPUs where a span does not say it."
    )

    @model_validator(mode="after")
    def _has_one_name(self) -> Price:
        if (self.model is None) == (self.lora is None):
            raise ValueError("name exactly one of model and lora")
        return self

    @model_validator(mode="after")
    def _has_one_kind_of_price(self) -> Price:
        by_token = any(getattr(self, name) is not None for name in _TOKEN_PRICES)
        if by_token == (self.gpu_second is not None):
            raise ValueError(
                f"give either prices per million tokens ({', '.join(_TOKEN_PRICES)}) or gpu_second"
            )
        return self

    def fits(self, models: tuple[str, ...], provider: str, service: str) -> bool:
        """Whether one of `models` and the rest match."""
        name = self.model or self.lora or ""
        return (
            any(fnmatchcase(model, name) for model in models)
            and fnmatchcase(provider, self.provider)
            and fnmatchcase(service, self.service)
        )


class _PriceFile(Section):
    """The whole file."""

    prices: tuple[Price, ...] = Field(description="The first that fits counts.")


class PriceTable:
    """Prices in the order of the file: the first that fits counts."""

    def __init__(self, prices: tuple[Price, ...]) -> None:
        self._prices = prices
        self.price = remembered(maxsize=4096)(self._first)
        """The price for (models, provider, service), None if no entry fits."""

    def _first(self, models: tuple[str, ...], provider: str, service: str) -> Price | None:
        for price in self._prices:
            if price.fits(models, provider, service):
                return price
        return None


def load(path: Path) -> PriceTable:
    """The table in a YAML file.

    Raises `ConfigError` with file, line and key for each fault.
    """
    try:
        file = read(path)
        if file.values is None:
            raise ConfigError(f"{path}: is empty; it must have a list `prices`")
        return PriceTable(validated(_PriceFile, file).prices)
    except ConfigError as error:
        # The user may not know which key of sidelight.yaml names this file.
        faults = (f"processors.prices: {fault}" for fault in str(error).splitlines())
        raise ConfigError("\n".join(faults)) from None
