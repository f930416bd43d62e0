"""How the commands of `sidelight log` fail, and write to a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sidelight.collector.cli.options import fail


@contextmanager
def explained() -> Iterator[None]:
    """What cannot be done is a sentence and exit 1."""
    # Imported late, so that --help takes no second.
    from sidelight.collector.cli.log.folders import CommandError
    from sidelight.collector.log.errors import LogError

    try:
        yield
    except CommandError as error:
        fail(str(error), error.code)
    except LogError as error:
        fail(str(error), 1)
    except OSError as error:
        fail(f"{error.filename or 'standard output'}: {error.strerror}", 1)


@contextmanager
def pipe() -> Iterator[None]:
    """A reader that has seen enough ends the writing; that is not a fault."""
    try:
        yield
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # The interpreter flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(130)
