"""What every registered database must have: a template that walks the registry."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import get_args

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import sidelight.instrumentation.vectordb
from sidelight.collector.processors.normalise.registry import TABLES, table_for
from sidelight.collector.receivers.scrape.config import ScrapeTarget
from sidelight.collector.receivers.scrape.presets import PRESETS
from sidelight.instrumentation.vectordb.core.description import Database, OperationKind
from sidelight.instrumentation.vectordb.registry import DATABASES, OPERATION_KINDS
from support.environments import VECTORDB_REQUIREMENTS
from support.paths import DOCS, ROOT
from support.vectordb.client_methods import RECORD, environments_of, listed
from support.vectordb.inspect_client import Inspection, qualified
from support.vectordb.servers import environment_for_clients, python_of

FOLDER = Path(sidelight.instrumentation.vectordb.__file__).parent
every_database = pytest.mark.parametrize("database", DATABASES, ids=lambda each: each.name)


def oldest(database: Database) -> str:
    """The environment with the oldest supported client."""
    return environments_of(database)[0]


def newest(database: Database) -> str:
    """The environment with the newest tested client: the tests' own, or one of its own."""
    return environments_of(database)[1]


def clients() -> Sequence[object]:
    """Every database with the environments of its oldest and its newest client."""
    parameters = []
    for database in DATABASES:
        for environment in (oldest(database), newest(database)):
            marks = () if environment == "tests" else pytest.mark.real(environment)
            name = f"{database.name} in {environment}"
            parameters.append(pytest.param(database, environment, marks=marks, id=name))
    return parameters


every_client = pytest.mark.parametrize(("database", "environment"), clients())


