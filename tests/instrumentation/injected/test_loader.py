"""The injected folder in a server that loads plugins as vLLM does: all of it or nothing.

Whatever is wrong, the server serves, and says so in one line.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sidelight.instrumentation.injected import loader, tree
from support.injection import (
    NOBODY,
    SPANS,
    Served,
    open_to_others,
    read_only,
    readable_server,
    serve,
)

PLUGIN = "sidelight/instrumentation/vllm/plugin.py"
# Imported long after the plugin, by the observer process alone.
LATE = "sidelight/instrumentation/vllm/spans/phases.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder as it is built."""
    return tree.write(tmp_path / "path")


def check_observed(served: Served) -> None:
    """Telemetry arrived, and no package but Sidelight was imported."""
    assert served.spans >= SPANS
    assert [line for line in served.warnings if "not loaded" in line or "cannot" in line] == []
    assert served.packages == {"fastapi", "sidelight", "sidelight_injected", "vllm"}


def check_as_before(served: Served, *reasons: str) -> None:
    """The server served without a hook, and one line says why."""
    assert served.spans == set()
    (line,) = served.warnings
    assert line.startswith("Sidelight: not loaded (")
    assert line.endswith(".")
    assert "vLLM is not affected" in line
    for reason in reasons:
        assert reason in line


def test_it_is_loaded(folder: Path) -> None:
    """The observer process runs from the folder too."""
    check_observed(serve(folder, expected=True))


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def add_line(name: str, line: str) -> Callable[[Path], None]:
    def add(folder: Path) -> None:
        with (folder / name).open("a") as file:
            file.write(line)

    return add


def cut_short(name: str) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, (folder / name).stat().st_size // 2)


def metadata(folder: Path) -> Path:
    return loader.metadata_folder(folder)


