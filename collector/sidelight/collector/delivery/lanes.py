"""Each configured destination as lanes: one for each route, with a cursor of its own.

A tenant whose keys are revoked or whose project is gone thus never delays another. Scores
have a lane of their own beside that of the traces, so that they never delay these.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sidelight.collector.delivery.match import Rule, rules
from sidelight.collector.delivery.select import Route, Selector
from sidelight.collector.destinations.common.matching import Match
from sidelight.collector.destinations.registry import AnyDestination, score_stream, type_of


@dataclass(frozen=True, slots=True)
class Lane:
    """What one forwarder sends where: `config` is plain, without routes."""

    config: AnyDestination
    route: Route | None = None
    is_scores: bool = False

    def selector(self) -> Selector:
        """What this lane gets of a record."""
        options = type_of(self.config).selection(self.config)
        return Selector(
            only=rules(self.config.only),
            drop=rules(self.config.drop),
            route=self.route,
            mark_roots=options.mark_roots,
            project_from=options.project_from,
        )


def lanes(destinations: Iterable[AnyDestination]) -> tuple[Lane, ...]:
    """The lanes of all destinations."""
    plain = [lane for destination in destinations for lane in _lanes(destination)]
    return (*plain, *(_scores(lane) for lane in plain if lane.config.score_attributes))


def _scores(lane: Lane) -> Lane:
    name = score_stream(lane.config.name)
    return Lane(lane.config.model_copy(update={"name": name}), lane.route, is_scores=True)


def _lanes(destination: AnyDestination) -> list[Lane]:
    if not destination.routes:
        return [Lane(destination)]
    found: list[Lane] = []
    earlier: tuple[Rule, ...] = ()
    for route in destination.routes:
        match = Rule(Match(resource=route.match))
        own = route.model_dump(exclude={"name", "match"}, exclude_none=True).keys()
        update = {key: getattr(route, key) for key in own}
        update |= {"name": f"{destination.name}.{route.name}", "routes": ()}
        if "project" in own:
            update["project_from"] = None
        found.append(Lane(destination.model_copy(update=update), Route((match,), earlier)))
        earlier += (match,)
    if destination.unmatched == "default":
        plain = destination.model_copy(update={"routes": ()})
        found.insert(0, Lane(plain, Route((), earlier)))
    return found
