"""What the log file of a real vLLM says when the instrumentation has something to say.

Faults are planted in the server's own copy of Sidelight: its files are written for the test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from sidelight import conventions as names
from sidelight.demo.environments import cache_directory
from sidelight.demo.vllm_server import VllmServer
from sidelight.instrumentation.injected import tree
from support.otlp_receiver import OtlpReceiver
from support.ports import free_port
from support.vllm_server import name_vllm, older_vllm, running_vllm
from support.waiting import eventually

pytestmark = [pytest.mark.real("vllm", "vllm-0.31"), pytest.mark.timeout(600)]

SECRET = "wombatology"
OFF_SECONDS = 3.0
FAILING_STEPS = """
_step_record = step_record


def step_record(*arguments):
    from pathlib import Path

    if Path({flag!r}).exists():
        raise ValueError({secret!r})
    return _step_record(*arguments)
"""


@dataclass(frozen=True)
class Service:
    """A server whose collector is away until a test starts one on `port`."""

    server: VllmServer
    port: int
    steps_fail: Path

    def lines(self, beginning: str) -> list[str]:
        """Sidelight's lines in the log file that begin so, after vLLM's own beginning."""
        text = self.server.process.log_path.read_text(errors="replace")
        found = (line.partition("Sidelight: ")[2] for line in text.splitlines())
        return [line for line in found if line.startswith(beginning)]

    def wait_for(self, beginning: str) -> str:
        """The one line that begins so, once it is there."""
        lines = eventually(lambda: self.lines(beginning), state=lambda: str(self.lines("")))
        assert len(lines) == 1, lines
        return str(lines[0])

    def ask(self) -> None:
        """One request."""
        response = httpx.post(
            f"{self.server.url}/v1/completions",
            # By chance the model would end its answer before there are ten steps.
            json={"model": self.server.model_name, "prompt": SECRET, "max_tokens": 20,
                  "ignore_eos": True},
            timeout=120,
        )  # fmt: skip
        assert response.status_code == 200


def plant(copy: Path, steps_fail: Path) -> None:
    """Change the constants and functions of a copy of Sidelight."""
    part = copy / "sidelight" / "instrumentation" / "vllm"

    def change(name: str, old: str, new: str) -> None:
        text = (part / name).read_text()
        assert text.count(old) == 1, name
        (part / name).write_text(text.replace(old, new))

    change("faults.py", "OFF_SECONDS: Final = 300.0", f"OFF_SECONDS: Final = {OFF_SECONDS}")
    # However long the tests take, a line is written once.
    change("logger.py", "INTERVAL_SECONDS: Final = 300.0", "INTERVAL_SECONDS: Final = 36_000.0")
    change("export/exporter.py", "MAX_QUEUED_SPANS: Final = 8_192", "MAX_QUEUED_SPANS: Final = 2")
    change(
        "plugin.py",
        "_APPLICATIONS: Final = {",
        '_APPLICATIONS: Final = {"starlette.routing": "Gone", ',
    )
    statistics = part / "engine_stats.py"
    planted = FAILING_STEPS.format(flag=str(steps_fail), secret=SECRET)
    statistics.write_text(statistics.read_text() + planted)


@pytest.fixture(scope="module", params=["0.32", "0.31"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """One start of each version of vLLM, which believes to be another version."""
    directory: Path = tmp_path_factory.mktemp("vllm")
    copy, steps_fail, port = directory / "copy", directory / "steps-fail", free_port()
    tree.write(copy)
    plant(copy, steps_fail)
    tree.write_record(copy)
    name_vllm(copy, "0.99.0+cpu")
    paths, environment = [copy], {}
    if request.param != "0.32":
        paths.append(older_vllm(request.param, directory / "older"))
        # What a version finds out about a model, in 8 s, replaces what another has found out.
        environment["VLLM_CACHE_ROOT"] = str(cache_directory() / f"vllm-{request.param}")
    with running_vllm(
        directory,
        otlp_endpoint=f"http://user:{SECRET}@127.0.0.1:{port}",
        instrumented=False,
        environment={
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={SECRET}",
            "SIDELIGHT_CAPTURE_CONTENT": "everything",
            **environment,
        },
        paths=paths,
    ) as server:
        assert f"v{request.param}." in server.process.log_path.read_text(errors="replace")
        yield Service(server, port, steps_fail)


def test_what_is_said_at_the_start(service: Service) -> None:
    """An unknown version, a hook that does not fit, and a variable with a wrong value."""
    unknown = service.wait_for("vLLM 0.99.0+cpu is not known")
    assert unknown.endswith("Install the newest Sidelight, and a version of vLLM that it knows.")
    missing = service.wait_for("cannot install a hook (Gone.build_middleware_stack")
    assert missing.endswith("and update Sidelight.")
    wrong = service.wait_for("SIDELIGHT_CAPTURE_CONTENT='everything' is not allowed; using off.")
    assert wrong.endswith("Set it to off, ids, truncated, full.")


def test_the_collector_is_away(service: Service) -> None:
    """One line for many failures, with the address and what to do.

    It comes from the observer process, and begins as vLLM's own lines do.
    """
    away = service.wait_for(f"cannot send metrics to http://127.0.0.1:{service.port} (")
    assert away.endswith("OTLP/HTTP address, usually with port 4318.")
    lines = service.server.process.log_path.read_text(errors="replace").splitlines()
    (whole,) = [line for line in lines if line.endswith(away)]
    beginning = r"\(APIServer pid=\d+\) WARNING \d\d-\d\d [\d:]{8} \[exporter.py:\d+\] Sidelight: "
    assert re.match(beginning, whole), whole


def test_what_does_not_fit_is_dropped(service: Service) -> None:
    """Two spans fit here, and a request has more."""
    service.ask()
    dropped = service.wait_for("dropped ")
    assert "at the export queue" in dropped
    assert dropped.endswith("that this machine has CPU time left.")


def test_a_part_is_switched_off_and_on_again(service: Service) -> None:
    """A run of faults is heard, and steps are measured again once they are over."""
    service.steps_fail.touch()
    service.ask()
    first = service.wait_for("ValueError in the stat logger (engine_stats.py:")
    off = service.wait_for("10 faults in a row in the stat logger (")
    service.steps_fail.unlink()
    for line in (first, off):
        assert line.endswith("Report this line with the versions of vLLM and Sidelight.")
    with OtlpReceiver(port=service.port) as receiver:

        def steps() -> int:
            service.ask()
            points = receiver.metrics().get(names.ENGINE_STEPS, [])
            return sum(point.as_int for point in points)

        before = receiver.wait_for(steps)
        receiver.wait_for(lambda: steps() > before)
    service.wait_for(f"sending metrics to http://127.0.0.1:{service.port} again.")


def test_no_line_tells_a_secret(service: Service) -> None:
    """Neither of a prompt, nor of a header, nor of the endpoint; and vLLM has not complained."""
    lines = service.lines("")
    assert len(lines) >= 8
    assert SECRET not in "\n".join(lines)
    assert "Traceback" not in service.server.process.log_path.read_text(errors="replace")
