"""What the chart's schema refuses, and that the files made from others are up to date."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python import Chart
from helm_python.errors import HelmValuesError
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from support.helm import CHART, HelmError, only, rendered
from support.kubernetes_schemas import faults
from support.paths import DOCS, ROOT

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())


def test_the_generated_files_are_up_to_date(tmp_path: Path) -> None:
    """`make chart` changes nothing."""
    chart = tmp_path / "chart"
    chart.mkdir()
    for name in ("values.yaml", "schema.yaml"):
        (chart / name).write_text((CHART / name).read_text())
    command: list[str | Path] = [
        sys.executable,
        ROOT / "scripts" / "chart_files.py",
        chart,
        tmp_path / "values.md",
    ]
    subprocess.run(command, check=True)
    made = {path.relative_to(chart): path.read_text() for path in _files(chart)}
    kept = {path: (CHART / path).read_text() for path in made}
    assert made == kept
    assert {path.name for path in _files(CHART / "files" / "dashboards")} == {
        path.name for path in _files(chart / "files" / "dashboards")
    }
    page = (DOCS / "kubernetes" / "values.md").read_text()
    assert (tmp_path / "values.md").read_text() == page


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_the_version_is_that_of_the_package() -> None:
    """Chart, images and package are released together."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == version


def test_no_object_takes_unknown_keys() -> None:
    """Of the chart, of sidelight.yaml and of Kubernetes's objects alike."""
    open_objects = [
        place
        for place, part in _parts(SCHEMA, "")
        if "properties" in part and part.get("additionalProperties") is not False
    ]
    # What chooses a type of destination, and compares no keys.
    assert [place for place in open_objects if "/destinations/" not in place] == []


def _parts(value: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        if not place.endswith("/properties"):
            yield place, value
        for key, inner in value.items():
            yield from _parts(inner, f"{place}/{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _parts(inner, f"{place}/{number}")


_LANGFUSE = {"type": "langfuse", "public_key": {"env": "A"}, "secret_key": {"env": "B"}}
REFUSED: dict[str, dict[str, Any]] = {
    "a misspelt key": {"gatway": {}},
    "a misspelt key of a section": {"gateway": {"replica": 2}},
    "a misspelt key of Kubernetes": {"gateway": {"resources": {"limit": {"memory": "1Gi"}}}},
    "a deep one": {"gateway": {"affinity": {"podAntiAffinity": {"required": []}}}},
    "a misspelt key of sidelight.yaml": {"gateway": {"config": {"log": {"max_byte": 1}}}},
    "of a destination": {"gateway": {"config": {"destinations": [{**_LANGFUSE, "urll": "x"}]}}},
    "a type of destination": {"gateway": {"config": {"destinations": [{"type": "langfuze"}]}}},
    "a secret in plain text": {
        "gateway": {"config": {"destinations": [{**_LANGFUSE, "secret_key": "sk-lf-1"}]}}
    },
    "a reference without a key": {
        "gateway": {
            "config": {"destinations": [{**_LANGFUSE, "secret_key": {"existingSecret": "a"}}]}
        }
    },
    "a folder of the log": {"gateway": {"config": {"log": {"directory": "/data"}}}},
    "a host": {"gateway": {"config": {"serve": {"host": "127.0.0.1"}}}},
    "a number as text": {"gateway": {"replicas": "2"}},
    "a size that is none": {"gateway": {"persistence": {"size": "10GB"}}},
    "a required key taken away": {"gateway": {"persistence": {"size": None}}},
    "another mode": {"monitoring": {"mode": "yes"}},
    "a name of a variable": {"injection": {"environment": [{"name": "A=B", "value": "1"}]}},
    "a field of a pod": {
        "injection": {
            "environment": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.node"}}}]
        }
    },
    "a password in an endpoint": {"injection": {"endpoint": "https://user:secret@host:4318"}},
    "an endpoint that is no URL": {"injection": {"endpoint": "http://host name:4318"}},
    "a password in a destination": {
        "gateway": {"config": {"destinations": [{**_LANGFUSE, "url": "https://a:b@host"}]}}
    },
    "a label that is none": {"commonLabels": {"a b": "c"}},
}


@pytest.mark.parametrize("case", REFUSED)
def test_faults_are_refused(case: str) -> None:
    """Helm 4's library names the place."""
    with pytest.raises(HelmValuesError, match="at '"):
        Chart.load(str(CHART)).render(REFUSED[case])


@pytest.mark.real("helm-4", "helm-3")
@pytest.mark.parametrize("environment", ["helm-3", "helm-4"])
def test_both_helms_name_the_key(environment: str) -> None:
    """And not only that one of many alternatives does not fit."""
    with pytest.raises(HelmError, match="urll"):
        rendered(REFUSED["of a destination"], environment=environment)


_SAMPLED = {"type": "phoenix", "sample": {"share": 0.1}}


@pytest.mark.real("helm-4")
@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"replicas": 2, "config": {"destinations": [_SAMPLED]}}, "set gateway.replicas to 1"),
        (
            {"autoscaling": {"kind": "hpa"}, "config": {"destinations": [_SAMPLED]}},
            "gateway.autoscaling.kind to none",
        ),
        ({"autoscaling": {"kind": "hpa", "minReplicas": 9}}, "correct one of them"),
        ({"config": {"receivers": {"otlp_http": {"port": 4317}}}}, "set another"),
        ({"config": {"serve": {"port": 80}}}, "set another"),
        ({"persistence": {"size": "1Mi"}}, "needs 2Mi"),
        ({"config": {"log": {"max_bytes": 10 * 2**30}}}, "lower the one or raise the other"),
    ],
)
def test_faults_that_no_schema_finds(values: dict[str, Any], sentence: str) -> None:
    """Sampling sees whole traces in one pod only; other processes have the low ports."""
    with pytest.raises(HelmError, match=sentence):
        rendered({"gateway": values})


