"""Patches as Kubernetes's own code applies them: `kubectl patch --local`, without an API server."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from support.helm import tool


def patched(content: Mapping[str, Any], change: Any, kind: Literal["json", "strategic"]) -> Any:
    """The object after a patch. Raises `CalledProcessError` if it does not apply."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "object.json"
        file.write_text(json.dumps(content))
        variables = {"PATH": os.environ["PATH"], "HOME": folder, "KUBECONFIG": f"{folder}/none"}
        done = subprocess.run(
            [
                tool("kubectl"),
                *(
                    "patch",
                    "--local",
                    "--filename",
                    file,
                    "--output",
                    "json",
                    "--show-managed-fields",
                ),
                *("--type", kind, "--patch", json.dumps(change)),
            ],
            check=True,
            capture_output=True,
            text=True,
            env=variables,
        )
    return json.loads(done.stdout)
