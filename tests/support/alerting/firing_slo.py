"""Cases in which objectives are missed, and in which they are kept again."""

from __future__ import annotations

from support.alerting.case import ENGINE, Case, Firing, selector
from support.alerting.fleet import Series
from support.alerting.values import Segment, counter, gauge

_OBJECTIVE = {"slo": "time-to-first-token"}
_MODEL = {"model_name": "llama"}
_PROMISE = "the objective time-to-first-token (99% within 1 s over 30 days)."


def _answers(fast: tuple[Segment, ...], every: tuple[Segment, ...]) -> Series:
    name = "vllm:time_to_first_token_seconds"
    return {
        selector(f"{name}_bucket", ENGINE | {"le": "1.0"}): counter(*fast),
        selector(f"{name}_bucket", ENGINE | {"le": "+Inf"}): counter(*every),
        selector(f"{name}_count", ENGINE): counter(*every),
    }


SLO_CASES: tuple[Case, ...] = (
    Case(
        "SidelightErrorBudgetBurningFast",
        "two in five are slow for an hour, then none",
        _answers(((10, 60), (6, 60), (10, 80)), ((10, 200),)),
        {
            60: (),
            100: (Firing(f"24.92% of the answers of llama miss {_PROMISE}", _OBJECTIVE | _MODEL),),
            160: (),
        },
    ),
    Case(
        "SidelightErrorBudgetBurningFast",
        "three slow ones in a night",
        _answers(((0, 120),), ((0, 60), (1, 3), (0, 57))),
        {61: (), 64: (), 70: (), 110: ()},
    ),
    Case(
        "SidelightErrorBudgetBurningFast",
        "one in fifty is slow: too little for a page",
        _answers(((49, 120),), ((50, 120),)),
        {30: (), 110: ()},
    ),
    Case(
        "SidelightErrorBudgetBurningFast",
        "servers fail by their spans",
        {
            selector(
                "gen_ai_server_request_duration_seconds_count",
                {"gen_ai_request_model": "llama", "error_type": error},
            ): counter(*segments)
            for error, segments in (("", ((90, 120),)), ("503", ((0, 40), (10, 40), (0, 40))))
        },
        {
            39: (),
            70: (
                Firing(
                    "4.853% of the requests of llama miss the objective availability "
                    "(99.9% over 30 days).",
                    {"slo": "availability"} | _MODEL,
                ),
            ),
            119: (),
        },
    ),
    Case(
        "SidelightErrorBudgetBurningSlowly",
        "one in twenty is slow for six hours, then none",
        _answers(((100, 120), (95, 360), (100, 400)), ((100, 880),)),
        {
            120: (),
            470: (Firing(f"3.723% of the answers of llama miss {_PROMISE}", _OBJECTIVE | _MODEL),),
            860: (),
        },
        evaluation_minutes=5,
    ),
    Case(
        "SidelightSloMetricAbsent",
        "the metric goes, and is back",
        _answers(((10, 20), (None, 40), (10, 20)), ((10, 20), (None, 40), (10, 20)))
        | {
            selector("vllm:request_success_total", _MODEL): counter((10, 80)),
            selector("vllm:inter_token_latency_seconds_count", _MODEL): counter((10, 80)),
            selector("up", {}): gauge((1, 80)),
        },
        {
            20: (),
            50: (
                Firing(
                    "The metric of the objective time-to-first-token is absent: nobody knows "
                    "whether it is kept.",
                    _OBJECTIVE,
                ),
            ),
            70: (),
        },
    ),
)
