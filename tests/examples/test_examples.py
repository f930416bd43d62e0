"""Every example does what its first lines say, as a user would run it."""

from __future__ import annotations

import base64
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from support.backend import Backend, Reply, Request
from support.collector import Collector, environment
from support.environments import python_of
from support.examples import EXAMPLES, AnyBackend, configuration
from support.exposition_server import serve_pages
from support.named_files import provide
from support.otlp_requests import span, traces
from support.otlp_store import OtlpStore
from support.paths import DATA
from support.ports import free_port
from support.waiting import eventually

LANGFUSE_KEYS = {"LANGFUSE_PUBLIC_KEY": "pk-lf-project", "LANGFUSE_SECRET_KEY": "sk-lf-project"}
# What an SDK gives up is lost: 5 or 10 s may be too short on a busy machine.
EXPORT_SECONDS = "60"


def test_every_example_is_listed_and_run() -> None:
    """The list of examples is whole, and so is this file."""
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    text = (EXAMPLES / "README.md").read_text()
    assert set(re.findall(r"^\| \[(\w+)\]", text, re.MULTILINE)) == folders
    tests = Path(__file__).read_text()
    assert {name for name in folders if f"def test_{name}(" not in tests} == set()


@pytest.fixture(scope="session")
def webhook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the distribution of own_destination, installed there by pip."""
    folder = tmp_path_factory.mktemp("webhook")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--target", str(folder)]
    done = subprocess.run(
        [*command, EXAMPLES / "own_destination"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    "file", sorted(EXAMPLES.rglob("sidelight.yaml")), ids=lambda file: file.parent.name
)
def test_config_check_accepts(file: Path, webhook: Path, tmp_path: Path) -> None:
    """`sidelight config check` finds no fault in it once its secrets and certificates are there."""
    folder = tmp_path / "example"
    shutil.copytree(file.parent, folder)
    text, secrets = provide(file.read_text(), tmp_path)
    (folder / file.name).write_text(text)
    command = [sys.executable, "-m", "sidelight.collector", "config", "check", "-c", file.name]
    env = environment({**secrets, "PYTHONPATH": str(webhook)})
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_rag_with_milvus(tmp_path: Path) -> None:
    """One trace: question, search with documents, model call, whose server gets its context."""
    asked: list[Request] = []

    def model(request: Request) -> Reply:
        asked.append(request)
        if request.path == "/v1/models":
            answer: object = {"data": [{"id": "tiny"}]}
        else:
            choice = {"message": {"role": "assistant", "content": "The KV cache was full."}}
            answer = {
                "choices": [choice],
                "usage": {"prompt_tokens": 40, "completion_tokens": 6},
            }
        return Reply(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    with OtlpStore() as store, Backend(model) as server:
        config = {
            "receivers": {"otlp_http": {"port": 0}, "otlp_grpc": {"enabled": False}},
            "serve": {"port": 0},
            "dashboards": {"directory": ""},
            "destinations": [store.destination()],
        }
        with Collector(config, tmp_path) as collector:
            done = subprocess.run(
                [sys.executable, EXAMPLES / "rag_with_milvus" / "app.py", "Why was it preempted?"],
                cwd=tmp_path,
                env=environment(
                    {
                        "OPENAI_BASE_URL": f"{server.url}/v1",
                        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
                        "OTEL_EXPORTER_OTLP_TIMEOUT": EXPORT_SECONDS,
                        "SIDELIGHT_CAPTURE_CONTENT": "full",
                    }
                ),
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
            assert done.stdout == "The KV cache was full.\n"
            eventually(lambda: len(store.spans("answer question")))
    (root,) = store.spans("answer question")
    (search,) = store.spans("search passages")
    (chat,) = store.spans("chat tiny")
    assert search.parent_span_id == chat.parent_span_id == root.span_id
    found = {pair.key: pair.value for pair in search.attributes}
    assert "KV cache has no free block" in found["gen_ai.retrieval.documents"].string_value
    assert asked[-1].headers["traceparent"].split("-")[2] == chat.span_id.hex()


def test_phoenix_and_langfuse(tmp_path: Path) -> None:
    """Both backends get the call of the model without secrets; Langfuse gets nothing else."""
    chat = span("chat tiny")
    chat.attributes.add(key="openinference.span.kind").value.string_value = "LLM"
    chat.attributes.add(key="input.value").value.string_value = "bob@example.org wants ORD-123456"
    with AnyBackend() as phoenix, AnyBackend() as langfuse:
        urls = {"phoenix": phoenix.url, "langfuse": langfuse.url}
        config = configuration("phoenix_and_langfuse", tmp_path, urls)
        with Collector(config, tmp_path, env=LANGFUSE_KEYS) as collector:
            assert collector.post(traces([chat, span("GET /health")]).body())[0] == 200
            eventually(lambda: "chat tiny" in phoenix.names() & langfuse.names())
    assert phoenix.names() == {"chat tiny", "GET /health"}
    assert langfuse.names() == {"chat tiny"}
    for backend in (phoenix, langfuse):
        # A span whose answer was late is sent again.
        texts = {
            one.attributes["input.value"] for one in backend.spans() if one.name == "chat tiny"
        }
        assert texts == {"[email] wants [order]"}


def test_langfuse_sdk(tmp_path: Path) -> None:
    """The SDK's observations arrive under the project's keys, not under the app's."""
    with AnyBackend() as langfuse:
        config = configuration("langfuse_sdk", tmp_path, {"langfuse": langfuse.url})
        env = {"APP_SECRET_KEY": "sk-lf-of-this-app", **LANGFUSE_KEYS}
        with Collector(config, tmp_path, env=env) as collector:
            done = subprocess.run(
                [sys.executable, EXAMPLES / "langfuse_sdk" / "app.py"],
                env=environment(
                    {
                        "LANGFUSE_BASE_URL": collector.url,
                        "LANGFUSE_PUBLIC_KEY": "pk-lf-app",
                        "LANGFUSE_SECRET_KEY": "sk-lf-of-this-app",
                        "LANGFUSE_TIMEOUT": EXPORT_SECONDS,
                    }
                ),
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
            eventually(lambda: {"question", "answer"} <= langfuse.names())
    assert {one.trace_id for one in langfuse.spans()} == {done.stdout.strip()}
    (authorization,) = {request.authorization for request in langfuse.delivered}
    assert authorization == "Basic cGstbGYtcHJvamVjdDpzay1sZi1wcm9qZWN0"


@pytest.mark.real("phoenix")
def test_fastapi_app(tmp_path: Path) -> None:
    """The service answers; its spans, below the caller's, and its metrics arrive at its end."""
    port = free_port()
    with OtlpStore() as store:
        config = {
            "receivers": {"otlp_http": {"port": 0}, "otlp_grpc": {"enabled": False}},
            "serve": {"port": 0},
            "dashboards": {"directory": ""},
            "destinations": [store.destination()],
        }
        with Collector(config, tmp_path) as collector:
            # Phoenix's environment has FastAPI, uvicorn and OpenTelemetry's SDK.
            command = [str(python_of("phoenix")), "-m", "uvicorn", "app:app", "--port", str(port)]
            env = environment(
                {
                    "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
                    "OTEL_EXPORTER_OTLP_TIMEOUT": EXPORT_SECONDS,
                }
            )
            with subprocess.Popen(command, cwd=EXAMPLES / "fastapi_app", env=env) as service:
                try:
                    url = f"http://127.0.0.1:{port}/answer?question=why"
                    header = f"traceparent: 00-{'ab' * 16}-{'cd' * 8}-01"
                    curl = ["curl", "-sSf", "-H", header, url]
                    answer = eventually(
                        lambda: subprocess.run(curl, capture_output=True, text=True).stdout
                    )
                    assert json.loads(answer) == {"answer": "42"}
                finally:
                    service.send_signal(signal.SIGTERM)
            eventually(lambda: store.named_metrics("questions") and store.spans("think"))
    (request,) = store.spans("GET /answer")
    assert request.trace_id.hex() == "ab" * 16
    assert request.parent_span_id.hex() == "cd" * 8
    (think,) = store.spans("think")
    assert think.trace_id == request.trace_id


def test_own_extension(tmp_path: Path) -> None:
    """The team is on the span of the model; the probe is gone."""
    chat = span("chat")
    chat.attributes.add(key="gen_ai.request.model").value.string_value = "legal-7b"
    with AnyBackend() as phoenix:
        config = configuration("own_extension", tmp_path, {"phoenix": phoenix.url})
        env = {"PYTHONPATH": str(EXAMPLES / "own_extension")}
        with Collector(config, tmp_path, env=env) as collector:
            body = of_scope("web", chat, span("GET /health"))
            assert collector.post(body)[0] == 200
            eventually(lambda: phoenix.names())
    teams = {one.name: one.attributes.get("team") for one in phoenix.spans()}
    assert teams == {"chat": "law"}


def test_own_destination(tmp_path: Path, webhook: Path) -> None:
    """Found by its entry point; it hears of the failed span, after an answer that is repeated."""
    posted: list[object] = []

    def hook(request: Request) -> Reply:
        posted.append(json.loads(request.body))
        return Reply(503 if len(posted) == 1 else 200)

    failed = span("failed")
    failed.status.code = failed.status.STATUS_CODE_ERROR
    with Backend(hook) as backend:
        config = configuration("own_destination", tmp_path, {"webhook": backend.url})
        with Collector(config, tmp_path, env={"PYTHONPATH": str(webhook)}) as collector:
            assert collector.post(traces([span("fine"), failed]).body())[0] == 200
            eventually(lambda: len(posted) == 2)
            name = "sidelight_collector_delivered_total"
            eventually(lambda: collector.metric(name, destination="webhook") == 1)
    assert posted == [{"text": "production: failed"}] * 2


def test_tail_sampling(tmp_path: Path) -> None:
    """Phoenix gets everything at once, Langfuse the whole trace of what failed, but no probe."""
    failed, probe = span("failed"), span("GET /health")
    failed.status.code = failed.status.STATUS_CODE_ERROR
    # The hash of this id puts it outside the tenth that is kept.
    ordinary = span("ordinary", trace_id=b"\2" * 16)
    # A sibling that nothing is wrong with is kept for it; the probe is in that trace as well.
    sibling = span("sibling", trace_id=failed.trace_id)
    probe.trace_id = failed.trace_id
    with AnyBackend() as phoenix, AnyBackend() as langfuse:
        urls = {"phoenix": phoenix.url, "langfuse": langfuse.url}
        config = configuration("tail_sampling", tmp_path, urls)
        with Collector(config, tmp_path, env=LANGFUSE_KEYS) as collector:
            assert collector.post(of_scope("app", sibling, failed, probe, ordinary))[0] == 200
            eventually(lambda: len(phoenix.names()) == 4)
            eventually(lambda: len(langfuse.names()) == 2)
    assert langfuse.names() == {"failed", "sibling"}


def test_tenants(tmp_path: Path) -> None:
    """Each team's spans go out under its own keys; without a token nothing is taken."""
    tokens = {"TEAM_A_TOKEN": "a" * 32, "TEAM_B_TOKEN": "b" * 32}
    keys = {
        f"TEAM_{team}_{kind}": f"{team}-{kind}" for team in "AB" for kind in ("PUBLIC", "SECRET")
    }
    with AnyBackend() as langfuse:
        config = configuration("tenants", tmp_path, {"langfuse": langfuse.url})
        with Collector(config, tmp_path, env=tokens | keys) as collector:
            assert collector.post(traces([span("of nobody")]).body())[0] == 401
            for team in "AB":
                bearer = {"Authorization": f"Bearer {tokens[f'TEAM_{team}_TOKEN']}"}
                body = traces([span(f"of team {team}")]).body()
                assert collector.post(body, headers=bearer)[0] == 200
            eventually(lambda: len(langfuse.names()) == 2)
    for team in "AB":
        (authorization,) = {
            request.authorization
            for request in langfuse.delivered
            if any(one.name == f"of team {team}" for one in request.spans())
        }
        pair = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        assert pair == f"{team}-PUBLIC:{team}-SECRET"


def test_metrics(tmp_path: Path) -> None:
    """vLLM's families are on the collector's page; Prometheus accepts its configuration."""
    text = (DATA / "vllm" / "metrics-0.32-load.txt").read_bytes()
    pages = {"/metrics": lambda _: ("text/plain; version=0.0.4", text)}
    with AnyBackend() as phoenix, serve_pages(pages) as place:
        config = configuration("metrics", tmp_path, {"phoenix": phoenix.url})
        targets = {target["preset"]: target for target in config["receivers"]["scrape"]["targets"]}
        assert targets.keys() == {"vllm", "milvus", "qdrant"}
        targets["vllm"]["url"] = f"http://{place}/metrics"
        with Collector(config, tmp_path) as collector:
            line = eventually(
                lambda: re.search(
                    r"^vllm:num_requests_running.*", collector.get("/metrics")[1], re.M
                )
            )
            assert 'job="vllm"' in line[0]
    if promtool := shutil.which("promtool"):
        file = EXAMPLES / "metrics" / "prometheus.yml"
        subprocess.run([promtool, "check", "config", file], check=True, capture_output=True)


def of_scope(scope: str, *spans: Span) -> bytes:
    """A request of spans under one instrumentation scope."""
    request = ExportTraceServiceRequest()
    holder = request.resource_spans.add().scope_spans.add()
    holder.scope.name = scope
    holder.spans.extend(spans)
    return request.SerializeToString()
