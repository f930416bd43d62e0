"""The demo's composition root: starts all parts, sends traffic, reads it back and reports."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
from pymilvus import MilvusClient
from rich.console import Console

from sidelight.demo import (
    collector_server,
    environments,
    evidence,
    model,
    phoenix_server,
    prometheus_server,
    report,
    traffic,
    vllm_server,
)
from sidelight.demo.app import RagAnswer, RagApp, read_passages
from sidelight.demo.backends import Backends, backends
from sidelight.demo.checks import Finding, most_telling
from sidelight.demo.collector_server import PROJECT, CollectorServer
from sidelight.demo.embedder import Embedder
from sidelight.demo.environments import EnvironmentBuildError
from sidelight.demo.evidence import Evidence
from sidelight.demo.folder import emptied
from sidelight.demo.processes import ProcessError, Processes, free_ports, is_free
from sidelight.demo.prometheus_query import PrometheusReader
from sidelight.demo.run import DemoOptions
from sidelight.demo.screen import Screen
from sidelight.demo.telemetry import ENVIRONMENT, providers
from sidelight.instrumentation.injected import tree

_PASSAGES = Path(__file__).with_name("passages.txt")
_OTLP_PORTS = (4318, 4317)
_PATIENCE_SECONDS = 90.0
_ANSWER_SECONDS = 300.0
_METRIC_MILLISECONDS = 1_000


class CannotRunError(RuntimeError):
    """The demo could not finish. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class DemoPorts:
    """The demo's loopback ports."""

    vllm: int
    phoenix: int
    prometheus: int
    collector: int
    otlp_http: int
    otlp_grpc: int


@dataclass(frozen=True, slots=True)
class Model:
    """The model that answers. `own`: it is the demo's, not the user's."""

    url: str
    name: str
    own: bool


@dataclass(frozen=True, slots=True)
class RunningDemo:
    """The started parts."""

    model: Model
    embedder: Embedder
    store: MilvusClient
    backends: Backends
    prometheus_url: str | None
    collector: CollectorServer


async def play(options: DemoOptions, console: Console) -> list[Finding]:
    """Run the demo. All processes that it started have exited when it returns or raises.

    Raises `CannotRunError`, and `asyncio.CancelledError` on SIGINT and SIGTERM.
    """
    task = asyncio.current_task()
    assert task is not None
    # SIGINT does the same by itself.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    directory = options.directory.absolute()
    screen = Screen(console)
    try:
        # The processes stop before anything waits for threads, which may wait for processes.
        with emptied(directory), Processes(directory / "logs") as processes:
            with screen.running():
                parts = await _start(options, directory, processes, screen)
                with closing(parts.store):
                    started = time.time()
                    answers = await _ask(parts, screen)
                read_back = await _read_back(parts, answers, started, screen)
            _report(options, parts, answers, read_back, directory, console)
            if options.keep:
                await _until_interrupted(console)
            return read_back.findings
    except Exception as error:
        # A TaskGroup wraps what its tasks raise.
        first = _first(error)
        if isinstance(first, ProcessError | EnvironmentBuildError | httpx.HTTPError | OSError):
            raise CannotRunError(str(first)) from error
        raise