def partial_copy(folder: Path) -> None:
    """A copy that ended in the middle, in the order of names."""
    files = sorted(path for path in (folder / "sidelight").rglob("*.py"))
    for path in files[len(files) // 2 :]:
        path.unlink()


def built_wrong(folder: Path) -> None:
    """The mistake is in what was built, so that the list of files has it too."""
    add_line(PLUGIN, "x = (\n")(folder)
    tree.write_record(folder)


def raises_a_long_text(folder: Path) -> None:
    add_line(PLUGIN, "raise ValueError('several\\nlines ' * 500)\n")(folder)
    tree.write_record(folder)


def two_versions(folder: Path) -> None:
    """What an unpacking over an older folder leaves."""
    older = folder / "sidelight-0.0.1.dist-info"
    older.mkdir()
    (older / "METADATA").write_text("Metadata-Version: 2.1\nName: sidelight\nVersion: 0.0.1\n")


FAULTS = {
    "a file is missing": (remove(PLUGIN), "plugin.py: No such file"),
    "a file of the observer process is missing": (remove(LATE), "phases.py: No such file"),
    "a file of conventions is missing": (
        remove("sidelight/conventions/__init__.py"),
        "__init__.py: No such file",
    ),
    "a syntax error": (add_line(PLUGIN, "x = (\n"), "plugin.py is not as it was built"),
    "a syntax error that was built": (built_wrong, "SyntaxError: '(' was never closed"),
    "a late syntax error": (add_line(LATE, "x = (\n"), "phases.py is not as it was built"),
    "an error while importing": (raises_a_long_text, "ValueError: several lines several"),
    "a file is cut short": (cut_short(LATE), "phases.py is not as it was built"),
    "a file is empty": (lambda folder: os.truncate(folder / LATE, 0), "phases.py is not as it"),
    "a partial copy": (partial_copy, "No such file or directory"),
    "the list is missing": (
        lambda folder: (metadata(folder) / "RECORD").unlink(),
        "RECORD: No such file",
    ),
    "the list is empty": (
        lambda folder: os.truncate(metadata(folder) / "RECORD", 0),
        "RECORD is cut short",
    ),
    "the list is cut short": (
        lambda folder: cut_short(f"{metadata(folder).name}/RECORD")(folder),
        "RECORD is cut short",
    ),
    "the list is of another form": (
        lambda folder: (metadata(folder) / "RECORD").write_text("what\nx/RECORD,,\n"),
        "ValueError: not enough values",
    ),
    "two versions": (two_versions, "sidelight-0.0.1.dist-info, sidelight-"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_folder_that_is_not_as_it_was_built(folder: Path, fault: str) -> None:
    """Nothing of it is used, though most of it is there."""
    plant, reason = FAULTS[fault]
    plant(folder)
    check_as_before(serve(folder, expected=False), reason)


def test_the_line_is_short(folder: Path) -> None:
    """However long the text of an error is."""
    raises_a_long_text(folder)
    served = serve(folder, expected=False)
    check_as_before(served)
    assert len(served.warnings[0]) < 2 * loader.MAX_REASON_CHARACTERS


def test_a_python_that_is_too_old(folder: Path, tmp_path: Path) -> None:
    """It reads the loader, and no other file."""
    server = readable_server(tmp_path)
    program = server.read_text()
    server.write_text(
        program.replace("import os\n", "import os\nimport sys\nsys.version_info = (3, 10, 4)\n", 1)
    )
    served = serve(folder, expected=False, server=server)
    check_as_before(served, "Python 3.10 is older than 3.11", "Use an image of vLLM with Python")
    assert "sidelight" not in served.packages


def test_older_pythons_can_read_the_loader() -> None:
    """Syntax that they do not know would be an error before the first line runs."""
    ast.parse(Path(loader.__file__).read_text(), feature_version=(3, 8))


def test_no_file_may_be_read(folder: Path, tmp_path: Path) -> None:
    """The user of the container is not the one who copied."""
    open_to_others(tmp_path)
    (folder / PLUGIN).chmod(0o600)
    served = serve(folder, expected=False, user=NOBODY, server=readable_server(tmp_path))
    check_as_before(served, "plugin.py: Permission denied", "Let the user of this container read")


def test_a_user_without_a_home(folder: Path, tmp_path: Path) -> None:
    """OpenShift runs containers as a random user, who may write to /tmp alone."""
    open_to_others(tmp_path)
    before = sorted(folder.rglob("*"))
    check_observed(
        serve(
            folder,
            expected=True,
            user=1000730000,
            variables={"HOME": "/", "PYTHONDONTWRITEBYTECODE": ""},
            server=readable_server(tmp_path),
        )
    )
    assert sorted(folder.rglob("*")) == before


def test_a_read_only_file_system(folder: Path) -> None:
    """Nothing may be written, not even to /tmp: a thread does the observer process's work."""
    served = serve(folder, expected=True, before=read_only())
    assert served.spans >= SPANS
    (line,) = (line for line in served.warnings if "cannot" in line)
    assert line.startswith("Sidelight: cannot run an observer process (FileNotFoundError: ")


@pytest.mark.parametrize("option", ["-I", "-E"])
def test_a_python_that_ignores_the_path(folder: Path, option: str) -> None:
    """Then nothing is injected, and nobody is there to say so."""
    served = serve(folder, expected=False, options=[option])
    assert (served.warnings, served.packages) == ([], {"fastapi", "vllm"})


def test_an_incomplete_opentelemetry(folder: Path, tmp_path: Path) -> None:
    """Whatever vLLM's image has of it, Sidelight does not look."""
    api = tmp_path / "image" / "opentelemetry" / "trace"
    api.mkdir(parents=True)
    (api / "__init__.py").write_text("raise ImportError('opentelemetry-api is half installed')\n")
    check_observed(serve(folder, tmp_path / "image", expected=True))


def test_an_installed_sidelight_is_shadowed(folder: Path, tmp_path: Path) -> None:
    """One plugin is loaded, whole, and of the injected version."""
    image = tmp_path / "image"
    tree.write(image)
    (image / "sidelight_injected.py").unlink()
    (metadata(image) / "entry_points.txt").write_text(
        "[vllm.general_plugins]\nsidelight = sidelight.instrumentation.vllm.plugin:install\n"
    )
    add_line(PLUGIN, "raise SystemExit('the installed one')\n")(image)
    metadata(image).rename(image / "sidelight-0.0.1.dist-info")
    check_observed(serve(folder, image, expected=True))


def test_the_first_of_two_folders_is_loaded(folder: Path, tmp_path: Path) -> None:
    """The other one is not looked at."""
    other = tree.write(tmp_path / "other")
    add_line(PLUGIN, "x = (\n")(other)
    check_observed(serve(folder, other, expected=True))


def test_a_doubtful_folder_is_not_completed_by_the_next(folder: Path, tmp_path: Path) -> None:
    """Two versions are never mixed."""
    other = tree.write(tmp_path / "other")
    (folder / LATE).unlink()
    check_as_before(serve(folder, other, expected=False), "phases.py: No such file")


@pytest.mark.parametrize("has_init", [False, True])
def test_the_pod_has_a_sidelight_of_its_own(folder: Path, tmp_path: Path, has_init: bool) -> None:
    """Its folder comes first on PYTHONPATH. Its code is not run and not mixed with ours."""
    own = tmp_path / "own" / "sidelight"
    package = own if has_init else own / "instrumentation"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')\n")
    served = serve(own.parent, folder, expected=False)
    check_as_before(served, str(package / "__init__.py"), f"put it behind {folder}")


def test_a_folder_of_that_name_is_no_package(folder: Path, tmp_path: Path) -> None:
    """A pod may keep files in a folder `sidelight` without code."""
    (tmp_path / "own" / "sidelight").mkdir(parents=True)
    check_observed(serve(tmp_path / "own", folder, expected=True))


def ask_verdict(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """What the folder says when it is asked."""
    return subprocess.run(
        [sys.executable, "-S", "-m", tree.MODULE],
        env={"PYTHONPATH": str(folder), **variables},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_verdict_on_demand(folder: Path) -> None:
    """`python3 -m sidelight_injected` says whether vLLM would load it, and where it would send."""
    told = ask_verdict(folder, OTEL_EXPORTER_OTLP_ENDPOINT="http://user:secret@127.0.0.1:9/")
    assert (told.returncode, told.stderr) == (0, "")
    first, *notes = told.stdout.splitlines()
    assert first.startswith("Sidelight ")
    assert f" in {folder}: loaded by vLLM ?, Python 3." in first
    assert notes[0] == "This Python has no vLLM. Run this with the Python that runs vLLM."
    assert notes[1].startswith("It sends to 127.0.0.1:9: cannot connect (Connection refused).")
    assert "secret" not in told.stdout


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"VLLM_PLUGINS": "lora,other"}, "VLLM_PLUGINS=lora,other leaves it out. Add sidelight"),
        ({"SIDELIGHT_DISABLED": "1"}, "It is switched off. Unset SIDELIGHT_DISABLED"),
    ],
)
def test_the_verdict_knows_variables(folder: Path, variables: dict[str, str], line: str) -> None:
    """A folder that is in order is not loaded if vLLM was told so."""
    told = ask_verdict(folder, **variables)
    assert told.returncode == 1
    assert ": not loaded by vLLM" in told.stdout
    assert line in told.stdout


def test_the_verdict_on_a_doubtful_folder(folder: Path) -> None:
    """It is the line of vLLM's log."""
    (folder / LATE).unlink()
    told = ask_verdict(folder)
    assert told.returncode == 1
    assert told.stdout.startswith("Sidelight: not loaded (")
    assert "phases.py: No such file or directory" in told.stdout
