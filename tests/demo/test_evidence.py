"""What the demo asks the collector and the dashboards."""

from __future__ import annotations

import json

from sidelight.dashboards.publish.files import render_boards
from sidelight.dashboards.publish.read_back import board_queries, interpolate
from sidelight.demo import evidence, traffic

METRICS = """\
# TYPE sidelight_collector_delivered counter
sidelight_collector_delivered_total{destination="phoenix"} 798.0
# TYPE sidelight_collector_refused counter
sidelight_collector_refused_total{signal="traces",reason="invalid_id"} 0.0
"""


def test_nothing_lost_is_found() -> None:
    """Delivered items and no loss are a good sign."""
    finding = evidence.losses(METRICS)

    assert finding.found
    assert finding.seen == "798 delivered, 0 refused, 0 dropped"


def test_a_drop_is_told() -> None:
    """Any dropped item fails the demo, whichever destination it was for."""
    dropped = (
        "# TYPE sidelight_collector_dropped counter\n"
        'sidelight_collector_dropped_total{destination="phoenix",reason="dead_lettered"} 2.0\n'
    )

    finding = evidence.losses(METRICS + dropped)

    assert not finding.found
    assert finding.seen.endswith("2 dropped")


def test_no_delivery_is_a_fault() -> None:
    """A collector that delivered nothing has lost nothing, and is no success."""
    assert not evidence.losses("").found


def test_every_variable_of_every_board_has_a_value() -> None:
    """Each query of the generated boards can be filled in, with all where that is offered."""
    for board in render_boards().values():
        values = evidence.variables(board)
        filled = [interpolate(query.expression, values) for query in board_queries(board)]
        assert filled
        assert not any("${" in each or "$__" in each for each in filled)
        assert not any('=~""' in each for each in filled)


def test_a_variable_without_all_has_its_default() -> None:
    """A list to choose from counts with what is chosen, a text with its text."""
    board = {
        "templating": {
            "list": [
                {"name": "all", "allValue": ".+", "current": {"value": ["$__all"]}},
                {"name": "choice", "current": {"value": "10.24|10"}, "query": "1 s : 1"},
                {"name": "text", "query": "somewhere"},
            ]
        }
    }

    values = evidence.variables(json.dumps(board))

    assert (values["all"], values["choice"], values["text"]) == (".+", "10.24|10", "somewhere")


def test_the_traffic_has_all_kinds_of_questions() -> None:
    """Bursts share whole prompts, some askers leave, some calls fail; the plan never changes."""
    asks = [ask for burst in traffic.plan() for ask in burst.asks]
    bursts = [burst for burst in traffic.plan() if len(burst.asks) == traffic.BURST_SIZE]
    questions = [ask.question for ask in bursts[0].asks]
    alone = [burst.asks[0] for burst in traffic.plan() if len(burst.asks) == 1]

    assert len(bursts) == traffic.BURSTS
    assert len(set(questions)) < len(questions) == traffic.BURST_SIZE
    assert sum(ask.give_up_after_pieces is not None for ask in asks) == traffic.BURSTS + 3
    assert sum(ask.give_up_after_pieces is not None for ask in alone) == 3
    assert len([ask for ask in asks if ask.mistake]) == len(traffic.mistakes()) == 3
    assert traffic.plan() == traffic.plan()


def test_a_users_vllm_gets_the_same_in_fewer_bursts() -> None:
    """Every kind of question is still asked, and others who use the server wait less."""
    whole, short = traffic.plan(), traffic.plan(traffic.BURSTS_TO_USERS_VLLM)
    assert [burst for burst in whole if burst in short] == short
    assert len(short) == len(whole) - traffic.BURSTS + traffic.BURSTS_TO_USERS_VLLM
