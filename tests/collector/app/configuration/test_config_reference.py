"""The published schema and reference of sidelight.yaml, and `sidelight config`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from sidelight.base.configuration.environment import overlay
from sidelight.base.configuration.section import Section
from sidelight.collector.app.configuration import config as config_package
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.configuration.live import is_live
from sidelight.collector.app.configuration.loading import load
from sidelight.collector.app.configuration.reference import page
from sidelight.collector.app.configuration.schema import RELOAD, schema, text
from sidelight.collector.app.workers.plan import from_json, to_json
from sidelight.collector.destinations.registry import TYPES
from support import paths
from support.commands import command

_ROOT = paths.ROOT
_PUBLISHED = Path(config_package.__file__).with_name("sidelight.schema.json")
_SECTIONS = set(Config.model_fields)


def _examples() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every configuration that stands in the documentation."""
    for file in (_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md"))):
        for number, block in enumerate(
            re.findall(r"^```yaml\n(.*?)^```", file.read_text(), re.DOTALL | re.MULTILINE)
        ):
            found = yaml.safe_load(block)
            if isinstance(found, dict) and found and found.keys() <= _SECTIONS:
                yield f"{file.name}:{number}", found


_EXAMPLES = dict(_examples())


def _models(model: type[BaseModel], seen: set[type[BaseModel]]) -> set[type[BaseModel]]:
    """The model and all sections below it."""
    if model in seen:
        return seen
    seen.add(model)
    for field in model.model_fields.values():
        for inner in _inner(field.annotation):
            _models(inner, seen)
    return seen


def _inner(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in getattr(annotation, "__args__", ()):
        yield from _inner(each)


class TestPublished:
    def test_the_schema_is_the_models(self) -> None:
        """`make config-docs` writes it anew."""
        assert _PUBLISHED.read_text() == text()

    def test_the_reference_is_the_schemas(self) -> None:
        """`make config-docs` writes it anew."""
        assert (_ROOT / "docs" / "configuration.md").read_text() == page(schema())

    def test_the_commands_print_them(self, tmp_path: Path) -> None:
        """Byte for byte."""
        assert command("config", "schema", cwd=tmp_path).stdout == text()
        assert command("config", "reference", cwd=tmp_path).stdout == page(schema())

    def test_every_key_has_a_meaning(self) -> None:
        """A section's is its class's docstring."""
        found = _models(Config, set())
        assert {each.Config for each in TYPES.values()} <= found
        for model in found:
            assert model.__doc__, model
            for name, field in model.model_fields.items():
                is_section = isinstance(field.annotation, type) and issubclass(
                    field.annotation, Section
                )
                assert field.description or is_section, f"{model.__name__}.{name}"

    def test_every_key_is_in_the_reference(self) -> None:
        """Of every section and item."""
        rows = re.findall(r"^\| `(\w+)` \|", page(schema()), re.MULTILINE)
        for model in _models(Config, set()):
            for name, field in model.model_fields.items():
                is_section = isinstance(field.annotation, type) and issubclass(
                    field.annotation, Section
                )
                assert name in rows or is_section, name

    def test_every_link_leads_somewhere(self) -> None:
        """To a heading of the page, or to another page."""
        found = page(schema())
        headings = {
            each.strip().lower().replace(" ", "-")
            for each in re.findall(r"^#+ (.*)$", found, re.MULTILINE)
        }
        for target in re.findall(r"\]\(([^)]*)\)", found):
            if target.startswith("#"):
                assert target[1:] in headings, target
            else:
                assert (_ROOT / "docs" / target).exists(), target

    def test_every_variable_sets_its_key(self) -> None:
        """Given the default that stands beside it, where that is a plain value."""
        rows = re.findall(
            r"^\| `\w+` \| (.*?) \| (.*?) \| .* \| `(SIDELIGHT_\w+)` \|$",
            page(schema()),
            re.MULTILINE,
        )
        assert len(rows) > 40
        for _, default, variable in rows:
            if default.startswith("`") and "{" not in default:
                values = overlay({}, {variable: default.strip("`")}, _SECTIONS).values
                assert Config.model_validate(values) == Config(), variable

    def test_live_keys_are_marked(self) -> None:
        """In the schema by x-reload, in the reference by a word."""
        found = schema()
        assert found["properties"]["processors"][RELOAD]
        assert RELOAD not in found["properties"]["log"]
        for key, mark in re.findall(
            r"^\| .* \| (.*) \| `SIDELIGHT_(\w+)` \|$", page(found), re.MULTILINE
        ):
            assert key.endswith("**Live.**") == is_live(mark.lower().replace("__", "."))


class TestSchema:
    validator = Draft202012Validator(schema())

    def test_it_is_a_schema_with_a_name(self) -> None:
        """Of the dialect that it says, with an `$id` that does not change."""
        Draft202012Validator.check_schema(schema())
        assert schema()["$id"] == "urn:sidelight:sidelight.yaml"
        assert schema()["title"] == "sidelight.yaml"

    @pytest.mark.parametrize("name", _EXAMPLES)
    def test_it_takes_what_the_documentation_shows(self, name: str) -> None:
        """And so do the models."""
        self.validator.validate(_EXAMPLES[name])
        Config.model_validate(_EXAMPLES[name])

    @pytest.mark.parametrize(
        "text",
        [
            "receivers:\n  otlp_http:\nserve:\n",
            "workers: auto",
            "workers: 4",
            'dashboards: {directory: ""}',
            "processors: {extensions: ['a.b:c', {call: 'a:b', scopes: [x]}]}",
            "processors: {content: {default: ids, hash_key: {file: k}}}",
            "destinations: [{type: phoenix, only: [llm, {services: a, attributes: {n: [1, true]}}]}"
            "]",
            "destinations: [{type: otlp_http, name: o, url: 'http://h', headers: {X: {env: K}}}]",
        ],
    )
    def test_it_takes_short_forms(self, text: str) -> None:
        """Whatever the models take."""
        values = yaml.safe_load(text)
        self.validator.validate(values)
        Config.model_validate(values)

    @pytest.mark.parametrize(
        "text",
        [
            "prot: 1",
            "serve: {port: 99999}",
            "serve: 9464",
            "workers: 0",
            "workers: many",
            "destinations: [{type: nowhere}]",
            "destinations: [{type: otlp_http}]",
            "destinations: [{type: phoenix, api_key: literal}]",
            "destinations: [{type: phoenix, api_key: {env: A, file: b}}]",
            "destinations: [{type: phoenix, prject: p}]",
            "logging: {level: loud}",
        ],
    )
    def test_it_refuses_what_the_models_refuse(self, text: str) -> None:
        """An editor says so while it is typed."""
        values = yaml.safe_load(text)
        assert list(self.validator.iter_errors(values))
        with pytest.raises(ValueError, match=r"."):
            Config.model_validate(values)


class TestCheck:
    def test_it_prints_what_would_be_used(self, tmp_path: Path) -> None:
        """As YAML that comes to the same configuration."""
        file = tmp_path / "c.yaml"
        file.write_text("log: {max_bytes: 2000000}\ndestinations: [{type: phoenix, only: [llm]}]\n")
        answer = command("config", "check", "-c", "c.yaml", cwd=tmp_path)
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.startswith("# c.yaml: no faults. Effective configuration:\n")
        (tmp_path / "again.yaml").write_text(answer.stdout)
        assert load(tmp_path / "again.yaml") == load(file)

    def test_it_shows_no_secret(self, tmp_path: Path) -> None:
        """Only where they are; a query of a URL may be one."""
        (tmp_path / "key").write_text("hunter2")
        (tmp_path / "c.yaml").write_text(
            "receivers: {scrape: {targets: [{url: 'http://h/metrics?token=hunter2'}]}}\n"
            "destinations: [{type: phoenix, api_key: {file: key}}]\n"
        )
        answer = command("config", "check", "-c", "c.yaml", cwd=tmp_path)
        assert answer.returncode == 0
        assert "hunter2" not in answer.stdout
        assert "file: key" in answer.stdout
        assert "http://h/metrics?…" in answer.stdout

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("a: 1\nb: 2\n", ["a: unknown key", "b: unknown key"]),
            ("processors: {prices: no.yaml}\n", ["no.yaml"]),
            (
                "processors: {redact: {enabled: true, patterns: [{name: p, pattern: '('}]}}\n",
                ["processors.redact.patterns.0.pattern: not RE2 syntax"],
            ),
            (
                "workers: 2\ndestinations: [{type: phoenix, sample: {share: 1}}]\n",
                ["'phoenix' has sample"],
            ),
        ],
    )
    def test_it_says_every_fault(self, tmp_path: Path, text: str, said: list[str]) -> None:
        """A line each, with exit code 2, also what only shows when parts are built."""
        (tmp_path / "c.yaml").write_text(text)
        answer = command("config", "check", "-c", "c.yaml", cwd=tmp_path)
        assert answer.returncode == 2
        assert answer.stdout == ""
        lines = answer.stderr.splitlines()
        assert len(lines) == len(said)
        for line, words in zip(lines, said, strict=True):
            assert line.startswith("sidelight: ")
            assert words in line

    def test_an_error_that_points_to_the_reference_points_to_a_page(self, tmp_path: Path) -> None:
        """That is there."""
        (tmp_path / "c.yaml").write_text("destinations: [phoenix]")
        (line,) = command("config", "check", "-c", "c.yaml", cwd=tmp_path).stderr.splitlines()
        assert "see docs/configuration.md" in line
        assert (_ROOT / "docs" / "configuration.md").exists()


@pytest.mark.parametrize("name", _EXAMPLES)
def test_a_configuration_survives_the_way_to_a_worker(name: str) -> None:
    """As JSON, with all that short forms and presets have filled in."""
    found = Config.model_validate(_EXAMPLES[name])
    plan = json.loads(json.dumps(to_json(found, found.destinations or ())))
    assert from_json(plan) == (found, found.destinations or ())
