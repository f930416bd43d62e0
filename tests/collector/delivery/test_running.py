"""Rules, routes, sampling and scores in the running collector, across kill -9."""

from __future__ import annotations

import json
from pathlib import Path

from sidelight import conventions as c
from support.collector import Collector, settings
from support.langfuse import LangfuseStandIn
from support.spans import Made, request
from support.waiting import eventually


def test_a_kept_trace_is_whole_after_kill_9(tmp_path: Path) -> None:
    """Killed between a trace's batches it sends all of it later, and nothing of a dropped one.

    However long it was down: a trace is quiet only while it could be sent.
    """
    with LangfuseStandIn() as server:
        env = {
            "LANGFUSE_PUBLIC_KEY": server.public_key,
            "LANGFUSE_SECRET_KEY": server.secret_key,
        }
        config = settings(
            tmp_path,
            logging={"format": "json"},
            destinations=[
                {
                    "type": "langfuse",
                    "url": server.url,
                    "drop": [{"names": "noise"}],
                    # Longer than a busy machine takes from the start to the trace's last span.
                    "sample": {"share": 0, "quiet_seconds": 4},
                    "scores": [c.PREEMPTIONS],
                    "routes": [
                        {
                            "name": "blue",
                            "match": {"team": "blue"},
                            "public_key": {"env": "LANGFUSE_PUBLIC_KEY"},
                            "secret_key": {"env": "LANGFUSE_SECRET_KEY"},
                        }
                    ],
                    "unmatched": "drop",
                },
                {"type": "file", "directory": str(tmp_path / "archive")},
            ],
        )
        blue = {"team": "blue"}
        first = [
            Made("a1", trace="a", resource=blue),
            Made("noise", trace="a", resource=blue),
            Made("b1", trace="b", resource=blue),
            Made("c1", trace="c", resource={"team": "red"}, error=True),
        ]
        with Collector(config, tmp_path, env=env) as collector:
            assert collector.post(request(*first).SerializeToString())[0] == 200
        assert server.rows == []
        last = Made("a2", trace="a", resource=blue, attributes={c.PREEMPTIONS: 3})
        with Collector(config, tmp_path, env=env) as collector:
            assert collector.post(request(last).SerializeToString())[0] == 200
            eventually(lambda: len(server.rows) == 2 and server.scores)
            sampled = "sidelight_collector_traces_sampled_total"
            assert collector.metric(sampled, destination="langfuse.blue", reason="preempted") == 1
            assert collector.metric(sampled, destination="langfuse.blue", decision="dropped") == 1
            withheld = {
                reason: collector.metric(
                    "sidelight_collector_withheld_total",
                    destination="langfuse.blue",
                    reason=reason,
                )
                for reason in ("route", "filter", "sampling")
            }
            assert withheld == {"route": 1, "filter": 1, "sampling": 1}
            assert collector.terminate() == 0
    assert sorted(row.name for row in server.rows) == ["a1", "a2"]
    (score,) = server.scores.values()
    assert (score["name"], score["value"]) == ("preemptions", 3)
    batches = [
        json.loads(line)
        for path in sorted((tmp_path / "archive").iterdir())
        for line in path.read_text().splitlines()
    ]
    assert sum(len(each["resourceSpans"]) for each in batches) >= 5