async def _start(
    options: DemoOptions, directory: Path, processes: Processes, screen: Screen
) -> RunningDemo:
    ports = _ports(preferred=options.vllm_url is not None)
    own_phoenix_url = f"http://127.0.0.1:{ports.phoenix}"
    named = backends(own_phoenix_url, options.phoenix_url, options.langfuse_url)
    vllm_url = options.vllm_url or f"http://127.0.0.1:{ports.vllm}"
    collector = collector_server.start(
        processes,
        directory=directory,
        http_port=ports.otlp_http,
        grpc_port=ports.otlp_grpc,
        serve_port=ports.collector,
        destinations=named.destinations(PROJECT),
        vllm_metrics_url=f"{vllm_url}/metrics",
    )

    async def start_collector() -> None:
        with screen.step("Sidelight's collector"):
            await asyncio.to_thread(collector.wait_until_ready)

    async def start_langfuse() -> None:
        if named.langfuse is not None:
            with screen.step("Your Langfuse") as step:
                project = await asyncio.to_thread(named.check_langfuse)
                step.conclude(f"project {project} at {named.langfuse.url}")

    async def start_phoenix() -> None:
        if not named.own:
            with screen.step("Your Phoenix") as step:
                await asyncio.to_thread(named.check_phoenix)
                step.conclude(named.phoenix.url)
            return
        with screen.step("Phoenix") as step:
            python = await asyncio.to_thread(
                environments.ensure, "phoenix", progress=step.say, processes=processes
            )
            step.say("starting")
            server = phoenix_server.start(
                processes, python=python, directory=directory / "phoenix", port=ports.phoenix
            )
            await asyncio.to_thread(server.wait_until_ready)
            step.conclude(server.url)

    async def start_prometheus() -> str | None:
        program = prometheus_server.binary()
        with screen.step("Prometheus") as step:
            if program is None:
                step.conclude("skipped: not installed (apt install prometheus)")
                return None
            server = prometheus_server.start(
                processes,
                program=program,
                directory=directory / "prometheus",
                port=ports.prometheus,
                # Only the collector, which serves vLLM's metrics as well.
                targets={"sidelight": collector.metrics_url},
            )
            await asyncio.to_thread(server.wait_until_ready)
            step.conclude(server.url)
            return server.url

    async def start_vllm() -> Model:
        if options.vllm_url is not None:
            with screen.step("Your vLLM") as step:
                served = await _served_model(options.vllm_url)
                step.conclude(f"{served.name} at {served.url}")
                return served
        with screen.step("vLLM with a tiny model") as step:
            python = await asyncio.to_thread(
                environments.ensure, "vllm", progress=step.say, processes=processes
            )
            step.say("creating the model")
            weights = await asyncio.to_thread(model.ensure, python, processes)
            step.say("starting, which takes half a minute")
            server = vllm_server.start(
                processes,
                python=python,
                model=weights,
                port=ports.vllm,
                instrumentation=tree.write(directory / "instrumentation"),
                otlp_endpoint=collector.otlp_url,
                environment={
                    # The demo's questions and passages are not confidential.
                    "SIDELIGHT_CAPTURE_CONTENT": "full",
                    "OTEL_METRIC_EXPORT_INTERVAL": str(_METRIC_MILLISECONDS),
                    # Langfuse separates environments: the server's spans belong to the app's.
                    "OTEL_RESOURCE_ATTRIBUTES": (
                        f"openinference.project.name={PROJECT},"
                        f"deployment.environment.name={ENVIRONMENT}"
                    ),
                },
            )
            await asyncio.to_thread(server.wait_until_ready)
            step.conclude(server.url)
            return Model(server.url, server.model_name, own=True)

    async def start_embedder() -> Embedder:
        with screen.step("Embedding model") as step:
            python = await asyncio.to_thread(
                environments.ensure, "embedder", progress=step.say, processes=processes
            )
            loaded = await asyncio.to_thread(Embedder.from_environment, python)
            step.conclude("all-MiniLM-L6-v2, with numpy")
            return loaded

    async def start_milvus() -> MilvusClient:
        with screen.step("Milvus Lite") as step:
            store = await asyncio.to_thread(MilvusClient, str(directory / "milvus.db"))
            step.conclude("in this process")
            return store

    # At the same time: vLLM and Phoenix each take half a minute.
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(start_collector())
        tasks.create_task(start_phoenix())
        tasks.create_task(start_langfuse())
        prometheus = tasks.create_task(start_prometheus())
        served = tasks.create_task(start_vllm())
        loaded = tasks.create_task(start_embedder())
        store = tasks.create_task(start_milvus())
    return RunningDemo(
        model=served.result(),
        embedder=loaded.result(),
        store=store.result(),
        backends=named,
        prometheus_url=prometheus.result(),
        collector=collector,
    )


async def _ask(parts: RunningDemo, screen: Screen) -> list[RagAnswer]:
    tracers, meters = providers(parts.collector.otlp_url, PROJECT)
    key = os.environ.get("VLLM_API_KEY") if not parts.model.own else None
    async with httpx.AsyncClient(
        base_url=parts.model.url,
        headers={"Authorization": f"Bearer {key}"} if key else None,
        timeout=_ANSWER_SECONDS,
        # vLLM closes an idle connection after 5 s. Using one at that moment would fail.
        limits=httpx.Limits(max_connections=2 * traffic.BURST_SIZE, keepalive_expiry=2),
    ) as http:
        app = RagApp(
            tracers=tracers,
            meters=meters,
            embedder=parts.embedder,
            store=parts.store,
            http=http,
            model=parts.model.name,
        )
        with screen.step("Indexing passages") as step:
            passages = read_passages(_PASSAGES.read_text(encoding="utf-8"))
            await asyncio.to_thread(app.index, passages)
            step.conclude(f"{len(passages)} passages")
        with screen.step("Asking questions in bursts") as step:
            bursts = traffic.BURSTS if parts.model.own else traffic.BURSTS_TO_USERS_VLLM
            answers = await traffic.run(
                app, traffic.plan(bursts), lambda done, of: step.say(f"{done} of {of}")
            )
    # Sends what is still buffered.
    await asyncio.to_thread(tracers.shutdown)
    await asyncio.to_thread(meters.shutdown)
    return answers