# Without shrinking: each example takes a tenth of a second, and says itself what is wrong.
@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(data=st.data())
def test_whatever_the_schema_allows_is_taken(data: st.DataObject) -> None:
    """Any values of the schema give objects that Kubernetes takes."""
    values = data.draw(_values(DEFAULTS, SCHEMA))
    values["monitoring"] = {**values.get("monitoring", {}), "dashboards": {"enabled": False}}
    # What the templates refuse, with a sentence of their own: see the tests above.
    _set(values, ("gateway", "autoscaling"), minReplicas=1, maxReplicas=3)
    _set(values, ("gateway", "persistence"), size="7Gi")
    _set(values, ("injection",), endpoint="http://collector:4318", volume="copy")
    _set(values, ("injection", "webhook", "certificates"), existingSecret="a", caBundle="b")
    made = Chart.load(str(CHART)).render(values, name="r", namespace="n")
    documents = [
        document
        for name, text in made.items()
        if not name.endswith("NOTES.txt")
        for document in yaml.load_all(text, yaml.CSafeLoader)
        if document
    ]
    assert faults(documents, "1.36") == []


def _set(values: dict[str, Any], path: tuple[str, ...], **keys: Any) -> None:
    for part in path:
        values = values.setdefault(part, {})
    values |= keys


def _values(defaults: dict[str, Any], schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the keys, with values of their types."""
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for key, default in defaults.items():
        part = schema["properties"].get(key, {})
        if isinstance(default, dict) and part.get("properties"):
            optional[key] = _values(default, part)
        elif "enum" in part:
            optional[key] = st.sampled_from([one for one in part["enum"] if one is not None])
        elif part.get("type") == "boolean":
            optional[key] = st.booleans()
        elif part.get("type") == "integer":
            optional[key] = st.integers(part.get("minimum", 0), part.get("maximum", 1000))
        elif part.get("type") == "string" and "pattern" in part:
            pattern = re.compile(part["pattern"].replace("$", r"\Z"), re.ASCII)
            longest = part.get("maxLength", 100)
            optional[key] = st.from_regex(pattern, alphabet=_ASCII).filter(_shorter_than(longest))
    return st.fixed_dictionaries({}, optional=optional)


def _shorter_than(longest: int) -> Callable[[str], bool]:
    return lambda text: len(text) <= longest


_ASCII = st.characters(min_codepoint=32, max_codepoint=126)


@pytest.mark.real("helm-4")
def test_null_takes_a_default_away() -> None:
    """What need not be there may be set to null, all at once; Helm then has no value at all."""
    values = _nulls(DEFAULTS, SCHEMA)
    assert values["gateway"]["tolerations"] is values["commonLabels"] is None
    assert "config" not in values["gateway"]
    for version in ("1.32", "1.37"):
        listed = rendered(values, kubernetes=version)
        assert faults(listed, version) == []
        (container,) = only(listed, "StatefulSet")["spec"]["template"]["spec"]["containers"]
        assert "resources" not in container


def _nulls(defaults: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    nulls: dict[str, Any] = {}
    for key, default in defaults.items():
        part = schema["properties"][key]
        if isinstance(default, dict) and part.get("properties"):
            nulls[key] = _nulls(default, part)
        elif key not in schema["required"]:
            nulls[key] = None
    return nulls
