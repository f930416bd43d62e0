"""The injector with the options and files that the chart gives its pods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

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
    secrets: Mapping[str, Mapping[str, bytes]] = MappingProxyType({}),
) -> Injector:
    """A pod of the Deployment in `objects`, with its volumes below `directory`.

    `account`: what is mounted of the service account. `options` replace those on where to listen.
    `secrets`: the files of each Secret that the pod mounts.
    """
    spec = only(objects, "Deployment", "-injector")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    command, *arguments = container["args"]
    assert command == "injector"
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for mount in container["volumeMounts"]:
        volume = volumes[mount["name"]]
        if "configMap" in volume:
            settings = only(objects, "ConfigMap", volume["configMap"]["name"])["data"]
            files = {name: text.encode() for name, text in settings.items()}
        else:
            files = dict(secrets[volume["secret"]["secretName"]])
        folder = directory / mount["mountPath"].lstrip("/")
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
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
