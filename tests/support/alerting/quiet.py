"""The quiet scenarios: services that work, rest, grow, shrink or are replaced."""

from __future__ import annotations

from support.alerting.case import selector
from support.alerting.fleet import BUSY, GONE, IDLE, MINUTES, Phase, Series, lasting, service
from support.alerting.values import counter, gauge

_LAST = 3
_DRAINED = Phase(_LAST)


def _starting(after: int) -> tuple[Phase, ...]:
    return lasting(GONE, after), lasting(BUSY, MINUTES - after)


def _ending(after: int, last: Phase = BUSY) -> tuple[Phase, ...]:
    """Busy, then `last` for its last scrapes, then gone."""
    return lasting(BUSY, after - _LAST), lasting(last, _LAST), lasting(GONE, MINUTES - after)


def _collector() -> Series:
    """A collector that receives, delivers and has nothing to complain about."""
    at = {"job": "sidelight", "instance": "c:9464"}
    phoenix = at | {"destination": "phoenix"}
    return {
        selector("up", at): gauge((1, MINUTES)),
        selector("sidelight_collector_received_total", at | {"signal": "traces"}): counter(
            (100, MINUTES)
        ),
        selector("sidelight_collector_delivered_total", phoenix): counter((100, MINUTES)),
        selector("sidelight_collector_lag_seconds", phoenix): gauge((0.2, MINUTES)),
        selector("sidelight_collector_config_reload_ok", at): gauge((1, MINUTES)),
        # cert-manager renews it when 30 days are left.
        selector("sidelight_injector_certificate_expiry_seconds", {"job": "injector"}): gauge(
            (30 * 86_400, MINUTES)
        ),
    }


def _retrieval(per_minute: float, failed: float = 0) -> Series:
    place = {"job": "sidelight", "instance": "c:9464", "db_system_name": "milvus"}
    place |= {"db_namespace": "default", "db_collection_name": "docs"}
    name = "sidelight_retrieval_searches_total"
    return {
        selector(name, place | {"outcome": "found"}): counter((per_minute, MINUTES)),
        selector(name, place | {"outcome": "empty"}): counter((per_minute / 50, MINUTES)),
        # Fails once, so that its series begins in the middle.
        selector(name, place | {"outcome": "error"}): gauge((None, 60), (failed, MINUTES - 60)),
    }


def _slow_and_few() -> Series:
    """Three requests in a night, all slow, failing or empty."""
    engine = {"job": "vllm", "instance": "a", "model_name": "llama", "engine": "0"}
    three = counter((0, 60), (1, 3), (0, MINUTES - 63))
    none = gauge((0, MINUTES))
    series = service(a=(IDLE,)) | _retrieval(0, failed=3)
    for histogram in ("request_queue_time_seconds", "time_to_first_token_seconds"):
        for bound in ("0.3", "1.0"):
            series[selector(f"vllm:{histogram}_bucket", engine | {"le": bound})] = none
        series[selector(f"vllm:{histogram}_bucket", engine | {"le": "+Inf"})] = three
        series[selector(f"vllm:{histogram}_count", engine)] = three
    failed = selector("vllm:request_success_total", engine | {"finished_reason": "error"})
    preempted = selector("vllm:num_preemptions_total", engine)
    return series | {failed: three, preempted: three}


# Each is well, and no alert may fire at any minute of it.
QUIET: dict[str, Series] = {
    "idle": service(a=(IDLE,), b=(IDLE,)) | _collector(),
    "busy with a full cache": service(a=(BUSY,), b=(BUSY,)) | _collector() | _retrieval(100),
    "rolling update": service(a=_ending(60), b=_ending(66), c=_starting(57), d=_starting(63)),
    "scale-down": service(a=(BUSY,), b=(BUSY,), c=_ending(60, _DRAINED), d=_ending(61, _DRAINED)),
    "scale-up": service(a=(BUSY,), b=_starting(60), c=_starting(61)),
    "few requests, all of them bad": _slow_and_few() | _collector(),
    # vllm#29928: older releases do not refresh the gauge when everything is aborted.
    "stale gauge": service(a=(lasting(BUSY, 30), Phase(MINUTES - 30, kv_cache=0.99))),
    "one restart": service(
        a=(lasting(BUSY, 60), lasting(GONE, 2), lasting(BUSY, MINUTES - 62)), b=(BUSY,)
    ),
    "asleep and without work": service(a=(Phase(MINUTES, awake=0),)),
    "waiting for a remote KV cache": service(
        a=(Phase(MINUTES, waiting=2, deferred=2, stepping=False),)
    ),
    "a short queue that comes and goes": service(
        a=tuple(
            Phase(2, requests=120, running=16, waiting=waiting, kv_cache=0.95)
            for waiting in (0, 6) * (MINUTES // 4)
        )
    ),
}
