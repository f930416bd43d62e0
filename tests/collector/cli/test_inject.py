"""`sidelight inject`: files and streams in, manifests out, a report on standard error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from sidelight.collector.cli.main import sidelight
from sidelight.injection.settings import DEFAULT_FILE

POD = """\
# Ours.
apiVersion: v1
kind: Pod
metadata:
  name: llama   # the model
spec:
  containers:
    - name: server
      image: vllm/vllm-openai:v0.33.0
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: llama}
"""


def inject(*arguments: str | Path, text: str | bytes | None = None) -> Result:
    """Run the command."""
    return CliRunner().invoke(
        sidelight, ["inject", *map(str, arguments)], input=text, catch_exceptions=False
    )


def test_a_file(tmp_path: Path) -> None:
    """What is not changed keeps its form; the report is not among the manifests."""
    file = tmp_path / "pod.yaml"
    file.write_text(f"{POD}---\n{SERVICE}")
    result = inject("-f", file)
    assert result.exit_code == 0
    assert result.stdout.startswith("# Ours.")
    assert "name: llama   # the model" in result.stdout
    assert result.stdout.endswith(f"---\n{SERVICE}")
    assert result.stderr == f"{file}: Pod llama: injected, vLLM is in container server.\n"
    assert file.read_text() == f"{POD}---\n{SERVICE}"


def test_standard_input_and_again() -> None:
    """What was injected stays as it is."""
    first = inject(text=POD)
    second = inject("-f", "-", text=first.stdout)
    assert second.stdout == first.stdout
    assert second.exit_code == 0
    assert "injected already" in second.stderr


def test_several_files_are_one_stream(tmp_path: Path) -> None:
    """A folder, and a file of JSON; each is a document of its own."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.yaml").write_text(POD.rstrip("\n"))
    (tmp_path / "folder" / "b.yml").write_text(SERVICE)
    (tmp_path / "folder" / "notes.txt").write_text("not a manifest")
    file = tmp_path / "c.json"
    file.write_text(json.dumps(yaml.safe_load(POD)))
    result = inject("-f", tmp_path / "folder", "-f", file)
    assert result.exit_code == 0
    kinds = [item["kind"] for item in yaml.safe_load_all(result.stdout)]
    assert kinds == ["Pod", "Service", "Pod"]
    assert result.stdout.count('"initContainers"') == 1


def test_json_stays_json() -> None:
    """A program may read it."""
    pod = json.loads(inject(text=json.dumps(yaml.safe_load(POD))).stdout)
    assert len(pod["spec"]["initContainers"]) == 2


def test_diff_and_check() -> None:
    """Nothing to apply: the difference, or the report alone."""
    diff = inject("--diff", text=POD)
    assert "+  initContainers:\n" in diff.stdout
    assert not [line for line in diff.stdout.splitlines() if line.startswith("-  ")]
    check = inject("--check", text=POD)
    assert (check.stdout, check.exit_code) == ("", 0)
    assert "injected" in check.stderr


def test_volume() -> None:
    """An image volume instead of a copy, which needs no init container."""
    [pod] = yaml.safe_load_all(inject("--volume", "image", text=POD).stdout)
    assert [item["name"] for item in pod["spec"]["initContainers"]] == ["sidelight"]
    assert "image" in pod["spec"]["volumes"][0]


def test_gateway(tmp_path: Path) -> None:
    """Where the sidecars send to; settings of which nothing says so are refused."""
    url = "http://collector.monitoring:4318"
    [pod] = yaml.safe_load_all(inject("--gateway", url, text=POD).stdout)
    sidecar = pod["spec"]["initContainers"][1]
    [value] = [item["value"] for item in sidecar["env"] if item["name"] == "SIDELIGHT_DESTINATIONS"]
    assert json.loads(value) == [{"name": "gateway", "type": "otlp_http", "url": url}]
    settings = tmp_path / "settings.yaml"
    settings.write_text(DEFAULT_FILE.read_text().replace("SIDELIGHT_DESTINATIONS", "OTHER"))
    result = inject("--gateway", url, "--settings", settings, text=POD)
    assert result.exit_code == 2
    assert "sidecar.env has no SIDELIGHT_DESTINATIONS" in result.stderr


def test_a_pod_that_exists() -> None:
    """It can be looked at, but not changed."""
    result = inject("--check", text=f"{POD}status:\n  phase: Running\n")
    assert "Inject what makes it." in result.stderr


def test_container() -> None:
    """Named where nothing tells, and where a workload has no place for an annotation."""
    service = """\
kind: LLMInferenceService
metadata: {name: qwen}
spec:
  template:
    containers:
      - name: main
"""
    assert inject(text=service).exit_code == 1
    result = inject("--container", "main", text=service)
    assert result.exit_code == 0
    template = yaml.safe_load(result.stdout)["spec"]["template"]
    assert "metadata" not in template
    assert template["containers"][0]["volumeMounts"]
    pod = POD.replace("vllm/vllm-openai:v0.33.0", "llm")
    metadata = yaml.safe_load(inject("--container", "server", text=pod).stdout)["metadata"]
    assert list(metadata["annotations"]) == ["sidelight.dev/injected"]


def test_settings(tmp_path: Path) -> None:
    """Those of a file; a fault in it is named with its line."""
    file = tmp_path / "injection.yaml"
    file.write_text("version: '1'\nsidecars: {}\n")
    result = inject("--settings", file, text=POD)
    assert result.exit_code == 2
    assert f"{file}:2: sidecars" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        (POD.replace("spec:", "spec:\n  hostNetwork: true"), 1, "do without hostNetwork."),
        (POD.replace("vllm/vllm-openai:v0.33.0", "nginx"), 1, "or by --container."),
        (f"{POD}---\n{POD.replace('vllm/vllm-openai:v0.33.0', 'nginx')}", 0, "not changed."),
        (SERVICE, 1, "no pods found."),
        ("", 1, "no pods found."),
        ("a:\n- [", 2, "standard input:2: not valid YAML."),
        (f"{SERVICE}---\nkind: {{{{ .Values.kind }}}}\n", 2, "helm template"),
        (b"\xff", 2, "not UTF-8"),
    ],
)
def test_what_is_not_done(text: str | bytes, code: int, says: str) -> None:
    """The exit code and a sentence say so; what is not injected is printed as it was."""
    result = inject(text=text)
    assert result.exit_code == code
    assert says in result.stderr
    if code == 1:
        assert result.stdout == text


def test_files_that_are_missing(tmp_path: Path) -> None:
    """No traceback, and no manifests."""
    for path in (tmp_path / "missing.yaml", tmp_path):
        result = inject("-f", path)
        assert (result.exit_code, result.stdout) == (2, "")
        assert str(path) in result.stderr


def test_help_teaches() -> None:
    """With commands to copy."""
    text = inject("--help").stdout
    for part in ("kubectl apply -f -", "Exit codes", "helm template", "LeaderWorkerSet"):
        assert part in text


@pytest.mark.parametrize("url", ["ftp://host", "http://user:secret@host:4318", "host:4318"])
def test_a_gateway_that_no_sidecar_takes(url: str) -> None:
    """Refused before it is in manifests, and a password is not repeated."""
    result = inject("--gateway", url, text=POD)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "the gateway must" in result.stderr
    assert "secret" not in result.stderr
