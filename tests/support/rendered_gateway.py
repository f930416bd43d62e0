"""The gateway that the chart renders, with its files where this machine may have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support.certificates import Authority
from support.helm import Object, only

_REFERENCES = "/etc/sidelight/references"
_LOG = "/var/lib/sidelight"


@dataclass(frozen=True)
class Gateway:
    """A rendered configuration as a file, and the folder that the volume would be."""

    file: Path
    volume: Path

    @property
    def config(self) -> dict[str, Any]:
        """What is in the file."""
        loaded: dict[str, Any] = yaml.safe_load(self.file.read_text())
        return loaded


def place(
    objects: Iterable[Object], folder: Path, secrets: Mapping[tuple[str, str], str] | None = None
) -> Gateway:
    """Write the configuration and everything that it refers to, as the kubelet would.

    `secrets` holds contents by name and key; a certificate or price list that is not in it is
    made. The listeners are bound to loopback.
    """
    listed = list(objects)
    config = only(listed, "ConfigMap", "-gateway")["data"]["sidelight.yaml"]
    for workload in (one for one in listed if one["kind"] in ("StatefulSet", "Deployment")):
        if workload["metadata"]["name"].endswith("-gateway"):
            for volume in workload["spec"]["template"]["spec"]["volumes"]:
                for source in volume.get("projected", {}).get("sources", ()):
                    _write(source, folder / "references", secrets or {})
    volume = folder / "volume"
    volume.mkdir(parents=True)
    for inside, here in ((_REFERENCES, folder / "references"), (_LOG, volume)):
        config = config.replace(inside, str(here))
    file = folder / "sidelight.yaml"
    file.write_text(config.replace("host: 0.0.0.0", "host: 127.0.0.1"))
    return Gateway(file, volume)


def _write(source: Object, folder: Path, secrets: Mapping[tuple[str, str], str]) -> None:
    ((_, reference),) = source.items()
    for item in reference["items"]:
        path = folder / item["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        given = secrets.get((reference["name"], item["key"]))
        path.write_text(_made(item["key"], path.parent) if given is None else given)


def _made(key: str, folder: Path) -> str:
    if key in ("tls.crt", "tls.key", "ca.crt"):
        authority = folder / "authority"
        if not authority.is_dir():
            authority.mkdir()
            Authority(authority).issue()
        name = {"tls.crt": "server.crt", "tls.key": "server.key", "ca.crt": "ca.pem"}[key]
        return (authority / name).read_text()
    return "prices: []\n" if key == "prices.yaml" else f"value-of-the-key-{key}"
