"""The doctor's check of a scrape target: vLLM's metrics, its version, Sidelight's plugin."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from sidelight import conventions as names
from sidelight.base.check import Check
from sidelight.base.http_client.client import Answer, HttpClient, NoAnswerError
from sidelight.collector.receivers.common.type import CheckContext, Look
from sidelight.collector.receivers.scrape.config import Scrape, ScrapeTarget

_SAMPLE = re.compile(rb"^([a-zA-Z_:][a-zA-Z0-9_:]*)", re.MULTILINE)
_SUFFIX = re.compile(r"_(?:total|created|bucket|sum|count|info)$")
_PLAIN = "text/plain; version=0.0.4"
# The Accept header of Prometheus before 3.0, which does not allow UTF-8 names.
_OLD_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
# The first version that always exports a metric, newest first; from recorded expositions.
_FIRST_SEEN = (
    ("0.32", "request_num_preemptions"),
    ("0.20.2", "prompt_tokens_by_source"),
    ("0.13", "request_prefill_kv_computed_tokens"),
    ("0.11.2", "engine_sleep_state"),
    ("0.10.2", "inter_token_latency_seconds"),
    ("0.9.2", "kv_cache_usage_perc"),
    ("0.8.5", "gpu_cache_usage_perc"),
)


def looks(scrape: Scrape, context: CheckContext) -> list[Look]:
    """One check for each target."""
    return [
        (
            target.url,
            partial(check, target, scrape, context.timeout_seconds, context.exposition),
        )
        for target in scrape.targets
    ]


NOT_OBSERVED: Final = (
    "The Rust front end is not observed: unset VLLM_USE_RUST_FRONTEND.",
    "The gRPC server is not observed: use the HTTP server of `vllm serve`.",
    "The offline class `LLM` is not observed: use `vllm serve`.",
)
"""What of vLLM the plugin does not see, each with what to do."""


async def check(
    target: ScrapeTarget, scrape: Scrape, timeout_seconds: float, own: Answer | None
) -> Check:
    """Read the target as the scraper does. `own` is the exposition of the running Sidelight."""
    name = f"scrape {target.job}"
    parts = urlsplit(target.url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    # The scraper would fail as well if the target needed longer.
    seconds = min(scrape.timeout_seconds, timeout_seconds)
    client = target.http_client(f"{parts.scheme}://{parts.netloc}", seconds, scrape.max_bytes)
    try:
        answer = await client.get(path, {"Accept": _PLAIN})
        if answer.status != 200:
            return Check(
                name,
                "fail",
                f"{target.url} answered {answer.status}",
                "Correct the target's url; vLLM's metrics are at /metrics of its HTTP port.",
            )
        served = sample_names(answer.body)
        families = vllm_families(served)
        if not families:
            return _no_vllm(name, target, served)
        version = await _served_version(client) or inferred_version(families)
        # Asked twice: vLLM renames its metrics for an older Prometheus.
        old = sample_names((await client.get(path, {"Accept": _OLD_OPENMETRICS})).body)
    except NoAnswerError as error:
        return Check(
            name,
            "fail",
            str(error),
            "Check that the server runs. vLLM's metrics are at /metrics of its HTTP port.",
        )
    finally:
        client.close()
    seen = f"vLLM {version} at {target.url}, {len(families)} metrics"
    if _has_colon_bug(served, old):
        seen += "; Prometheus before 3.0 reads them as vllm_…, which the dashboards support"
    # Its metrics are in the running collector or, if the target is a collector, in the target.
    if plugin_metrics(served) or (own is not None and plugin_metrics(sample_names(own.body))):
        return Check(name, "ok", f"{seen}; Sidelight's plugin is active")
    if own is None:
        return Check(name, "ok", f"{seen}; plugin not checked, because Sidelight is not running")
    return Check(
        name,
        "warn",
        f"{seen}; no data from Sidelight's plugin",
        "Run pip install sidelight in vLLM's environment, set OTEL_EXPORTER_OTLP_ENDPOINT to "
        f"this collector, restart vLLM and send it a request. {' '.join(NOT_OBSERVED)}",
    )


def sample_names(exposition: bytes) -> set[str]:
    """The names of all samples of an exposition."""
    return {match.decode() for match in _SAMPLE.findall(exposition)}


def vllm_families(served: Iterable[str]) -> set[str]:
    """vLLM's metrics among the names, without prefix and suffix; Ray adds a prefix of its own."""
    return {
        _SUFFIX.sub("", match[1])
        for name in served
        if (match := re.fullmatch(r"(?:ray_)?vllm[:_](\w+)", name))
    }


def inferred_version(families: set[str]) -> str:
    """The range of versions that export exactly such names."""
    upper = ""
    for version, family in _FIRST_SEEN:
        if family in families:
            return f"{version} or later{upper} (by its metrics)"
        upper = f", before {version}"
    return "(unknown version)"


def plugin_metrics(served: set[str]) -> bool:
    """Whether metrics of Sidelight's plugin are among the names."""
    steps = names.prometheus_name(names.ENGINE_STEPS)
    return any(name.startswith(steps) for name in served)


def _has_colon_bug(served: set[str], old: set[str]) -> bool:
    return any(name.startswith("vllm:") for name in served) and not any(
        name.startswith("vllm:") for name in old
    )


async def _served_version(client: HttpClient) -> str | None:
    """The version that vLLM serves at /version; None without a valid one."""
    try:
        version = json.loads((await client.get("/version")).body)["version"]
    except (NoAnswerError, ValueError, KeyError, TypeError):
        return None
    # Printed in the report, so it must look like a version.
    is_valid = isinstance(version, str) and re.fullmatch(r"[\w.+-]{1,64}", version)
    return version if is_valid else None


def _no_vllm(name: str, target: ScrapeTarget, served: set[str]) -> Check:
    if served and not target.job.startswith("vllm"):
        return Check(name, "ok", f"{len(served)} metrics at {target.url}")
    what = f"{len(served)} metrics, but none of vLLM" if served else "no metrics"
    return Check(
        name,
        "warn",
        f"{target.url} serves {what}",
        "Check that the url is vLLM's, and that vLLM runs without --disable-log-stats.",
    )
