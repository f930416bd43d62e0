"""The supervisor's process."""

import sys
from pathlib import Path

from sidelight.collector.app.workers.supervisor import supervise

if __name__ == "__main__":
    sys.exit(supervise(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
