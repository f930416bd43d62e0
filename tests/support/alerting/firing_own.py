"""Cases in which alerts on what Sidelight measures fire, and in which they end."""

from __future__ import annotations

from support.alerting.case import Case, Firing, Labels, selector
from support.alerting.fleet import Series
from support.alerting.values import Segment, counter, gauge

_SCRAPED = {"job": "sidelight", "instance": "c:9464"}
_PLACE = {"db_system_name": "milvus", "db_collection_name": "docs"}
_SPANS = {**_SCRAPED, **_PLACE, "db_namespace": "default"}
_CLIENT = {"job": "rag", "instance": "app-1", **_PLACE, "db_operation_name": "search"}
_SERVED = {**_SCRAPED, "service_name": "vllm", "gen_ai_request_model": "llama"}


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


OWN_CASES: tuple[Case, ...] = (
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
)
