"""The entry point of the `sidelight` command: explains missing packages in one sentence."""

from __future__ import annotations

import os
import sys

from sidelight.base.garbage import collect_rarely

# What `all` does not install.
_EXTRAS = {"cryptography": "injector"}


def main() -> None:
    """Run the command line. Exits 2 if a package of an extra is not installed."""
    # gRPC's core writes lines of its own between ours, which name no destination. It reads the
    # variable when it is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Pydantic would look for plugins in every distribution of the environment, and let them watch
    # the configuration.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    collect_rarely()
    try:
        from sidelight.collector.cli.main import sidelight

        sidelight()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        # A missing module of our own is a bug, and needs its traceback.
        if missing in ("", "sidelight"):
            raise
        sys.stderr.write(
            f"sidelight: this command needs {missing}, which is not installed: "
            f"pip install 'sidelight[{_EXTRAS.get(missing, 'all')}]'\n"
        )
        sys.exit(2)
