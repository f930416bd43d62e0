"""Builds the Python environments that a run needs, while the tests that need none are running."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from sidelight.demo import environments
from sidelight.demo.environments import EnvironmentBuildError
from sidelight.demo.processes import ProcessError, Processes
from support.environments import definition

# Two at a time: one downloads while the other unpacks.
_AT_ONCE = 2


class Builds:
    """The builds of one run. `say` prints a line on the terminal."""

    def __init__(self, say: Callable[[str], None], log_directory: Path) -> None:
        self._say = say
        self._processes = Processes(log_directory)
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="build-environment")
        self._builds: dict[str, Future[None]] = {}
        self._phrases: dict[str, str] = {}

    def start(self, names: Sequence[str]) -> None:
        """Build these one after the other. Those that this machine has take no time."""
        for name in names:
            if name not in self._builds:
                self._builds[name] = self._pool.submit(self._build, name)

    def settled(self, names: Sequence[str]) -> bool:
        """Whether none of these is being built any more, or is still to be."""
        return all(self._builds[name].done() for name in names if name in self._builds)

    def under_way(self) -> list[str]:
        """What is being built now, each with what its build does."""
        return [
            f"building the {name} environment: {phrase}"
            for name, phrase in list(self._phrases.items())
        ]

    def stop(self) -> None:
        """End what is under way; what was not begun is not."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._processes.close()
        self._pool.shutdown(wait=True)

    def _build(self, name: str) -> None:
        start = time.monotonic()

        def progress(phrase: str) -> None:
            if name not in self._phrases:
                self._say(f"building the {name} environment, once on this machine: {phrase} …")
            self._phrases[name] = phrase

        try:
            environments.ensure(definition(name), progress=progress, processes=self._processes)
        except (EnvironmentBuildError, ProcessError, OSError) as error:
            # The tests that need it build it again, and fail with all of the reason.
            if not self._processes.closed:
                self._say(f"the {name} environment cannot be built: {str(error).splitlines()[0]}")
        else:
            if name in self._phrases:
                self._say(f"built the {name} environment in {time.monotonic() - start:.0f} s")
        finally:
            self._phrases.pop(name, None)
