"""The site of docs/ and the pages beside README.md: whole, offline, right about the repository."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import sync_playwright

from sidelight.collector.app.configuration.loading import RENAMES
from support import import_layers
from support.pages import anchors
from support.paths import DOCS, ROOT, TESTS

PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
_MOVED = runpy.run_path(str(ROOT / "scripts" / "site_moved.py"))["MOVED"]
_BROKEN_IMAGES = "[...document.images].filter(i => i.naturalWidth == 0).map(i => i.src)"
each_page = pytest.mark.parametrize("page", PAGES, ids=NAMES)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a page that no menu names or a link that leads nowhere fails here."""
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return directory


class TestSite:
    def test_every_page_is_built(self, site: Path) -> None:
        """None is left out."""
        for page in DOCS.rglob("*.md"):
            assert (site / page.relative_to(DOCS)).with_suffix(".html").is_file()

    def test_nothing_is_fetched_from_elsewhere(self, site: Path) -> None:
        """No fonts, scripts, styles or pictures of others: it is read in closed networks too."""
        fetched = re.compile(
            r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=[\"']?(https?:)?//[^\"'> ]+"
        )
        for page in site.rglob("*.html"):
            assert not fetched.search(page.read_text()), page.name
        for style in site.rglob("*.css"):
            assert not re.search(r"url\([\"']?https?:", style.read_text()), style.name

    @pytest.mark.slow
    @pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
    def test_a_browser_asks_for_files_alone(self, site: Path) -> None:
        """Neither the theme's scripts nor a page of ours calls anybody once they run."""
        asked: list[str] = []
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            page = browser.new_page()
            page.on("request", lambda request: asked.append(request.url))
            for name in (
                "index",
                "architecture",
                "processors",
                "dashboards/overview",
                "benchmarks",
            ):
                page.goto((site / f"{name}.html").as_uri(), wait_until="networkidle")
                assert page.evaluate(_BROKEN_IMAGES) == []
            browser.close()
        assert {url.partition(":")[0] for url in asked} <= {"file", "data", "blob"}

    @pytest.mark.slow
    @pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
    def test_old_addresses_lead_to_where_the_text_is(self, site: Path) -> None:
        """Each heading of a page that moved, as a browser follows it."""
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            page = browser.new_page()
            for old, moved in _MOVED.items():
                for anchor, target in moved.items():
                    page.goto("about:blank")
                    page.goto(f"{(site / old).as_uri()}#{anchor}")
                    page.wait_for_url(f"{site.as_uri()}/{target}")
                    heading = target.partition("#")[2]
                    assert not heading or page.query_selector(f"h2#{heading}, h3#{heading}"), target
            browser.close()

    def test_no_address_that_does_not_exist_yet(self) -> None:
        """Neither of the site nor of a repository."""
        settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
        assert not {"site_url", "repo_url", "edit_uri"} & settings.keys()


@each_page
class TestEachPage:
    def test_paths_exist(self, page: Path) -> None:
        """Each file or folder of the code that it names."""
        named = re.findall(
            r"`((?:instrumentation|dashboards|collector|tests|docs|examples|scripts)/[\w./-]+)`",
            page.read_text(),
        )
        missing = [
            name
            for name in named
            # A file of tests is also named by its path below tests/.
            if not any((root / name).exists() for root in (ROOT, TESTS))
        ]
        assert missing == []

    def test_tests_exist(self, page: Path) -> None:
        """Each test that is given as a proof, as `path/of/test_file.py::test_name`."""
        for file, name in re.findall(r"`(?:tests/)?([\w/]+\.py)::(\w+)`", page.read_text()):
            assert f"def {name}(" in (TESTS / file).read_text(), f"{file}::{name}"

    def test_links_lead_somewhere(self, page: Path) -> None:
        """To a file, and to a heading in it."""
        for target in _links(page.read_text()):
            name, _, anchor = target.partition("#")
            path = page.parent / name if name else page
            assert path.exists(), target
            if anchor and path.suffix == ".md":
                assert anchor in anchors(path.read_text()), target

    def test_make_targets_exist(self, page: Path) -> None:
        """Each command of make."""
        makefile = (ROOT / "Makefile").read_text()
        blocks = re.findall(r"```\n(.*?)```", page.read_text(), re.DOTALL)
        told = re.findall(r"`make ([\w-]+)", page.read_text())
        told += re.findall(r"^make ([\w-]+)", "\n".join(blocks), re.MULTILINE)
        for target in told:
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


class TestArchitecture:
    def test_the_layers_are_those_of_the_contracts(self) -> None:
        """`make generated` brings the table up to date."""
        page = import_layers.PAGE.read_text()
        assert import_layers.written(page) == page

    def test_every_folder_is_described(self) -> None:
        """Of the second level; a new one needs a line."""
        page = import_layers.PAGE.read_text()
        for root in (
            "collector/sidelight",
            "collector/sidelight/collector",
            "dashboards/sidelight/dashboards",
            "instrumentation/sidelight",
        ):
            for folder in _packages(ROOT / root):
                assert re.search(rf"\b{folder}/", page), folder


class TestDecisions:
    def test_all_are_listed_under_their_titles(self) -> None:
        """In order, without gaps."""
        index = (DOCS / "decisions" / "index.md").read_text()
        files = sorted((DOCS / "decisions").glob("0*.md"))
        for number, file in enumerate(files, start=1):
            assert file.name.startswith(f"{number:04}-")
            title = file.read_text().splitlines()[0].removeprefix(f"# {number}. ")
            assert f"| {number} | [{title}]({file.name}) |" in index

    @pytest.mark.parametrize(
        "file", sorted((DOCS / "decisions").glob("0*.md")), ids=lambda f: f.stem
    )
    def test_each_has_the_same_parts_and_fits_a_page(self, file: Path) -> None:
        """Context, decision, consequences, and how it was measured."""
        text = file.read_text()
        parts = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert parts == ["Context", "Decision", "Consequences", "How it was measured"]
        assert len(text.splitlines()) <= 40


def test_the_changelog_tells_every_renamed_key() -> None:
    """Of the configuration, by its old and its new name."""
    text = (ROOT / "CHANGELOG.md").read_text()
    for old, new in RENAMES.keys.items():
        assert f"| `{old}` | `{new}` |" in text
    for types in RENAMES.types.values():
        for old, new in types.items():
            assert re.search(rf"`type: {old}`.* \| `type: {new}` \|", text)


def test_hooks_for_commits_are_local() -> None:
    """They run the tools of .venv and fetch nothing."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in hooks["repos"]] == ["local"]
    for hook in hooks["repos"][0]["hooks"]:
        assert hook["entry"].startswith(".venv/bin/")


def _links(text: str) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if not re.match(r"https?:|mailto:", target):
            yield target


def _packages(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("*/__init__.py"))
