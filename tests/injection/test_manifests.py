"""The manifests that injection is tested with are whole, and say whose form they have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

MANIFESTS = sorted((Path(__file__).parent / "manifests").glob("*.yaml"))
NO_POD_SPEC_OF_ITS_OWN = {"kserve-inferenceservice.yaml"}


def lists_of_containers(node: object) -> Iterator[list[Mapping[str, Any]]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "containers" and isinstance(value, list):
                yield value
            else:
                yield from lists_of_containers(value)
    elif isinstance(node, list):
        for item in node:
            yield from lists_of_containers(item)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
class TestManifests:
    def test_its_head_says_whose_form_it_has(self, path: Path) -> None:
        head = [line for line in path.read_text().splitlines() if line.startswith("#")]
        assert "Written for these" in " ".join(head)

    def test_it_has_pods(self, path: Path) -> None:
        objects = [item for item in yaml.safe_load_all(path.read_text()) if item is not None]
        assert all(item["apiVersion"] and item["kind"] for item in objects)
        containers = [item for found in lists_of_containers(objects) for item in found]
        assert all(container["name"] for container in containers)
        assert bool(containers) is (path.name not in NO_POD_SPEC_OF_ITS_OWN)
