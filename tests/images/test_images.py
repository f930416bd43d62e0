"""The steps of the Dockerfiles in a clean root: a folder with only what they copy.

No registry of images is reached here, so the images themselves are not built.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from sidelight.instrumentation.injected import loader, tree
from support.injection import SPANS, read_only, serve
from support.injection_settings import default_settings
from support.installed import wheels
from support.paths import ROOT
from support.ports import free_port
from support.waiting import eventually

IMAGES = ROOT / "images"
PARTS = ("collector", "instrumentation")
RANDOM_USER = 1000730000


def instructions(part: str) -> list[str]:
    """The Dockerfile's instructions, each in one line."""
    text = (IMAGES / part / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def clean_root(part: str, directory: Path) -> Path:
    """What the build stage copies from the repository, and nothing else."""
    directory.mkdir()
    for line in instructions(part):
        if not line.startswith("COPY ") or "--from=" in line:
            continue
        *sources, target = line.split()[1:]
        for source in sources:
            place = directory / target
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            elif target.endswith("/"):
                place.mkdir(exist_ok=True, parents=True)
                shutil.copy(ROOT / source, place)
            else:
                place.parent.mkdir(exist_ok=True, parents=True)
                shutil.copy(ROOT / source, place)
    return directory


def build(part: str, directory: Path) -> Path:
    """Run the build stage's steps; what the final stage copies."""
    image = directory / "image"
    foreign = ("PYTHON", "VIRTUAL_ENV", "SIDELIGHT_")
    variables = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    variables["PATH"] = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    (extras,) = re.findall(r"SIDELIGHT_EXTRAS:-([\w,-]+)", (IMAGES / "build.sh").read_text())
    index = wheels(ROOT / "constraints.txt", extras)
    variables |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}
    done = subprocess.run(
        ["images/build.sh", part, image],
        cwd=clean_root(part, directory / "source"),
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return image


@pytest.mark.parametrize("part", PARTS)
def test_what_a_dockerfile_must_have(part: str) -> None:
    """Pinned bases, a user that Kubernetes knows not to be root, and no shell to start it."""
    lines = instructions(part)
    bases = [line for line in lines if line.startswith("ARG ") and ":" in line]
    assert bases
    assert all(re.search(r"=[a-z]+:\d+\.\d+\.\d+[\w.-]*$", line) for line in bases)
    assert all(
        re.fullmatch(r"FROM (\$\{\w+\}|scratch)( AS \w+)?", line)
        for line in lines
        if line.startswith("FROM ")
    )
    assert "USER 65532:65532" in lines
    assert started_by(part, "ENTRYPOINT")[0] in ("sidelight", "/bin/busybox")
    assert f"images/build.sh {part} " in " ".join(lines)
    assert not [line for line in lines if line.startswith("ADD") or "latest" in line]


def started_by(part: str, instruction: str) -> list[str]:
    """The list of an ENTRYPOINT or a CMD."""
    (line,) = (line for line in instructions(part) if line.startswith(f"{instruction} "))
    words: list[str] = json.loads(line.removeprefix(instruction))
    return words


def test_what_is_injected_runs_in_the_images() -> None:
    """The default settings start the containers as the images do by themselves, and name a
    variable once.
    """
    copy, sidecar = default_settings().copy_, default_settings().sidecar
    assert copy["command"] == started_by("instrumentation", "ENTRYPOINT")
    assert copy["args"] == started_by("instrumentation", "CMD")
    assert "command" not in sidecar
    assert sidecar["args"] == [*started_by("collector", "CMD"), "--retry"]
    names = [entry["name"] for entry in sidecar["env"]]
    assert sorted(names) == sorted(set(names))


@pytest.fixture(scope="module")
def instrumentation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the image of the instrumentation."""
    return build("instrumentation", tmp_path_factory.mktemp("instrumentation"))


def test_the_image_of_the_instrumentation(instrumentation: Path, tmp_path: Path) -> None:
    """It has the folder as everything else in this repository writes it, and the copy step."""
    assert {path.name for path in instrumentation.iterdir()} == {"path", "copy.sh"}
    expected = tree.write(tmp_path / "path")
    built = instrumentation / "path"
    assert listed(built) == listed(expected)
    loader.check_files(built)
    assert serve(built, expected=True).spans >= SPANS


def listed(folder: Path) -> list[str]:
    """The files and their digests; the metadata of an editable installation may differ."""
    record = (loader.metadata_folder(folder) / "RECORD").read_text()
    return [line for line in record.splitlines() if "/METADATA," not in line]


class Container:
    """The copy step in a root that holds the image and its volume, as a user who owns neither."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.volume = root / "sidelight"

    def run(self, *, limit_blocks: int | None = None, options: tuple[str, ...] = ()) -> str:
        """What the step says. Its files may have `limit_blocks` of 512 bytes."""
        command = ["chroot", f"--userspec={RANDOM_USER}:0", str(self.root)]
        command += ["/bin/busybox", "sh", *options, "/copy.sh", "/sidelight"]
        limit = "" if limit_blocks is None else f"ulimit -f {limit_blocks}; "
        done = subprocess.run(
            ["sh", "-c", f'{limit}exec "$@"', "sh", *command],
            env={"PATH": "/bin:/usr/sbin:/usr/bin"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def holds(self) -> set[str]:
        """What is in the volume."""
        return {path.name for path in self.volume.iterdir()}


@pytest.fixture
def container(instrumentation: Path, tmp_path: Path) -> Container:
    """The image with busybox, where this machine has a static one and may change roots."""
    busybox = shutil.which("busybox")
    if busybox is None or os.geteuid():
        pytest.skip("needs root and the package busybox-static")
    root = tmp_path / "root"
    shutil.copytree(instrumentation, root)
    (root / "bin").mkdir()
    shutil.copy(busybox, root / "bin" / "busybox")
    for name in ("sh", "cp", "mv", "rm"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "sidelight").mkdir()
    (root / "sidelight").chmod(0o777)
    for folder in (root, *root.parents):
        if Path("/tmp") in folder.parents:
            folder.chmod(0o755)
    return Container(root)


def test_the_copy_step(container: Container) -> None:
    """Under a user that nobody knows it copies all, which everybody may read."""
    assert container.run() == "Sidelight: copied to /sidelight/path.\n"
    assert container.holds() == {"path"}
    loader.check_files(container.volume / "path")
    assert (container.volume / "path" / "sidelight_injected.py").stat().st_mode & 0o444 == 0o444


def test_the_copy_step_again(container: Container) -> None:
    """Kubernetes may run init containers again: what is there is replaced."""
    container.run()
    (container.volume / "path" / "older.py").touch()
    (container.volume / ".partial").mkdir()
    container.run()
    assert container.holds() == {"path"}
    assert not (container.volume / "path" / "older.py").exists()


@pytest.mark.parametrize("is_again", [False, True])
def test_a_copy_that_fails(container: Container, is_again: bool) -> None:
    """Nothing of it is on the path, what was there stays, and the pod starts."""
    if is_again:
        container.run()
    said = container.run(limit_blocks=8)
    assert "Sidelight: not copied (the copy failed). vLLM is not affected;" in said
    assert container.holds() == ({"path"} if is_again else set())


def test_a_volume_that_may_not_be_written(container: Container) -> None:
    """Then it stays empty, and the pod starts."""
    container.volume.chmod(0o755)
    assert "Give the volume at /sidelight more space" in container.run()
    assert container.holds() == set()


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A folder that a command of `read_only` may write to."""
    with TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory) / "log"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_image_of_the_collector(tmp_path: Path, in_memory: Path) -> None:
    """It starts as the sidecar does, on a read-only root, without a home."""
    image = build("collector", tmp_path)
    command = image / "bin" / "sidelight"
    variables = {"PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nowhere"}
    version = subprocess.run(
        [command, "--version"], env=variables, check=True, capture_output=True, text=True
    )
    assert version.stdout.startswith("sidelight, version ")
    # Each part of the chart that runs in this image has all that it imports.
    for part in ("injector", "inject", "dashboards"):
        subprocess.run([command, part, "--help"], env=variables, check=True, capture_output=True)
    subprocess.run([image / "bin" / "python", "-c", "import cryptography, zmq"], check=True)
    # Byte-code cannot be written later.
    assert list(image.rglob("*.pyc"))
    port = free_port()
    variables |= {entry["name"]: entry["value"] for entry in default_settings().sidecar["env"]}
    variables |= {
        "SIDELIGHT_LOG__DIRECTORY": str(in_memory),
        "SIDELIGHT_SERVE__PORT": str(port),
        "SIDELIGHT_RECEIVERS__OTLP_HTTP__PORT": str(free_port()),
        "SIDELIGHT_RECEIVERS__OTLP_GRPC__PORT": str(free_port()),
    }
    running = subprocess.Popen([*read_only(), command, "up"], env=variables, cwd="/")
    try:
        eventually(lambda: _is_ready(port))
        doctor = subprocess.run(
            [command, "doctor", "--pod"], env=variables, cwd="/", capture_output=True, text=True
        )
        # No vLLM has sent anything.
        assert doctor.returncode == 1, doctor.stdout + doctor.stderr
        assert "nothing received from vLLM's plugin" in doctor.stdout
        assert "to gateway" in doctor.stdout
    finally:
        running.terminate()
        assert running.wait(120) == 0


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.HTTPError:
        return False
