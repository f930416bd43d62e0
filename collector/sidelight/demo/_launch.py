"""A script that becomes the given command, which then exits together with its parent process.

Usage: python -I -S _launch.py PARENT_PID COMMAND [ARGUMENT…]

This is not done by subprocess's `preexec_fn`, which runs Python in a fork of a process with threads
and can deadlock there (gRPC has threads).
"""

import ctypes
import os
import signal
import sys

# From <sys/prctl.h>: the signal that the kernel sends when the parent process exits.
_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        # The parent may have exited before the line above took effect.
        if os.getppid() != parent:
            sys.exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
