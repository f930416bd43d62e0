"""The processes of several workers: `python -m sidelight.collector.app.workers PART …`.

The parts are `supervisor [FILE]`, and what it starts: `worker NUMBER` and, for a reload,
`plan [FILE]`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from sidelight.base.garbage import collect_rarely


def main(part: str, arguments: Sequence[str]) -> int:
    """Run one of the parts; returns the exit code."""
    path = Path(arguments[0]) if arguments else None
    # Imported here: after the garbage collector is set, and the supervisor without the others.
    match part:
        case "plan":
            from sidelight.collector.app.workers import plan

            return plan.main(path)
        case "worker":
            from sidelight.collector.app.workers import worker

            return worker.main(int(arguments[0]))
        case _:
            from sidelight.collector.app.workers.supervisor import supervise

            return supervise(path)


if __name__ == "__main__":
    collect_rarely()
    sys.exit(main(sys.argv[1], sys.argv[2:]))
