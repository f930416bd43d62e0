"""What stands in for `kubectl`, `helm`, `sidelight` and `docker` when the guides' commands run.

The commands of docs/kubernetes/ are run by a shell, with scripts on its PATH that call this
module. It does as much of a command as a machine without a cluster can, and notes how it was
checked: `helm install` is rendered by both Helms, `kubectl label` works on a local object, and of
what needs a cluster the real program reads the options.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import yaml

from support.helm import HelmError, helm, objects, tool
from support.kubernetes_schemas import faults

PROGRAMS: Final = ("kubectl", "helm", "sidelight", "docker")
CHECKS: Final = "SIDELIGHT_GUIDE_CHECKS"
"""The file to which each command appends a line: the check, a tab, the command."""

KUBERNETES: Final = "1.37"
# What the page installed last.
_RELEASE: Final = Path("release.json")
_HELMS: Final = ("helm-3", "helm-4")
# Helm's options of an installation that rendering does not have.
_OF_INSTALLATIONS: Final = {"--install", "--create-namespace", "--wait", "--atomic"}
_SIDELIGHT: Final = (sys.executable, "-m", "sidelight.collector")
_WITH_VALUE: Final = {"--namespace", "-n", "--output", "-o", "--values", "-f", "--container", "-c"}
_NAMESPACE: Final = "apiVersion: v1\nkind: Namespace\nmetadata: {name: serving}\n"
# `apps/v1`, `rbac.authorization.k8s.io/v1` and the like are Kubernetes' own.
_OTHERS_API: Final = re.compile(r"^[^/]*\.(?!k8s\.io/)[^/]*/|x-k8s\.io/")
VALUES: Final = "values.yaml"
"""The values of the quick start, which other pages go on with."""
_QUICK_START: Final = ("sidelight", "charts/sidelight", "--namespace", "sidelight", "-f", VALUES)
DEPLOYMENT: Final = "deployment.yaml"
"""The file that `kubectl get deployment` prints."""


_FITS: Final = f"each object of Kubernetes' own fits the schema of {KUBERNETES}"


class SchemaMismatchError(AssertionError):
    """An object is not what its kind allows."""


class Check(StrEnum):
    """How a step was checked."""

    RUN = "run"
    RENDERED = f"rendered by Helm 3 and 4; {_FITS}"
    LOCAL = "run by kubectl without a cluster, on a local object"
    SCHEMA = f"{_FITS}; there was no cluster to apply it to"
    OPTIONS = "options read by the program itself; there was no cluster to run it on"
    NOT_RUN = "not run: there was no container engine"


def main(program: str, arguments: list[str]) -> int:
    """Check one command; its exit code."""
    check, code = {
        "kubectl": _kubectl, "helm": _helm, "sidelight": _sidelight, "docker": _docker,
    }[program](arguments)  # fmt: skip
    with Path(os.environ[CHECKS]).open("a") as noted:
        noted.write(f"{check.name}\t{_shown(program, arguments)}\n")
    return code


def _shown(program: str, arguments: Sequence[str]) -> str:
    """The program and its verbs, as a reader knows the command."""
    verbs = 2 if program == "kubectl" and _words(arguments)[:1] in (["create"], ["rollout"]) else 1
    return " ".join([program, *_words(arguments)[:verbs]])


def _words(arguments: Sequence[str]) -> list[str]:
    """The arguments that are no options, up to `--`."""
    found, is_value = [], False
    for argument in arguments:
        if argument == "--":
            break
        if not is_value and not argument.startswith("-"):
            found.append(argument)
        is_value = argument in _WITH_VALUE
    return found


def _kubectl(arguments: list[str]) -> tuple[Check, int]:
    verb, *rest = _words(arguments)
    if verb in ("label", "annotate") and rest[0] == "namespace":
        changes = [word for word in arguments if "sidelight.dev" in word]
        return Check.LOCAL, _real("kubectl", verb, "--local", "-f", "-", *changes, stdin=_NAMESPACE)
    if verb == "create":
        return Check.LOCAL, _real("kubectl", *arguments, "--dry-run=client", "--output", "yaml")
    if verb == "apply":
        validate(_documents(arguments))
        return Check.SCHEMA, 0
    code = _options("kubectl", arguments)
    if verb == "get" and rest[:1] == ["deployment"] and "yaml" in arguments:
        sys.stdout.write(Path(DEPLOYMENT).read_text())
    if verb == "get" and rest[:1] == ["configmap"]:
        sys.stdout.write(_rendered_settings(rest[1]))
    return Check.OPTIONS, code


def _helm(arguments: list[str]) -> tuple[Check, int]:
    verb, *_ = _words(arguments)
    if verb in ("install", "upgrade"):
        rest = [word for word in arguments if word != verb and word not in _OF_INSTALLATIONS]
        _RELEASE.write_text(json.dumps(rest))
        for environment in _HELMS:
            text = helm("template", *rest, environment=environment)
            validate(objects(text))
        return Check.RENDERED, 0
    if verb == "template":
        for environment in _HELMS:
            text = helm(*arguments, environment=environment)
            validate(objects(text))
        sys.stdout.write(text)
        return Check.RENDERED, 0
    if verb in ("package", "lint", "show"):
        sys.stdout.write(helm(*arguments))
        return Check.RUN, 0
    return Check.OPTIONS, _options("helm", arguments)


def _sidelight(arguments: list[str]) -> tuple[Check, int]:
    if arguments[0] != "inject":
        return Check.OPTIONS, _options("sidelight", arguments)
    done = subprocess.run([*_SIDELIGHT, *arguments], check=False)
    return Check.RUN, done.returncode


def validate(objects: Iterable[Any]) -> None:
    """Compare each object with the schema of its kind. Kinds of others have none here.

    Raises `SchemaMismatchError`.
    """
    own = [one for one in objects if one and not _OTHERS_API.search(one["apiVersion"])]
    if found := faults(own, KUBERNETES):
        raise SchemaMismatchError("\n".join(found))


def _docker(arguments: list[str]) -> tuple[Check, int]:
    for file in arguments:
        if file.endswith("Dockerfile"):
            assert Path(file).is_file(), file
    return Check.NOT_RUN, 0


def _documents(arguments: Sequence[str]) -> Iterable[Any]:
    file = arguments[arguments.index("-f") + 1]
    return yaml.safe_load_all(sys.stdin.read() if file == "-" else Path(file).read_text())


def _rendered_settings(name: str) -> str:
    """What a ConfigMap of the release has: the page's own, or that of the quick start."""
    release = json.loads(_RELEASE.read_text()) if _RELEASE.exists() else _QUICK_START
    text = helm("template", *release)
    for one in objects(text):
        if one["kind"] == "ConfigMap" and one["metadata"]["name"] == name:
            return str(one["data"]["injection.yaml"])
    raise HelmError(f"the chart makes no ConfigMap {name}")


def read_options(program: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Let the program read its options, and print its help instead of doing anything."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    asked = [*arguments[:end], "--help", *arguments[end:]]
    command = _SIDELIGHT if program == "sidelight" else (tool(program),)
    return subprocess.run([*command, *asked], capture_output=True, text=True, check=False)


def _options(program: str, arguments: list[str]) -> int:
    done = read_options(program, arguments)
    if done.returncode:
        sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


def _real(program: str, *arguments: str, stdin: str = "") -> int:
    done = subprocess.run(
        [tool(program), *arguments], input=stdin, capture_output=True, text=True, check=False
    )
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]).name, sys.argv[2:]))
    except (HelmError, SchemaMismatchError) as error:
        sys.exit(str(error))
