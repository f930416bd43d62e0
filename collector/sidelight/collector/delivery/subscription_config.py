"""What each configured destination subscribes to: once for each of its routes, and for scores.

Each subscription has a cursor of its own. A tenant whose keys are revoked or whose project is
gone thus never delays another, and scores never delay traces.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sidelight.collector.delivery.match import MatchRule, rules
from sidelight.collector.delivery.select import RouteFilter, Selector
from sidelight.collector.destinations.common.matching import Match
from sidelight.collector.destinations.registry import (
    AnyDestination,
    score_subscription,
    type_of,
)


@dataclass(frozen=True, slots=True)
class SubscriptionConfig:
    """What is sent where: `destination` is plain, without routes, under the subscription's name.

    `is_scores`: the numbers on its spans are sent, not the spans.
    """

    destination: AnyDestination
    route: RouteFilter | None = None
    is_scores: bool = False

    @property
    def name(self) -> str:
        """The cursor's name, and the label in metrics."""
        return self.destination.name

    def selector(self) -> Selector:
        """What it gets of a record."""
        options = type_of(self.destination).selection(self.destination)
        return Selector(
            only=rules(self.destination.only),
            drop=rules(self.destination.drop),
            route=self.route,
            mark_roots=options.mark_roots,
            project_from=options.project_from,
        )


def subscription_configs(destinations: Iterable[AnyDestination]) -> tuple[SubscriptionConfig, ...]:
    """The subscriptions of all destinations, those of scores last."""
    plain = [config for destination in destinations for config in _of(destination)]
    return (*plain, *(_scores(config) for config in plain if config.destination.score_attributes))


def _scores(plain: SubscriptionConfig) -> SubscriptionConfig:
    destination = plain.destination.model_copy(update={"name": score_subscription(plain.name)})
    return SubscriptionConfig(destination, plain.route, is_scores=True)


def _of(destination: AnyDestination) -> list[SubscriptionConfig]:
    if not destination.routes:
        return [SubscriptionConfig(destination)]
    configs: list[SubscriptionConfig] = []
    earlier: tuple[MatchRule, ...] = ()
    for route in destination.routes:
        match = MatchRule(Match(resource=route.match))
        own = route.model_dump(exclude={"name", "match"}, exclude_none=True).keys()
        update = {key: getattr(route, key) for key in own}
        update |= {"name": f"{destination.name}.{route.name}", "routes": ()}
        # A project of the route's own must not be replaced by what the resource says.
        if "project" in own:
            update["project_from"] = None
        routed = destination.model_copy(update=update)
        configs.append(SubscriptionConfig(routed, RouteFilter((match,), earlier)))
        # The first match counts, so a later route gets what no earlier one takes.
        earlier += (match,)
    if destination.unmatched == "default":
        plain = destination.model_copy(update={"routes": ()})
        configs.insert(0, SubscriptionConfig(plain, RouteFilter((), earlier)))
    return configs