@cache
def inspected(database: str, environment: str) -> Inspection:
    """The client of a database in an environment."""
    done = subprocess.run(
        [python_of(environment), "-m", "support.vectordb.inspect_client", database],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment_for_clients(),
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    return Inspection.from_json(done.stdout.splitlines()[-1])


class TestDescription:
    @every_database
    def test_is_complete(self, database: Database) -> None:
        """Every field that has no default says something."""
        client = database.client
        assert database.title
        assert re.fullmatch(r"[a-z]+", database.name)
        assert (FOLDER / database.name / "description.py").is_file()
        assert client.package
        assert client.distributions
        assert client.tested
        assert Version(client.oldest) < Version(client.newest)
        assert database.score_directions
        assert all(metric == metric.upper() for metric in database.score_directions)
        assert database.named("search")
        assert database.named("write")
        assert {each.kind for each in database.operations()} <= {*get_args(OperationKind)}

    @every_database
    def test_names_each_operation_once(self, database: Database) -> None:
        """A name has one kind, and each wrapped method is one operation."""
        names = [operation.name for operation in database.operations()]
        assert len(names) == len({*names})
        assert OPERATION_KINDS[database.name].keys() == {*names}
        for wrapped in database.client.wrapped:
            methods = [name for operation in wrapped.operations for name in operation.methods]
            assert wrapped.essential in methods
            assert len(methods) == len({*methods})

    @every_database
    def test_can_be_scraped_or_says_why_not(self, database: Database) -> None:
        """A preset fills in what a URL does not name; without one the error says what to do."""
        target = {"preset": database.name, "url": "http://host"}
        if database.scrape is None:
            assert database.name not in PRESETS
            with pytest.raises(ValueError, match=re.escape(database.not_scraped)):
                ScrapeTarget.model_validate(target)
        else:
            assert not database.not_scraped
            found = ScrapeTarget.model_validate(target)
            assert found.url == f"http://host:{database.scrape.port}/metrics"
            assert (found.job, found.families) == (database.name, database.scrape.families)
            assert database.scrape.families
            assert database.scrape.about

    @every_database
    def test_adds_to_tables_of_the_collector(self, database: Database) -> None:
        """Other instrumentations are named as the collector names them."""
        tables = {table.name: table for table in TABLES}
        for spans in database.foreign_spans:
            table = tables[spans.instrumentation]
            assert spans.scopes
            assert all(table_for(scope) is table for scope in spans.scopes)
            assert spans.renamed.items() <= table.renamed.items()
            assert {*spans.renamed_patterns} <= {*table.renamed_patterns}

    def test_imports_neither_opentelemetry_nor_a_client(self) -> None:
        """The collector and the docs read descriptions without what an observed process has."""
        packages = ["opentelemetry", "wrapt", *(each.client.package for each in DATABASES)]
        program = (
            "import sys, sidelight.instrumentation.vectordb.registry\n"
            f"print(sorted({{*{packages}}} & {{name.split('.')[0] for name in sys.modules}}))\n"
        )

        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

        assert (done.stdout, done.stderr) == ("[]\n", "")


class TestClient:
    @every_database
    def test_has_environments_with_the_versions_described(self, database: Database) -> None:
        """The oldest supported version and the newest tested one are those the tests run."""
        assert pinned(database, VECTORDB_REQUIREMENTS / f"{oldest(database)}.txt") == Version(
            f"{database.client.oldest}.0"
        )
        own = newest(database) == "tests"
        newest_pins = (
            ROOT / "constraints.txt" if own else VECTORDB_REQUIREMENTS / f"{database.name}.txt"
        )
        assert pinned(database, newest_pins) == Version(database.client.newest)

    @every_client
    def test_has_the_described_methods(self, database: Database, environment: str) -> None:
        """The methods of an operation exist in the versions that it names, and in no other."""
        inspection = inspected(database.name, environment)

        for wrapped in database.client.wrapped:
            for operation in wrapped.operations:
                described = {qualified(wrapped, method) for method in operation.methods}
                existing = described & {*inspection.methods}
                if operation.versions:
                    is_in = inspection.version in SpecifierSet(operation.versions)
                    assert bool(existing) == is_in, operation.name

    @every_database
    def test_has_no_described_method_that_no_tested_version_has(self, database: Database) -> None:
        """A method that is gone from all supported versions is deleted from the description."""
        clients = [listed(database.name, name) for name in environments_of(database)]
        both = {
            method
            for client in clients
            for classes in client["classes"]
            for methods in classes.values()
            for method in methods
        }
        for wrapped in database.client.wrapped:
            described = {
                name
                for operation in wrapped.operations
                for name in operation.methods
                # Some came and went between the two.
                if any(client["version"] in SpecifierSet(operation.versions) for client in clients)
            }
            assert described - both == set()
            assert {name for names in wrapped.unobserved.values() for name in names} - both == set()

    @every_client
    def test_has_no_public_method_that_is_not_described(
        self, database: Database, environment: str
    ) -> None:
        """Sync and async, each method is observed, or the docs say why it is not."""
        inspection = inspected(database.name, environment)
        replaced = {name.rsplit(".", 2)[-2] + "." + name.rsplit(".", 1)[-1]
                    for name in inspection.replaced}  # fmt: skip
        shown = listed(database.name, environment)

        assert shown in json.loads(RECORD.read_text())[database.name], (
            "the client has other methods: run `python -m support.vectordb.client_methods` with "
            "PYTHONPATH=tests, then `make generated`"
        )
        for wrapped, classes in zip(database.client.wrapped, shown["classes"], strict=True):
            unobserved = {name for names in wrapped.unobserved.values() for name in names}
            for owner, methods in classes.items():
                missing = {name for name in methods if f"{owner}.{name}" not in replaced}
                assert missing - unobserved == set(), owner
                assert {*methods} & unobserved == missing, owner

    @every_client
    def test_is_restored_by_uninstrument(self, database: Database, environment: str) -> None:
        """Every attribute that was replaced is the original again."""
        inspection = inspected(database.name, environment)

        assert len(inspection.replaced) >= 10
        assert inspection.left_replaced == ()

    @every_database
    def test_has_an_opentelemetry_instrumentor(self, database: Database) -> None:
        """`opentelemetry-instrument` finds it, and it asks for the supported versions."""
        (entry,) = entry_points(
            group="opentelemetry_instrumentor", name=f"sidelight-{database.name}"
        )
        (dependency,) = entry.load()().instrumentation_dependencies()
        requirement = Requirement(dependency)

        assert requirement.name == database.client.distributions[0]
        assert database.client.newest in requirement.specifier
        assert f"{database.client.oldest}.0" in requirement.specifier


class TestPages:
    def test_are_the_generated_ones(self, tmp_path: Path) -> None:
        """`make database-docs` would change nothing."""
        shutil.copytree(DOCS, tmp_path / "docs")
        script = ROOT / "scripts" / "database_pages.py"

        subprocess.run([sys.executable, script, tmp_path / "docs"], check=True)

        pages = [
            *(DOCS / "databases").glob("*.md"),
            DOCS / "vector-databases.md",
            DOCS / "scraping.md",
        ]
        for page in pages:
            assert (tmp_path / "docs" / page.relative_to(DOCS)).read_text() == page.read_text()

    @every_database
    def test_have_a_program_to_try(self, database: Database) -> None:
        """The page of a database says how to install its client and observes a search."""
        page = (DOCS / "databases" / f"{database.name}.md").read_text()

        assert f"# {database.title}\n" in page
        assert f"pip install 'sidelight[vectordb]' {database.client.distributions[0]}" in page
        assert f"# try-{database.name}.py" in page
        assert "## Observed operations" in page

    def test_are_those_of_the_registry(self) -> None:
        """A database that is gone leaves no page."""
        pages = {page.stem for page in (DOCS / "databases").glob("*.md")}
        assert pages == {database.name for database in DATABASES}


def pinned(database: Database, requirements: Path) -> Version:
    """The version of the client in a file of pinned requirements."""
    (version,) = re.findall(
        rf"^{re.escape(database.client.distributions[0])}==(\S+)$",
        requirements.read_text(),
        re.MULTILINE,
    )
    return Version(version)
