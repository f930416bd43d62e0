"""Where the values of a configuration were set: a line of a file or an environment variable."""

from __future__ import annotations

from collections.abc import Mapping

from sidelight.base.configuration.yaml_file import KeyPath, YamlFile


class Origins:
    """The file and the variables that a configuration was made of; variables win."""

    def __init__(self, file: YamlFile | None, variables: Mapping[KeyPath, str]) -> None:
        self.file = file
        self.variables = variables

    def place(self, path: KeyPath) -> str:
        """Who set the value at `path`, or would be the one to set it if nobody did.

        `sidelight.yaml:7` or `environment: SIDELIGHT_SERVE__PORT`; the file or the environment
        as a whole where neither names a key on the way.
        """
        for length in range(len(path), 0, -1):
            if path[:length] in self.variables:
                return f"environment: {self.variables[path[:length]]}"
        if self.file is None or not self.file.has(path):
            for set_path, variable in self.variables.items():
                if path and set_path[: len(path)] == path:
                    return f"environment: {variable}"
        return "environment" if self.file is None else self.file.place(path)
