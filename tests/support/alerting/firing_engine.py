"""Cases in which alerts on engines, capacity and requests fire, and in which they end."""

from __future__ import annotations

from collections.abc import Mapping

from support.alerting.case import ENGINE, MODEL, TARGET, Case, Firing, Labels, selector
from support.alerting.fleet import BUSY, GONE, Phase, Series, lasting, replica, service
from support.alerting.values import counter, gauge

_JOB = {"job": "vllm"}
_SERVED = _JOB | MODEL
_FROZEN = Phase(30, running=2, waiting=3, kv_cache=0.5, stepping=False)
_OTHER = {**ENGINE, "instance": "b:8000"}


def _vllm(name: str, values: str, labels: Labels = ENGINE, **more: str) -> Series:
    return {selector(f"vllm:{name}", {**labels, **more}): values}


def _merged(*series: Mapping[str, str]) -> Series:
    return {name: values for some in series for name, values in some.items()}


def _finished(*segments: tuple[float | None, int]) -> Series:
    return _vllm("request_success_total", counter(*segments), finished_reason="stop")


_STALLED = Firing(
    "5 requests are in engine 0 of a:8000 (llama), and it took no step for 3 minutes.", ENGINE
)
_QUEUE_TIME = Firing(
    "One in twenty requests for llama waits longer than 9.75s in the queue.", _SERVED
)

