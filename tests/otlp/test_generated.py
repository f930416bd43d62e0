"""The generated modules are what the .proto files beside them say."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest
from grpc_tools import protoc


@pytest.mark.parametrize(
    "name", ["otlp/otlp", "collector/destinations/prometheus_remote_write/remote_write"]
)
def test_the_generated_module_is_in_sync(tmp_path: Path, name: str) -> None:
    """Generated anew, it describes the same messages; the compiler's version may differ."""
    root = Path(str(resources.files("sidelight.otlp"))).parents[1]
    file = f"sidelight/{name}"
    assert protoc.main(["protoc", f"-I{root}", f"--python_out={tmp_path}", f"{file}.proto"]) == 0
    committed, anew = (
        re.search(r"AddSerializedFile\((.*)\)", (folder / f"{file}_pb2.py").read_text())
        for folder in (root, tmp_path)
    )
    assert committed is not None
    assert anew is not None
    assert committed[1] == anew[1]
