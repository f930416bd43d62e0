"""`sidelight inject`: the mutation of the injector, on files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sidelight.collector.cli.options import fail

if TYPE_CHECKING:
    from sidelight.injection.manifests.injecting import InjectedDocument
    from sidelight.injection.settings import InjectionSettings

_SUFFIXES = (".yaml", ".yml", ".json")


@click.command(short_help="Add the sidecar and the instrumentation to Kubernetes manifests.")
@click.option(
    "-f",
    "--filename",
    "sources",
    metavar="FILE",
    multiple=True,
    help="File of manifests, folder of such files, or - for standard input. Repeatable.",
)
@click.option(
    "--settings",
    "settings_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="What is injected, in the form of the chart's ConfigMap. Without it: the defaults.",
)
@click.option(
    "--gateway",
    metavar="URL",
    help="The collector that sidecars send to by OTLP/HTTP. Without it: that of the chart, if "
    "its release is called sidelight in the namespace sidelight.",
)
@click.option(
    "--volume",
    type=click.Choice(["image", "copy"]),
    help="Where vLLM gets the instrumentation from: an image volume (Kubernetes 1.36), or a copy "
    "that an init container makes.",
)
@click.option("--container", metavar="NAME", help="vLLM's container, where nothing tells.")
@click.option("--diff", "shows_diff", is_flag=True, help="Print what would change instead.")
@click.option("--check", "only_checks", is_flag=True, help="Print no manifests, only the report.")
def inject(
    sources: tuple[str, ...],
    settings_path: Path | None,
    gateway: str | None,
    volume: str | None,
    container: str | None,
    shows_diff: bool,
    only_checks: bool,
) -> None:
    """Add the sidecar and the instrumentation to the pods in manifests.

    The manifests go to standard output, and a line for each pod to standard error. It is the same
    change that the injector of the Helm chart makes when a pod is created.

    \b
      sidelight inject -f deployment.yaml | kubectl apply -f -
      helm template my-vllm ./chart | sidelight inject | kubectl apply -f -
      sidelight inject -f pods/ --gateway http://collector.monitoring:4318 > injected.yaml
      kubectl get deployment my-vllm -o yaml | sidelight inject --diff

    Pods are found in Pod, Deployment, StatefulSet, DaemonSet, Job, CronJob, LeaderWorkerSet,
    RayCluster, RayService, LLMInferenceService, InferenceService, List, and in every other kind
    with pod templates. The container that runs vLLM is known by its image, command or args, or
    named by the annotation sidelight.dev/container or by --container.

    All else stays as it is: other fields, other documents, comments. A pod with the label
    sidelight.dev/inject: "false" is left alone, and so is one that is injected already, or that
    could break: the report says why. The pods need Kubernetes 1.29 or newer.

    Exit codes: 0 every pod that runs vLLM is injected, now or before, or opted out; 1 one of them
    cannot be injected, or no pod runs vLLM; 2 a file cannot be read or the command is wrong.
    """
    # Imported late, so that --help appears at once.
    from sidelight.base.configuration.section import ConfigError
    from sidelight.injection.manifests.injecting import inject_document
    from sidelight.injection.manifests.reading import ManifestError, documents
    from sidelight.injection.manifests.report import InjectionReport

    report = InjectionReport()
    output: list[str] = []
    try:
        settings = _settings(settings_path, gateway, volume)
        for name, text in _texts(sources):
            changed = []
            for document in documents(text, name):
                result = inject_document(document, settings, container)
                report.add(name, document, result)
                changed.append(result)
            output += _diff(name, text, changed) if shows_diff else _joined(changed, bool(output))
    except (ConfigError, ManifestError) as error:
        fail(str(error), 2)
    if not only_checks:
        click.echo("".join(output), nl=False)
    for line in report.lines():
        click.echo(line, err=True)
    sys.exit(report.exit_code())


def _settings(path: Path | None, gateway: str | None, volume: str | None) -> InjectionSettings:
    from sidelight.injection.settings import DEFAULT_FILE, read_settings

    settings = read_settings(path or DEFAULT_FILE)
    if gateway is not None:
        settings = settings.with_gateway(gateway)
    return settings if volume is None else settings.with_volume(volume)


def _texts(sources: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Names and texts of the files. Ends the process with 2 if one cannot be read."""
    if not sources and sys.stdin.isatty():
        fail("no manifests: name a file with -f, or pipe manifests in.", 2)
    for source in sources or ("-",):
        if source == "-":
            yield "standard input", _decoded(sys.stdin.buffer.read(), "standard input")
            continue
        for path in _files(Path(source)):
            try:
                yield str(path), _decoded(path.read_bytes(), str(path))
            except OSError as error:
                fail(f"{path}: cannot be read: {error.strerror}. Correct the path.", 2)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
    if not files:
        fail(f"{path}: has no file that ends in {', '.join(_SUFFIXES)}. Name another folder.", 2)
    return files


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        fail(f"{name}: not UTF-8 text. Give a file of manifests.", 2)


def _joined(documents: list[InjectedDocument], is_next: bool) -> list[str]:
    """The texts of a file, apart from those of the file before."""
    texts = [document.text for document in documents]
    if is_next and texts and not texts[0].startswith("---"):
        texts.insert(0, "---\n")
    if texts and texts[-1] and not texts[-1].endswith("\n"):
        texts.append("\n")
    return texts


def _diff(name: str, text: str, documents: list[InjectedDocument]) -> list[str]:
    from difflib import unified_diff

    after = "".join(document.text for document in documents)
    lines = unified_diff(
        text.splitlines(keepends=True), after.splitlines(keepends=True), name, f"{name} (injected)"
    )
    return [line if line.endswith("\n") else line + "\n" for line in lines]
