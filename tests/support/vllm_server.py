"""A real vLLM server on the CPU for tests, with or without Sidelight's instrumentation in it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sidelight.demo import environments, model, vllm_server
from sidelight.demo.processes import Processes
from sidelight.demo.vllm_server import VllmServer
from sidelight.instrumentation.injected import tree
from support import talking_model
from support.environments import python_of
from support.larger_model import larger
from support.ports import free_port
from support.talking_model import talking
from support.waiting import waiting_for

# Saves some 9 of 16 s of CPU while a server starts, more if it has more processes.
QUICK_START = Path(__file__).with_name("quick_start")
# With it on PYTHONPATH: nothing is compiled, so that the compiler is not imported.
NOTHING_COMPILED = {"TORCHDYNAMO_DISABLE": "1"}


@contextmanager
def running_vllm(
    directory: Path,
    *,
    otlp_endpoint: str | None = None,
    instrumented: bool = True,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    talks: bool = False,
    large: bool = False,
    without: Sequence[str] = (),
    paths: Sequence[Path] = (),
    separate_worker: bool = False,
) -> Iterator[VllmServer]:
    """A ready vLLM server; its log is `directory/vllm.log`, its end that of the `with`.

    With `talks` its model says what a request makes it say, calls of tools included. With `large`
    it is one whose steps depend on what is in them. Packages in `without` are not in its
    environment. `paths` come first on its PYTHONPATH.

    An engine runs the model itself, as it does on one GPU, its processes are forks, and a start
    takes 7 s of CPU (and a minute to install, once per machine). With `separate_worker` all is as
    vLLM does it on CPUs, for what is measured; a start then takes 24 s.
    """
    with ExitStack() as stack:
        # Before its processes, which end first. Its path is short, as that of a socket must be.
        temporary = stack.enter_context(
            TemporaryDirectory(prefix="vllm-", dir="/tmp", ignore_cleanup_errors=True)
        )
        processes = stack.enter_context(Processes(directory))
        python = python_of("vllm")
        injected = tree.write(directory / "injected") if instrumented else None
        all_paths = [*paths, injected] if injected else [*paths]
        if not separate_worker:
            all_paths.append(QUICK_START)
        folder = model.ensure(python, processes)
        if large:
            folder = larger(folder, directory)
        if talks:
            folder, arguments = talking(folder, directory), (*talking_model.ARGUMENTS, *arguments)
        server = vllm_server.start(
            processes,
            python=environment_without(python, directory / "vllm", without) if without else python,
            model=folder,
            port=free_port(),
            otlp_endpoint=otlp_endpoint,
            environment={
                "PYTHONPATH": os.pathsep.join(map(str, all_paths)),
                "TMPDIR": temporary,
                **(environment or {}),
            },
            arguments=arguments,
            separate_worker=separate_worker,
        )
        with waiting_for("vLLM to be ready"):
            server.wait_until_ready()
        yield server


def environment_without(python: Path, directory: Path, packages: Sequence[str]) -> Path:
    """The Python of an environment in `directory` that links to that of `python`.

    What begins with one of `packages` in its folder of packages is left out.
    """
    original = python.parent.parent
    site = environments.site_packages(directory / "bin" / "python")
    site.mkdir(parents=True)
    (directory / "bin").mkdir()
    for entry in environments.site_packages(python).iterdir():
        if not entry.name.startswith(tuple(packages)):
            (site / entry.name).symlink_to(entry)
    for entry in (original / "bin").iterdir():
        # Python finds its environment beside the link that it was started by.
        target = entry.resolve() if entry.name.startswith("python") else entry
        (directory / "bin" / entry.name).symlink_to(target)
    (directory / "pyvenv.cfg").write_text((original / "pyvenv.cfg").read_text())
    return directory / "bin" / "python"


def older_vllm(version: str, directory: Path) -> Path:
    """A folder for PYTHONPATH with vLLM `version` (`0.31`), to lie over the newer environment.

    With it are the packages that the newer environment does not have. 0.31 needs the same PyTorch
    as 0.32 and serves; the compiled parts of older ones cannot be loaded there.
    """
    newer = environments.site_packages(python_of("vllm"))
    directory.mkdir(parents=True)
    for entry in environments.site_packages(python_of(f"vllm-{version}")).iterdir():
        if entry.name.startswith("vllm") or not (newer / entry.name).exists():
            (directory / entry.name).symlink_to(entry)
    name_vllm(directory, f"{version}.0+cpu")
    return directory


def name_vllm(directory: Path, version: str) -> None:
    """Have vLLM's version be called `version` where `directory` is on PYTHONPATH."""
    metadata = directory / f"vllm-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")


@contextmanager
def stopped_engine(server: VllmServer) -> Iterator[None]:
    """The server's engine does not run (SIGSTOP) within the `with`; its API server does."""
    group = os.getpgid(server.process.pid)
    engines = [
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdecimal() and _is_engine_of(process, group)
    ]
    assert engines
    for engine in engines:
        os.kill(engine, signal.SIGSTOP)
    try:
        yield
    finally:
        for engine in engines:
            os.kill(engine, signal.SIGCONT)


def _is_engine_of(process: Path, group: int) -> bool:
    try:
        name = (process / "comm").read_text()
        return name.startswith("VLLM::EngineCor") and os.getpgid(int(process.name)) == group
    except OSError:
        # It has ended.
        return False