ENGINE_CASES: tuple[Case, ...] = (
    Case(
        "SidelightEngineStalled",
        "work in hand and no step, until it steps again",
        replica("a:8000", lasting(BUSY, 20), _FROZEN, lasting(BUSY, 20)),
        {20: (), 40: (_STALLED,), 55: ()},
    ),
    Case(
        "SidelightEngineStalled",
        "a long prefill steps once a minute",
        _merged(
            _vllm("num_requests_running", gauge((1, 40))),
            _vllm("num_requests_waiting", gauge((4, 40))),
            _vllm("iteration_tokens_total_count", counter((1, 40))),
        ),
        {30: ()},
    ),
    Case(
        "SidelightEngineAsleep",
        "asleep with a queue, until it wakes",
        replica("a:8000", Phase(20, waiting=4, awake=0), lasting(BUSY, 20)),
        {
            3: (),
            15: (
                Firing("4 requests wait for engine 0 of a:8000 (llama), which is asleep.", ENGINE),
            ),
            22: (),
        },
        first="0.11.2",
    ),
    Case(
        "SidelightEngineRestarting",
        "starts anew every five minutes, then stays up",
        _merged(
            _vllm("num_requests_running", gauge((0, 120))),
            {
                selector("process_start_time_seconds", TARGET): gauge(
                    (100, 10), (400, 5), (700, 5), (1000, 100)
                )
            },
        ),
        {
            14: (),
            25: (Firing("a:8000 (vllm) restarted 3 times within 30 minutes.", TARGET),),
            60: (),
        },
    ),
    Case(
        "SidelightEngineRestarting",
        "seen by its counters where there is no start time",
        _merged(
            _vllm("num_requests_running", gauge((0, 60))),
            _vllm(
                "generation_tokens_total",
                " ".join(
                    (gauge((50, 5), (0, 1), (50, 4), (0, 1), (50, 4), (0, 1)), gauge((9, 44)))
                ),
            ),
        ),
        {
            4: (),
            20: (Firing("a:8000 (vllm) restarted 3 times within 30 minutes.", TARGET),),
            55: (),
        },
    ),
    Case(
        "SidelightTargetDown",
        "known to Prometheus and not scraped, until it is",
        _merged(
            _vllm("num_requests_running", gauge((1, 20), (None, 20), (1, 20))),
            {selector("up", TARGET): gauge((1, 20), (0, 20), (1, 20))},
        ),
        {
            19: (),
            30: (Firing("a:8000 (vllm) has not answered a scrape for 5 minutes.", TARGET),),
            45: (),
        },
    ),
    Case(
        "SidelightTargetVanished",
        "gone at work without a replacement, until there is one",
        _merged(
            service(
                **{
                    "a:8000": (lasting(BUSY, 60), lasting(GONE, 60)),
                    "b:8000": (BUSY,),
                    "c:8000": (lasting(GONE, 75), lasting(BUSY, 45)),
                }
            ),
        ),
        {
            58: (),
            70: (
                Firing(
                    "a:8000 (vllm) vanished with 16 running requests, and none replaced it.", TARGET
                ),
            ),
            80: (),
        },
    ),
    Case(
        "SidelightAllTargetsVanished",
        "no server is left, until one is",
        service(
            **{
                "a:8000": (lasting(BUSY, 60), lasting(GONE, 60)),
                "b:8000": (lasting(BUSY, 60), lasting(GONE, 20), lasting(BUSY, 40)),
            }
        ),
        {
            59: (),
            70: (Firing("All 2 vLLM servers of the job vllm vanished.", _JOB),),
            82: (),
        },
    ),
    Case(
        "SidelightQueueGrowing",
        "grows for half an hour, then stays long",
        _vllm(
            "num_requests_waiting",
            gauge((0, 20), *((4 + 2 * minute, 1) for minute in range(30)), (62, 60)),
        ),
        {
            20: (),
            45: (
                Firing(
                    "44 requests wait for llama, half as many again as 10 minutes ago.", _SERVED
                ),
            ),
            80: (),
        },
    ),
    Case(
        "SidelightQueueTimeHigh",
        "waits of five to ten seconds, then none",
        _merged(
            _vllm("request_queue_time_seconds_bucket", counter((0, 40), (10, 40)), le="5.0"),
            _vllm("request_queue_time_seconds_bucket", counter((10, 80)), le="10.0"),
            _vllm("request_queue_time_seconds_bucket", counter((10, 80)), le="+Inf"),
            _vllm("request_queue_time_seconds_count", counter((10, 80))),
        ),
        {8: (), 30: (_QUEUE_TIME,), 60: ()},
    ),
    Case(
        "SidelightRequestsRejected",
        "the queue is full for a while",
        {
            selector(
                "vllm:admission_rejections_total",
                {**TARGET, **MODEL, "reason": "max_num_queued_reqs"},
            ): counter((0, 10), (6, 20), (0, 30))
        },
        {
            10: (),
            25: (
                Firing(
                    "llama rejected 60 requests within 10 minutes "
                    "(max_num_queued_reqs was reached).",
                    _SERVED | {"reason": "max_num_queued_reqs"},
                ),
            ),
            55: (),
        },
        first="0.32.0",
    ),
    Case(
        "SidelightTokenBudgetSaturated",
        "every step is full while requests wait, then steps are small",
        _merged(
            _vllm("num_requests_waiting", gauge((0, 10), (9, 40), (0, 30))),
            *(
                _vllm("iteration_tokens_total_bucket", counter((below, 80)), le=bound)
                for bound, below in (("1024.0", 10), ("2048.0", 100), ("+Inf", 100))
            ),
        ),
        {
            10: (),
            40: (
                Firing(
                    "The median step of engine 0 of a:8000 (llama) has 1479 tokens, as many as "
                    "its fullest, and requests wait.",
                    ENGINE,
                ),
            ),
            65: (),
        },
    ),
    Case(
        "SidelightKvCacheSaturated",
        "full and preempting, then full and healthy",
        _merged(
            _vllm("kv_cache_usage_perc", gauge((0.4, 10), (0.97, 70))),
            _vllm("num_preemptions_total", counter((0, 10), (2, 20), (0, 50))),
            _vllm("num_requests_waiting", gauge((0, 80))),
            _vllm("iteration_tokens_total_count", counter((600, 80))),
        ),
        {
            12: (),
            28: (
                Firing(
                    "The KV cache of engine 0 of a:8000 (llama) has been 97% full, and requests "
                    "wait or are preempted.",
                    ENGINE,
                ),
            ),
            60: (),
        },
    ),
    Case(
        "SidelightKvCacheSaturated",
        "full while requests wait",
        _merged(
            _vllm("kv_cache_usage_perc", gauge((0.97, 60))),
            _vllm("num_preemptions_total", gauge((0, 60))),
            _vllm("num_requests_waiting", gauge((3, 30), (0, 30))),
            _vllm("iteration_tokens_total_count", counter((600, 60))),
        ),
        {
            25: (
                Firing(
                    "The KV cache of engine 0 of a:8000 (llama) has been 97% full, and requests "
                    "wait or are preempted.",
                    ENGINE,
                ),
            ),
            45: (),
        },
    ),
    Case(
        "SidelightPreemptionsHigh",
        "one in five, then none",
        _merged(
            _finished((10, 80)),
            _vllm("num_preemptions_total", counter((2, 40), (0, 40))),
        ),
        {
            5: (),
            30: (
                Firing("20% of the requests for llama are preempted and computed again.", _SERVED),
            ),
            70: (),
        },
    ),
    Case(
        "SidelightPrefixHitsCollapsed",
        "a tenth of yesterday's, until the hits are back; a model that is new is not compared",
        _merged(
            _vllm("prefix_cache_hits_total", counter((60_000, 300), (6_000, 36), (60_000, 24))),
            _vllm("prefix_cache_queries_total", counter((100_000, 360))),
            _vllm(
                "prefix_cache_hits_total", counter((0, 300), (6_000, 60)), _OTHER, model_name="n"
            ),
            _vllm(
                "prefix_cache_queries_total",
                counter((0, 300), (100_000, 60)),
                _OTHER,
                model_name="n",
            ),
        ),
        {
            24 * 60 + 50: (),
            27 * 60: (
                Firing(
                    "6% of the prompt tokens of llama come from the prefix cache, less than half "
                    "of yesterday's share.",
                    _SERVED,
                ),
            ),
            29 * 60 + 30: (),
        },
        interval_minutes=5,
    ),
    Case(
        "SidelightReplicasImbalanced",
        "one replica has a queue and the other little to do, until both share it",
        _merged(
            _vllm("num_requests_waiting", gauge((8, 40), (0, 40))),
            _vllm("num_requests_running", gauge((32, 40), (20, 40))),
            _vllm("num_requests_waiting", gauge((0, 80)), _OTHER),
            _vllm("num_requests_running", gauge((2, 40), (20, 40)), _OTHER),
        ),
        {
            10: (),
            30: (
                Firing(
                    "8 requests wait at one replica of llama while another runs less than half "
                    "as many as the busiest.",
                    _SERVED,
                ),
            ),
            60: (),
        },
    ),
    Case(
        "SidelightRequestsFailing",
        "the engine finishes requests in error, then not",
        _merged(
            _finished((9, 60)),
            _vllm("request_success_total", counter((1, 30), (0, 30)), finished_reason="error"),
        ),
        {3: (), 25: (Firing("10% of the requests for llama fail.", _SERVED),), 50: ()},
    ),
)
