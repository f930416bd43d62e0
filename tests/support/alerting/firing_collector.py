"""Cases in which alerts on the collector and the injector fire, and in which they end."""

from __future__ import annotations

from support.alerting.case import Case, Firing, Labels, selector
from support.alerting.fleet import Series
from support.alerting.values import counter, gauge

_COLLECTOR = {"instance": "c:9464"}
_SCRAPED = {"job": "sidelight", **_COLLECTOR}
_PHOENIX = {**_SCRAPED, "destination": "phoenix"}
_RECEIVED = {
    selector("sidelight_collector_received_total", _SCRAPED | {"signal": "traces"}): counter(
        (100, 120)
    )
}
# promtool's clock starts at zero.
_DAYS = 86_400


def _series(name: str, labels: Labels, values: str, **more: str) -> Series:
    return {selector(name, {**labels, **more}): values}


COLLECTOR_CASES: tuple[Case, ...] = (
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