async def _read_back(
    parts: RunningDemo, answers: list[RagAnswer], started: float, screen: Screen
) -> Evidence:
    prometheus_url = parts.prometheus_url

    def prometheus_now() -> PrometheusReader:
        assert prometheus_url is not None
        return PrometheusReader(prometheus_url, started, time.time())

    with screen.step("Reading back what arrived") as step:
        read_back = await asyncio.to_thread(
            evidence.gather,
            answers=answers,
            phoenix=parts.backends.phoenix,
            langfuse=parts.backends.langfuse,
            started=started,
            prometheus=prometheus_now if prometheus_url else None,
            collector_metrics_url=parts.collector.metrics_url,
            dashboards=parts.collector.dashboards,
            instrumented=parts.model.own,
            patience_seconds=_PATIENCE_SECONDS,
            progress=step.say,
        )
        step.conclude("complete" if read_back.complete else "incomplete")
        return read_back


def _report(
    options: DemoOptions,
    parts: RunningDemo,
    answers: list[RagAnswer],
    read_back: Evidence,
    directory: Path,
    console: Console,
) -> None:
    best = most_telling(answers, read_back.traces)
    links = [("Dashboard files", str(parts.collector.dashboards))]
    if options.verbose:
        links.append(("Logs", str(directory / "logs")))
    if best:
        link = parts.backends.phoenix.link(best)
        stays = options.keep or not parts.backends.own
        links.insert(0, ("This trace", link if stays else f"{link} (with --keep)"))
        if parts.backends.langfuse:
            links.insert(1, ("In Langfuse", parts.backends.langfuse.link(best)))
    if options.keep:
        links += [
            ("Phoenix", parts.backends.phoenix.url),
            ("Collector", parts.collector.metrics_url),
        ]
        if parts.prometheus_url:
            links.append(("Prometheus", parts.prometheus_url))
        links.append(("vLLM", parts.model.url))
    report.show(console, read_back.findings, read_back.traces.get(best or "", []), links)
    if parts.model.own:
        console.print(
            "The model has random weights: its answers are gibberish, but its load is real.",
            style="dim",
        )
    missing = [finding for finding in read_back.findings if not finding.found]
    if not parts.model.own and missing:
        console.print(
            f"{len(missing)} of these need Sidelight in your vLLM. Run pip install sidelight in "
            "its environment, and start vLLM with OTEL_EXPORTER_OTLP_ENDPOINT="
            f"{parts.collector.otlp_url}",
            markup=False,
        )


async def _until_interrupted(console: Console) -> None:
    console.print("Serving until Ctrl-C.", style="bold")
    task = asyncio.current_task()
    assert task is not None
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        task.uncancel()


async def _served_model(url: str) -> Model:
    key = os.environ.get("VLLM_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else None
    try:
        async with httpx.AsyncClient(timeout=10, headers=headers) as http:
            answer = (await http.get(f"{url}/v1/models")).raise_for_status().json()
        return Model(url, answer["data"][0]["id"], own=False)
    except (httpx.HTTPError, ValueError, KeyError, IndexError) as error:
        raise ProcessError(
            f"no model at {url}/v1/models: {error}. --vllm takes the base URL of an "
            "OpenAI-compatible server, for instance http://127.0.0.1:8000; a key is read from "
            "VLLM_API_KEY."
        ) from error


def _ports(*, preferred: bool) -> DemoPorts:
    """Free ports. With `preferred`, OTLP's default ports if they are free.

    The user's own vLLM was started before the demo, and sends to a default port if anywhere.
    """
    vllm, phoenix, prometheus, collector, *otlp = free_ports(6)
    if preferred:
        otlp = [
            default if is_free(default) else other
            for default, other in zip(_OTLP_PORTS, otlp, strict=True)
        ]
    return DemoPorts(vllm, phoenix, prometheus, collector, *otlp)


def _first(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
