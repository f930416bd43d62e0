"""What is shipped: one wheel of three folders, light without extras, and all that it promises.

Each extra is installed in a fresh environment, in the newest versions of what it requires, and
does what it is for; on the oldest Python that is supported, and the least and the most of it
on the newer ones that this machine has.
"""

from __future__ import annotations

import functools
import re
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.version import Version

from sidelight import conventions as names
from support.certificates import Authority
from support.collector import Collector, settings
from support.installed import Installed, environment, install, lowest_versions, with_extras
from support.interpreters import interpreter
from support.kubernetes.admission import RECORDED, connected, review_over
from support.kubernetes.injector import Injector
from support.otlp_receiver import OtlpReceiver
from support.otlp_requests import span, traces

_ROOT = Path(__file__).parents[1]
# Those of people who work on Sidelight: .venv is made with them.
_OWN_EXTRAS = {"test", "bench"}

Bare = Callable[[str], Installed]


@pytest.fixture(scope="session")
def wheel_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that would be published."""
    return _built("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def sdist_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution that would be published."""
    return _built("sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="session")
def bare(wheel_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Bare:
    """The wheel as pip installs it for a Python, once for each."""
    directory = tmp_path_factory.mktemp("bare")
    return functools.cache(
        lambda version: install(_python(version), wheel_file, directory / version)
    )


@pytest.fixture
def wheel(wheel_file: Path) -> Iterator[zipfile.ZipFile]:
    """What is in the wheel."""
    with zipfile.ZipFile(wheel_file) as archive:
        yield archive


def _built(target: str, directory: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(directory)]
    subprocess.run(command, cwd=_ROOT, check=True, capture_output=True)
    (path,) = directory.iterdir()
    return path


def _tracked() -> list[str]:
    """The files that git knows and that are there."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.splitlines() if (_ROOT / name).is_file()]


def _metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return Parser().parsestr(wheel.read(name).decode())


def test_bare_sidelight_needs_nothing(wheel: zipfile.ZipFile) -> None:
    """Nothing may be dragged into vLLM's environment."""
    lines = _metadata(wheel).get_all("Requires-Dist", [])
    assert [line for line in lines if "extra ==" not in line] == []


def test_the_three_folders_are_one_package(wheel: zipfile.ZipFile) -> None:
    """The wheel merges all that is in them, typed, and leaves the namespace open."""
    names = set(wheel.namelist())
    source = re.compile(r"^(?:instrumentation|dashboards|collector)/(sidelight/.*)$")
    tracked = {match[1] for name in _tracked() if (match := source.match(name))}
    assert {name for name in names if ".dist-info/" not in name} == tracked
    assert "sidelight/__init__.py" not in names
    for part in ("instrumentation", "dashboards", "collector"):
        assert f"sidelight/{part}/py.typed" in names


def test_vllm_finds_the_plugin(wheel: zipfile.ZipFile) -> None:
    """The entry point is in the group that vLLM reads."""
    (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    text = wheel.read(name).decode()
    assert (
        "[vllm.general_plugins]\nsidelight = sidelight.instrumentation.vllm.plugin:install" in text
    )
    # vLLM would switch its statistics on for one, whatever its user asked for.
    assert "[vllm.stat_logger_plugins]" not in text
    assert "sidelight = sidelight.collector.cli.entry:main" in text


def test_no_committed_file_names_a_registry_or_a_machine() -> None:
    """Addresses of package indexes and paths of a machine are nobody else's."""
    pattern = re.compile(
        # Manifests of pods mount volumes in folders of their images.
        rb"(index-url|find-links)\W+http|files\.pythonhosted|(?<!ath: )/r[o]ot/|/w[o]rk/main",
        re.IGNORECASE,
    )
    found = [name for name in _tracked() if pattern.search((_ROOT / name).read_bytes())]
    assert found == []


def test_the_sdist_is_the_repository(sdist_file: Path) -> None:
    """Who has it can run the tests, build the site and read how to change things."""
    with tarfile.open(sdist_file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert set(_tracked()) - names == set()


def _observe_server(installed: Installed) -> set[str]:
    """What a server whose spans and metrics arrive imports beside the standard library."""
    with OtlpReceiver() as receiver:
        server = subprocess.Popen(
            [installed.python, _ROOT / "tests" / "support" / "apps" / "bare_vllm.py", receiver.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
        )
        try:
            expected = {"vllm chat tiny", "queue", "prefill", "decode"}
            receiver.wait_for(lambda: expected <= {span.name for span in receiver.spans()})
            receiver.wait_for(lambda: names.ENGINE_STEPS in receiver.metrics())
            said, _ = server.communicate("\n", timeout=120)
        finally:
            server.kill()
    assert server.returncode == 0, said
    # Its observer process may log something after it.
    (packages,) = (line for line in said.splitlines() if line.startswith("fastapi "))
    return set(packages.split())


def _check_bare(installed: Installed) -> None:
    """Nothing else is installed, vLLM can be observed with it, and it says what is missing."""
    packages = installed.execute(
        "from importlib.metadata import distributions\n"
        "print(*{distribution.name for distribution in distributions()})"
    )
    assert packages.split() == ["sidelight"]
    loaded = _observe_server(installed)
    # The program itself makes the other two.
    assert loaded == {"fastapi", "sidelight", "vllm"}
    said = installed.execute(
        "import sidelight.instrumentation\nassert sidelight.instrumentation.instrument() == ()"
    )
    assert "opentelemetry and wrapt not installed" in said
    assert "pip install 'sidelight[vectordb]'" in said
    for command in ("up", "--help"):
        said = installed.run(installed.sidelight, command, code=2)
        assert "which is not installed: pip install 'sidelight[all]'" in said


def _check_vectordb(installed: Installed) -> None:
    """The wrappers can be loaded, without an exporter."""
    loaded = installed.execute(
        "import sys, sidelight.instrumentation\n"
        "from sidelight.instrumentation.vectordb import chroma, milvus, qdrant\n"
        "assert sidelight.instrumentation.instrument() == ()\n"
        "import opentelemetry.sdk.trace\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    assert not {"pydantic", "grpc", "requests", "click", "yaml", "google"} & set(loaded.split())


def _check_collector(installed: Installed) -> None:
    """`sidelight up` takes spans, says that it is ready, and stops when it is told to."""
    directory = installed.python.parents[1] / "service"
    assert "sidelight up" in installed.run(installed.sidelight, "--help")
    with Collector(settings(directory), directory, command=[installed.sidelight]) as collector:
        assert collector.post(traces([span()]).body())[0] == 200
        assert collector.get("/readyz")[0] == 200
        file = directory / "sidelight.yaml"
        installed.run(installed.sidelight, "config", "check", "--config", file)
        stored = installed.run(installed.sidelight, "log", "cat", "--config", file)
        assert '"name":"step"' in stored.replace(" ", "")
        collector.process.send_signal(signal.SIGTERM)
        assert collector.process.wait(120) == 0


def _check_dashboards(installed: Installed) -> None:
    """`sidelight dashboards write` writes those that are committed."""
    directory = installed.python.parents[1] / "boards"
    installed.run(installed.sidelight, "dashboards", "write", directory)
    written = {path.name: path.read_text() for path in directory.iterdir()}
    committed = (_ROOT / "dashboards" / "generated").iterdir()
    assert written == {path.name: path.read_text() for path in committed}


def _check_exporter(installed: Installed) -> None:
    """The app of the README has the exporter it imports."""
    installed.execute("import opentelemetry.exporter.otlp.proto.http.trace_exporter")


def _check_injector(installed: Installed) -> None:
    """The webhook serves, and stops when it is told to."""
    directory = installed.python.parents[1] / "webhook"
    directory.mkdir()
    authority = Authority(directory)
    pair = authority.issue("tls")
    options = ("--certificate", pair.certificate, "--key", pair.key, "--no-events")
    drain = ("--drain-seconds", "0")
    with Injector(directory, *options, *drain, command=[installed.sidelight]) as injector:
        connection = connected(injector.port, authority.client(), "localhost")
        assert review_over(connection, RECORDED[0]).patch
        assert injector.get("/readyz")[0] == 200
        assert injector.terminate() == 0


def _check_snappy(installed: Installed) -> None:
    """The compressor is there."""
    installed.execute("import cramjam")


def _check_kv_events(installed: Installed) -> None:
    """The sockets are there."""
    installed.execute("import zmq.asyncio")


def _check_all(installed: Installed) -> None:
    """Everything but the demo."""
    checks = (
        _check_collector,
        _check_dashboards,
        _check_exporter,
        _check_kv_events,
        _check_snappy,
    )
    for check in checks:
        check(installed)


def _check_demo(installed: Installed) -> None:
    """The demo finds all that it imports; tests/e2e runs it."""
    installed.execute("import sidelight.demo.stage")
    assert "RAG app" in installed.run(installed.sidelight, "demo", "--help")


_PROMISES: dict[str, Callable[[Installed], None]] = {
    "": _check_bare,
    "all": _check_all,
    "collector": _check_collector,
    "dashboards": _check_dashboards,
    "demo": _check_demo,
    "exporter": _check_exporter,
    "injector": _check_injector,
    "kv-events": _check_kv_events,
    "snappy": _check_snappy,
    "vectordb": _check_vectordb,
}


def test_every_extra_is_installed_here(wheel: zipfile.ZipFile) -> None:
    """An extra that is added needs a check of what it promises."""
    extras = set(_metadata(wheel).get_all("Provides-Extra", []))
    assert extras - _OWN_EXTRAS == _PROMISES.keys() - {""}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("version", "extra"),
    [
        *(("3.11", extra) for extra in _PROMISES),
        *((version, extra) for version in ("3.12", "3.13") for extra in ("", "all")),
    ],
)
def test_a_fresh_environment(
    version: str, extra: str, bare: Bare, wheel_file: Path, tmp_path: Path
) -> None:
    """The wheel keeps the promise of each extra, with nothing else installed."""
    python, directory = _python(version), tmp_path / "fresh"
    installed = with_extras(python, bare(version), wheel_file, extra, directory)
    _PROMISES[extra](installed)


@pytest.mark.slow
@pytest.mark.timeout(900)
# Without an extra nothing is required.
@pytest.mark.parametrize("extra", [extra for extra in _PROMISES if extra])
def test_the_oldest_versions_that_are_declared(
    extra: str, bare: Bare, wheel_file: Path, tmp_path: Path
) -> None:
    """The wheel keeps the promise of each extra with the lower bound of every requirement."""
    python, directory = _python("3.11"), tmp_path / "lowest"
    installed = with_extras(python, bare("3.11"), wheel_file, extra, directory, lowest=True)
    lowest = dict(constraint.split("==") for constraint in lowest_versions(wheel_file, extra))
    program = f"from importlib.metadata import version; print(*map(version, {[*lowest]}))"
    versions = dict(zip(lowest, installed.execute(program).split(), strict=True))
    assert {name: Version(version) for name, version in versions.items()} == {
        name: Version(version) for name, version in lowest.items()
    }
    _PROMISES[extra](installed)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_environment_from_the_sdist(sdist_file: Path, bare: Bare, tmp_path: Path) -> None:
    """It installs what the wheel does, byte for byte."""
    from_sdist = install(_python("3.11"), sdist_file, tmp_path / "fresh")
    assert _recorded(from_sdist) == _recorded(bare("3.11"))


def _recorded(installed: Installed) -> set[str]:
    """The files of Sidelight with their digests, but for what names the environment."""
    (record,) = installed.packages.glob("sidelight-*.dist-info/RECORD")
    own = (f"{record.parent.name}/direct_url.json,", "../")
    return {line for line in record.read_text().splitlines() if not line.startswith(own)}


def _python(version: str) -> Path:
    if (python := interpreter(version)) is None:
        pytest.skip(f"no Python {version} on PATH, in pyenv or in uv")
    return python
