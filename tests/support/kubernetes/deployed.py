"""The injector with the options and files that the chart gives its pods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from support.helm import Object, only
from support.kubernetes.injector import Injector

# On one machine the ports of two pods are apart.
_LISTENING = ("--host", "--port", "--serve-host", "--serve-port")


def deployed(
    objects: Sequence[Object],
    directory: Path,
    environment: Mapping[str, str],
    account: Path,
    *options: str,
) -> Injector:
    """A pod of the Deployment in `objects`, with its ConfigMap below `directory`.

    `account`: what is mounted of the service account. `options` replace those on where to listen.
    """
    spec = only(objects, "Deployment", "-injector")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    command, *arguments = container["args"]
    assert command == "injector"
    settings = only(objects, "ConfigMap", "-injector")["data"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for mount in container["volumeMounts"]:
        if "configMap" in volumes[mount["name"]]:
            folder = directory / mount["mountPath"].lstrip("/")
            folder.mkdir(parents=True)
            for name, text in settings.items():
                (folder / name).write_text(text)
            arguments = [each.replace(mount["mountPath"], str(folder)) for each in arguments]
    kept = [each for each in arguments if each.partition("=")[0] not in _LISTENING]
    return Injector(
        directory,
        *kept,
        f"--service-account={account}",
        "--drain-seconds=0",
        *options,
        env=environment,
    )
