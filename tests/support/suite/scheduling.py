"""Gives pytest-xdist's processes the units of a plan, in its order."""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling

from support.suite.builds import Builds
from support.suite.plan import VLLM, Plan, Unit


class PlanScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """A unit goes to one process, and not before its environments are built.

    Nor does a second process start vLLM, which takes all processors, while another has one to
    run. If nothing but such units is left, the next one goes out all the same: its tests wait
    for a build themselves.
    """

    def __init__(self, config: Any, log: Any, builds: Builds) -> None:
        # xdist would put the units with the most tests first.
        config.option.loadscopereorder = False
        super().__init__(config, log)
        self._builds = builds
        self._units: dict[str, Unit] = {}
        self._unit_names: dict[str, str] = {}

    def follow(self, plan: Plan) -> None:
        """Distribute by this plan; it is known once a process has collected the tests."""
        self._units = {unit.name: unit for unit in plan.units}
        self._unit_names = {test: unit.name for unit in plan.units for test in unit.tests}

    def _split_scope(self, nodeid: str) -> str:
        return self._unit_names[nodeid]

    def _assign_work_unit(self, node: Any) -> None:
        is_vllm_elsewhere = any(
            VLLM in self._units[name].environments and not all(tests.values())
            for other, units in self.assigned_work.items()
            for name, tests in units.items()
            if other is not node
        )
        for name in self.workqueue:
            needs = self._units[name].environments
            if self._builds.settled(needs) and not (is_vllm_elsewhere and VLLM in needs):
                self.workqueue.move_to_end(name, last=False)
                break
        super()._assign_work_unit(node)
