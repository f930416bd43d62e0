"""Cases in which alerts on Sidelight's own metrics fire, and in which they end."""

from __future__ import annotations

from support.alerting.case import Case, Firing, Labels, selector
from support.alerting.fleet import Series
from support.alerting.values import Segment, counter, gauge

_COLLECTOR = {"instance": "c:9464"}
_SCRAPED = {"job": "sidelight", **_COLLECTOR}
_PHOENIX = {**_SCRAPED, "destination": "phoenix"}
_PLACE = {"db_system_name": "milvus", "db_collection_name": "docs"}
_SPANS = {**_SCRAPED, **_PLACE, "db_namespace": "default"}
_CLIENT = {"job": "rag", "instance": "app-1", **_PLACE, "db_operation_name": "search"}
_SERVED = {**_SCRAPED, "service_name": "vllm", "gen_ai_request_model": "llama"}
_RECEIVED = {
    selector("sidelight_collector_received_total", _SCRAPED | {"signal": "traces"}): counter(
        (100, 120)
    )
}


def _series(name: str, labels: Labels, values: str, **more: str) -> Series:
    return {selector(name, {**labels, **more}): values}


def _searches(outcome: str, *segments: Segment) -> Series:
    return _series(
        "sidelight_retrieval_searches_total", _SPANS, counter(*segments), outcome=outcome
    )


def _calls(error_type: str, *segments: Segment) -> Series:
    name = "db_client_operation_duration_seconds_count"
    return _series(name, _CLIENT, counter(*segments), error_type=error_type)


def _requests(error_type: str, *segments: Segment) -> Series:
    name = "gen_ai_server_request_duration_seconds_count"
    return _series(name, _SERVED, counter(*segments), error_type=error_type)


_API_SERVER = {"job": "vllm", "instance": "api-1"}

_ENGINE = {"job": "vllm", "instance": "vllm:8000", "engine": "0"}


def _cache(again: Segment, *extra: Segment, complete: str) -> Series:
    """Tokens computed again, and what twice the size would have saved of them."""
    return (
        _series("sidelight_kv_cache_stored_total", _ENGINE, counter(again), kind="again")
        | _series("sidelight_kv_cache_stored_total", _ENGINE, counter(again), kind="generated")
        | _series("sidelight_kv_cache_extra_hits_total", _ENGINE, counter(*extra), cache_size="2")
        | _series("sidelight_kv_cache_extra_hits_complete", _ENGINE, complete, cache_size="2")
    )


# promtool's clock starts at zero.
_DAYS = 86_400

