"""What is injected, read from a file like `injection.yaml` of this folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from sidelight.base.configuration.reading import validated
from sidelight.base.configuration.section import BaseUrl, ConfigError, Section
from sidelight.base.configuration.yaml_file import read
from sidelight.injection import names

DEFAULT_FILE: Final = Path(__file__).with_name("injection.yaml")
"""The settings of `sidelight inject` without `--settings`, and the chart's defaults."""

DESTINATIONS: Final = "SIDELIGHT_DESTINATIONS"
"""The sidecar's variable that says where it sends to, as JSON."""

KubernetesObject = dict[str, Any]


class Volumes(Section):
    """The volumes of an injected pod."""

    image: KubernetesObject = Field(description="The instrumentation as an image volume.")
    copy_: KubernetesObject = Field(
        alias="copy", description="The instrumentation as an emptyDir that the copy fills."
    )
    data: KubernetesObject = Field(description="The log of the sidecar.")

    @model_validator(mode="after")
    def _names_are_ours(self) -> Volumes:
        for key, volume, name in (
            ("image", self.image, names.VOLUME),
            ("copy", self.copy_, names.VOLUME),
            ("data", self.data, names.DATA_VOLUME),
        ):
            if volume.get("name") != name:
                raise ValueError(f"{key}.name must be {name}: injected pods are known by it")
        return self


class InjectionSettings(Section):
    """Everything that is injected. Unknown keys are refused."""

    version: str = Field(description="Sidelight's version, written on injected pods.")
    volume: Literal["image", "copy"] = Field(
        description="Where the instrumentation comes from: an image volume or a copy."
    )
    volumes: Volumes
    copy_: KubernetesObject = Field(alias="copy", description="The init container of a copy.")
    sidecar: KubernetesObject = Field(description="The container of the collector.")
    ports: tuple[int, ...] = Field(
        (),
        description="What the sidecar listens on, on loopback. A pod that declares one of these "
        "ports is left alone.",
    )
    environment: tuple[KubernetesObject, ...] = Field(
        description="Added to vLLM's container, except what it sets itself."
    )
    images_with_python_path: tuple[str, ...] = Field(
        (),
        description="Parts of the names of images that set PYTHONPATH. A pod with one is injected "
        "only if it gives the value.",
    )

    @model_validator(mode="after")
    def _pieces_fit(self) -> InjectionSettings:
        for key, container, name in (
            ("sidecar", self.sidecar, names.SIDECAR),
            ("copy", self.copy_, names.COPY),
        ):
            if container.get("name") != name:
                raise ValueError(f"{key}.name must be {name}: injected pods are known by it")
        if self.sidecar.get("restartPolicy") != "Always":
            raise ValueError("sidecar.restartPolicy must be Always, or no pod would ever start")
        for variable in self.environment:
            if not isinstance(variable.get("name"), str):
                raise ValueError("environment: each variable must have a name")
            if variable["name"] in ("PYTHONPATH", "VLLM_PLUGINS", names.OWN_PYTHON_PATH):
                raise ValueError(f"environment: {variable['name']} is set by injection itself")
        return self

    def with_volume(self, volume: str) -> InjectionSettings:
        """The same with another `volume`."""
        return InjectionSettings.model_validate({**self.as_objects(), "volume": volume})

    def with_gateway(self, url: str) -> InjectionSettings:
        """The same with sidecars that send to the collector at `url`.

        Raises `ConfigError` if `url` is not a base URL, or if the sidecar does not name its
        destinations in `DESTINATIONS`.
        """
        try:
            TypeAdapter[str](BaseUrl).validate_python(url)
        except ValidationError as error:
            fault = error.errors()[0]["ctx"]["error"]
            raise ConfigError(f"the gateway {fault}. Correct it.") from None
        objects = self.as_objects()
        for variable in objects["sidecar"].get("env", []):
            if variable["name"] == DESTINATIONS and "value" in variable:
                destination = {"name": "gateway", "type": "otlp_http", "url": url}
                variable["value"] = json.dumps([destination])
                return InjectionSettings.model_validate(objects)
        raise ConfigError(f"sidecar.env has no {DESTINATIONS}: add it, or give no gateway")

    def as_objects(self) -> dict[str, Any]:
        """The settings as the file has them: plain dictionaries, lists and values."""
        return self.model_dump(by_alias=True, mode="json")


def read_settings(path: Path = DEFAULT_FILE) -> InjectionSettings:
    """The settings in the file at `path`. Raises `ConfigError` with a line for each fault."""
    return validated(InjectionSettings, read(path))
