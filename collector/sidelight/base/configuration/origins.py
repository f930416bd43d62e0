"""Where the values of a configuration come from: a line of a file or an environment variable."""

from __future__ import annotations

from collections.abc import Mapping

from sidelight.base.configuration.yaml_file import KeyPath, YamlFile


class Origins:
    """The file and the variables that a configuration was read from; variables win."""

    def __init__(self, file: YamlFile | None, variables: Mapping[KeyPath, str]) -> None:
        self.file = file
        self.variables = variables

    def place(self, path: KeyPath) -> str:
        """Where the value at `path` was set or, if it was not, where it belongs.

        `sidelight.yaml:7` or `environment: SIDELIGHT_SERVE__PORT`. If neither sets a key on the
        way to it, the file or the environment as a whole.
        """
        for length in range(len(path), 0, -1):
            if path[:length] in self.variables:
                return f"environment: {self.variables[path[:length]]}"
        if self.file is None or not self.file.has(path):
            # A fault of a whole section that only variables for keys below it have created.
            for set_path, variable in self.variables.items():
                if path and set_path[: len(path)] == path:
                    return f"environment: {variable}"
        return "environment" if self.file is None else self.file.place(path)