OWN_CASES: tuple[Case, ...] = (
    Case(
        "SidelightInjectorCertificateExpiring",
        "one of two replicas serves the certificate before, until it is restarted",
        _series(
            "sidelight_injector_certificate_expiry_seconds",
            {"job": "injector", "instance": "a:9464"},
            gauge((13 * _DAYS, 150), (90 * _DAYS, 60)),
        )
        | _series(
            "sidelight_injector_certificate_expiry_seconds",
            {"job": "injector", "instance": "b:9464"},
            gauge((90 * _DAYS, 210)),
        ),
        {
            30: (),
            120: (
                Firing(
                    "The certificate of the injector expires in 12d 22h 0m 0s and was not renewed."
                ),
            ),
            180: (),
        },
    ),
    Case(
        "SidelightKvCacheSmall",
        "two fifths of prefill for two hours, then nothing",
        _cache((10_000, 300), (4_000, 120), (0, 180), complete=gauge((1, 300))),
        {
            20: (),
            100: (
                Firing(
                    "A KV cache of twice the size would save 40% of the prefill of engine 0 of "
                    "vllm:8000.",
                    _ENGINE,
                ),
            ),
            200: (),
        },
    ),
    Case(
        "SidelightKvCacheSmall",
        "the estimate is not complete",
        _cache((10_000, 200), (4_000, 200), complete=gauge((0, 200))),
        {150: ()},
    ),
    Case(
        "SidelightKvCacheSmall",
        "few tokens",
        _cache((100, 200), (40, 200), complete=gauge((1, 200))),
        {150: ()},
    ),
    Case(
        "SidelightRequestsHanging",
        "the engine froze while idle; then it is restarted",
        _series(
            "sidelight_server_step_age_seconds",
            _API_SERVER,
            gauge((0, 10), (30, 5), (300, 20), (0, 10)),
        ),
        {
            14: (),
            25: (
                Firing(
                    "api-1 (vllm) has had requests for 5m 0s, and no engine took a step.",
                    _API_SERVER,
                ),
            ),
            40: (),
        },
    ),
    Case(
        "SidelightRequestsFailing",
        "servers answer 5xx by their spans; 4xx are the client's",
        _requests("", (9, 60)) | _requests("500", (1, 30), (0, 30)) | _requests("404", (30, 60)),
        {
            3: (),
            25: (),
        },
    ),
    Case(
        "SidelightRequestsFailing",
        "servers answer 5xx by their spans, although the engine is content",
        _requests("", (9, 60))
        | _requests("500", (1, 30), (0, 30))
        | {
            selector("vllm:request_success_total", {"job": "vllm", "model_name": "llama"}): counter(
                (9, 60)
            )
        },
        {
            3: (),
            25: (Firing("10% of the requests for llama fail.", {"model_name": "llama"}),),
            50: (),
        },
    ),
    Case(
        "SidelightClientsLeaving",
        "one in five, then none",
        _requests("", (10, 80))
        | _series(
            "sidelight_server_client_aborts_total",
            {"job": "vllm", "instance": "a"},
            counter((2, 40), (0, 40)),
        ),
        {
            5: (),
            30: (Firing("20% of the clients leave before their answer is complete."),),
            70: (),
        },
    ),
    Case(
        "SidelightRetrievalFailing",
        "one in ten by their spans, then none",
        _searches("found", (9, 60)) | _searches("error", (1, 30), (0, 30)),
        {3: (), 25: (Firing("10% of the searches in docs (milvus) fail.", _PLACE),), 50: ()},
    ),
    Case(
        "SidelightRetrievalFailing",
        "one in ten by the clients' own metrics",
        _calls("", (9, 60)) | _calls("MilvusException", (1, 30), (0, 30)),
        {3: (), 25: (Firing("10% of the searches in docs (milvus) fail.", _PLACE),), 50: ()},
    ),
    Case(
        "SidelightRetrievalEmpty",
        "half find nothing by their spans, then all find something",
        _searches("found", (5, 80)) | _searches("empty", (5, 40), (0, 40)),
        {
            3: (),
            35: (Firing("50% of the searches in docs (milvus) find nothing.", _PLACE),),
            70: (),
        },
    ),
    Case(
        "SidelightRetrievalEmpty",
        "all find nothing by the clients' own metrics",
        _calls("", (10, 80))
        | _series("db_vector_search_empty_results_total", _CLIENT, counter((10, 40), (0, 40)))
        | _series("db_vector_search_top_score_count", _CLIENT, counter((0, 40), (10, 40))),
        {
            3: (),
            35: (Firing("100% of the searches in docs (milvus) find nothing.", _PLACE),),
            70: (),
        },
    ),
    Case(
        "SidelightRetrievalSlow",
        "one to five seconds, then fast",
        _series(
            "sidelight_retrieval_duration_seconds_bucket",
            _SPANS,
            counter((0, 40), (10, 40)),
            le="1.0",
        )
        | _series(
            "sidelight_retrieval_duration_seconds_bucket", _SPANS, counter((10, 80)), le="5.0"
        )
        | _series(
            "sidelight_retrieval_duration_seconds_bucket", _SPANS, counter((10, 80)), le="+Inf"
        )
        | _series("sidelight_retrieval_duration_seconds_count", _SPANS, counter((10, 80))),
        {
            5: (),
            30: (
                Firing("One in twenty searches in docs (milvus) takes longer than 4.8s.", _PLACE),
            ),
            70: (),
        },
    ),
    Case(
        "SidelightRetrievalScoresDrifting",
        "above a quarter, then no value because searches are too few",
        _series(
            "sidelight_retrieval_score_drift",
            _SPANS,
            gauge((0.05, 20), (0.4, 40), (None, 20)),
            scale="COSINE",
        ),
        {
            20: (),
            50: (
                Firing(
                    "The top scores in docs (milvus) have moved (PSI 0.40 on the scale COSINE).",
                    {**_PLACE, "scale": "COSINE"},
                ),
            ),
            62: (),
        },
    ),
    Case(
        "SidelightCollectorLogFailing",
        "the disk is full for a while",
        _series("sidelight_collector_log_ok", _SCRAPED, gauge((1, 10), (0, 10), (1, 10))),
        {
            10: (),
            15: (
                Firing("c:9464 cannot write its log, and refuses what is sent to it.", _COLLECTOR),
            ),
            22: (),
        },
    ),
    Case(
        "SidelightCollectorDropping",
        "the very first drop, which makes the series",
        _RECEIVED
        | _series(
            "sidelight_collector_dropped_total",
            _PHOENIX,
            gauge((None, 30), (500, 60)),
            reason="size",
        ),
        {
            29: (),
            32: (
                Firing(
                    "c:9464 dropped 500 acknowledged items of phoenix within 10 minutes (size).",
                    _COLLECTOR | {"destination": "phoenix", "reason": "size"},
                ),
            ),
            50: (),
        },
    ),
    Case(
        "SidelightCollectorDropping",
        "drops of long ago, in a Prometheus that is new",
        _series("sidelight_collector_received_total", _SCRAPED, counter((100, 60)), signal="traces")
        | _series("sidelight_collector_dropped_total", _PHOENIX, gauge((500, 60)), reason="size"),
        {2: (), 30: ()},
    ),
    Case(
        "SidelightCollectorLagging",
        "a destination is down for a while",
        _series("sidelight_collector_lag_seconds", _PHOENIX, gauge((1, 10), (600, 20), (2, 10))),
        {
            10: (),
            20: (
                Firing(
                    "The oldest item that phoenix has not received from c:9464 is 10m 0s old.",
                    _COLLECTOR | {"destination": "phoenix"},
                ),
            ),
            32: (),
        },
    ),
    Case(
        "SidelightDestinationFailing",
        "every send fails, then one succeeds",
        _RECEIVED
        | _series(
            "sidelight_collector_retries_total",
            _PHOENIX,
            counter((None, 20), (6, 30), (0, 30), start=0),
        )
        | _series(
            "sidelight_collector_delivered_total", _PHOENIX, counter((9, 20), (0, 30), (9, 30))
        ),
        {
            20: (),
            45: (
                Firing(
                    "c:9464 tried 60 times within 10 minutes to send to phoenix, in vain.",
                    _COLLECTOR | {"destination": "phoenix"},
                ),
            ),
            53: (),
        },
    ),
    Case(
        "SidelightCollectorRefusing",
        "senders are told to wait; an invalid id is the sender's fault",
        _RECEIVED
        | _series(
            "sidelight_collector_refused_total",
            _SCRAPED,
            counter((0, 10), (20, 20), (0, 30)),
            signal="traces",
            reason="busy",
        )
        | _series(
            "sidelight_collector_refused_total",
            _SCRAPED,
            counter((20, 60)),
            signal="traces",
            reason="invalid_id",
        ),
        {
            10: (),
            25: (
                Firing(
                    "c:9464 refused 100 items within 5 minutes (busy).",
                    _COLLECTOR | {"reason": "busy"},
                ),
            ),
            45: (),
        },
    ),
    Case(
        "SidelightSpansMissing",
        "vLLM serves, and no span arrives; then they do",
        {selector("vllm:request_success_total", {"job": "vllm"}): counter((10, 90))}
        | _series(
            "sidelight_collector_received_total",
            _SCRAPED,
            counter((0, 50), (10, 40)),
            signal="traces",
        ),
        {
            10: (),
            40: (
                Firing(
                    "vLLM finished 150 requests within 15 minutes, and no collector received a "
                    "span."
                ),
            ),
            55: (),
        },
    ),
    Case(
        "SidelightCollectorVanished",
        "one of two, until there is another",
        _series("sidelight_collector_config_reload_ok", _SCRAPED, gauge((1, 60), (None, 60)))
        | _series(
            "sidelight_collector_config_reload_ok", _SCRAPED | {"instance": "d"}, gauge((1, 120))
        )
        | _series(
            "sidelight_collector_config_reload_ok",
            _SCRAPED | {"instance": "e"},
            gauge((None, 75), (1, 45)),
        ),
        {
            59: (),
            70: (Firing("The collector c:9464 vanished, and none replaced it.", _COLLECTOR),),
            80: (),
        },
    ),
    Case(
        "SidelightCollectorReloadFailed",
        "until the file is right",
        _series("sidelight_collector_config_reload_ok", _SCRAPED, gauge((1, 10), (0, 20), (1, 10))),
        {
            10: (),
            20: (
                Firing(
                    "c:9464 could not load its changed configuration and uses the one before.",
                    _COLLECTOR,
                ),
            ),
            32: (),
        },
    ),
    Case(
        "SidelightCollectorWorkersRestarting",
        "four times in ten minutes",
        _RECEIVED
        | _series(
            "sidelight_collector_worker_restarts_total",
            _SCRAPED,
            gauge((None, 30), (1, 3), (2, 3), (3, 3), (4, 60)),
        ),
        {
            32: (),
            40: (
                Firing("Workers of c:9464 were restarted 4 times within 15 minutes.", _COLLECTOR),
            ),
            80: (),
        },
    ),
    Case(
        "SidelightInstrumentationFailing",
        "a fault, and no more",
        _RECEIVED
        | _series(
            "sidelight_instrumentation_faults_total",
            {"job": "rag", "instance": "app-1"},
            gauge((None, 40), (3, 70)),
            place="results",
        ),
        {
            39: (),
            55: (
                Firing(
                    "The instrumentation failed 3 times within 30 minutes at results; what it "
                    "observes is not affected.",
                    {"place": "results"},
                ),
            ),
            95: (),
        },
    ),
)
