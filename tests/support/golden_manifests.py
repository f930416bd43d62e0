"""Writes the golden files of injection: `python -m support.golden_manifests`."""

from __future__ import annotations

from pathlib import Path

from sidelight.injection.manifests.injecting import inject_document
from sidelight.injection.manifests.reading import documents
from sidelight.injection.manifests.report import InjectionReport
from sidelight.injection.settings import read_settings
from support.paths import ROOT

INJECTION = ROOT / "tests" / "injection"
MANIFESTS = sorted((INJECTION / "manifests").glob("*.yaml"))
GOLDEN = INJECTION / "golden"


def injected(path: Path) -> str:
    """The manifests of a file after injection, below the report of the command."""
    settings = read_settings(INJECTION / "settings.yaml")
    report = InjectionReport()
    texts = []
    for document in documents(path.read_text(), path.name):
        result = inject_document(document, settings, None)
        report.add(path.name, document, result)
        texts.append(result.text)
    head = "".join(f"## {line}\n" for line in report.lines())
    return f"{head}## exit code {report.exit_code()}\n" + "".join(texts)


def main() -> None:
    """Write the file of every manifest."""
    for path in MANIFESTS:
        (GOLDEN / path.name).write_text(injected(path))


if __name__ == "__main__":
    main()
