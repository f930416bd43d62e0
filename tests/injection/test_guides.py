"""The guides of docs/kubernetes/: every command and every file in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import guide_pages
from support.guide_commands import SchemaMismatchError
from support.guide_pages import GuideError

PAGES = guide_pages.pages()


@pytest.mark.slow
@pytest.mark.real("helm-3", "helm-4")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_step_works_and_is_told_as_it_was_checked(page: Path, tmp_path: Path) -> None:
    """The table at the end of a page is what this run did. `make generated` writes it."""
    text = page.read_text()
    assert guide_pages.written(text, guide_pages.run(text, tmp_path)) == text


class TestTheTestsThemselves:
    """A wrong step is found."""

    @pytest.mark.parametrize(
        "step",
        [
            "kubectl rollout restart deployment/qwen --no-such-option",
            "kubectl label namespace serving 'sidelight.dev/inject=not a label'",
            "helm uninstall sidelight --no-such-option",
        ],
    )
    @pytest.mark.real("helm-4")
    def test_a_command(self, step: str, tmp_path: Path) -> None:
        with pytest.raises(GuideError):
            guide_pages.run(f"```\n{step}\n```\n", tmp_path)

    @pytest.mark.parametrize("program", ["kubectl get", "helm upgrade", "sidelight inject"])
    @pytest.mark.real("helm-4")
    def test_a_command_in_a_sentence(self, program: str, tmp_path: Path) -> None:
        with pytest.raises(GuideError, match="no-such-option"):
            guide_pages.run(f"Run `{program} --no-such-option`.\n", tmp_path)

    def test_a_manifest(self, tmp_path: Path) -> None:
        pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {contianers: []}\n"
        with pytest.raises(SchemaMismatchError):
            guide_pages.run(f"```yaml\n# pod.yaml\n{pod}```\n", tmp_path)

    def test_what_a_command_prints(self, tmp_path: Path) -> None:
        step = "sidelight inject -f deployment.yaml --check"
        with pytest.raises(GuideError, match="and not"):
            guide_pages.run(f"```\n{step}\n```\n\n```text\nnothing\n```\n", tmp_path)

    def test_a_file_without_a_name(self, tmp_path: Path) -> None:
        with pytest.raises(GuideError):
            guide_pages.run("```yaml\na: 1\n```\n", tmp_path)
