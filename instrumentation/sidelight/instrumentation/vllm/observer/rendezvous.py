"""Where the processes of one vLLM meet their observer process, and how it is started.

The place is a directory of this user alone. Its name holds 128 random bits, and the processes
that vLLM starts learn it from a variable of the environment. The first that needs the observer
process starts it, under a lock.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import os
import secrets
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from sidelight.instrumentation.vllm.versions import Versions

DIRECTORY_VARIABLE: Final = "SIDELIGHT_VLLM_OBSERVER_DIRECTORY"
MAX_PARENT_BYTES: Final = 40
MAX_LOCK_SECONDS: Final = 5.0
# How long vLLM's end waits for the last spans.
MAX_END_SECONDS: Final = 2.0
MAX_DETACH_SECONDS: Final = 1.0
_LOCK_POLL_SECONDS: Final = 0.02
# vLLM's names for the API servers of one vLLM: those that share engines, and one for each rank.
_API_SERVERS: Final = ("ApiServer_", "APIServer_DPRank_")
_BACKLOG: Final = 64
# The folder that holds the package `sidelight` with all that the observer process imports.
_ROOT: Final = Path(__file__).parents[4]
# Like `python -m`, but with the folder behind the standard library: beside Sidelight in it there
# may be a package that has the name of a standard one.
_RUN: Final = (
    "import runpy, sys; module, root = sys.argv[1:3]; del sys.argv[1:3]; sys.path.append(root); "
    "runpy.run_module(module, run_name='__main__', alter_sys=True)"
)
# Its parent is then no longer the API server. vLLM kills an API server with all its children, and
# without `--shutdown-timeout` it does so at once.
_DETACH: Final = "import os; os.fork() and os._exit(0); "
# What a Python may need to start, and to read certificates and times. Nothing that holds secrets.
_PASSED_ON: Final = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "TMPDIR", "TZ")
_PASSED_ON_PREFIXES: Final = ("SSL_",)
# A forked child is a process of its own, and chooses again.
_chosen_by: int | None = None


class RefusedPlaceError(PermissionError):
    """The place may be in the hands of another user."""


def announce() -> None:
    """Choose the place for this process and the API servers that it starts.

    An API server that vLLM has started keeps the place of its parent. Any other process with the
    variable is another vLLM, below a process that has loaded the plugin too.
    """
    if _chosen_by == os.getpid():
        return
    if not (os.environ.get(DIRECTORY_VARIABLE) and _is_below_vllm()):
        choose()


def choose() -> None:
    """Choose a place, whatever was chosen before."""
    global _chosen_by
    name = f"sidelight-{os.geteuid()}-{secrets.token_hex(16)}"
    os.environ[DIRECTORY_VARIABLE] = str(Path(parent_directory()) / name)
    if _chosen_by != os.getpid():
        _chosen_by = os.getpid()
        # A forked child has what its parent registered.
        atexit.unregister(wait_for_end)
        atexit.register(wait_for_end)


def wait_for_end() -> None:
    """Wait until the observer process of this vLLM has ended, `MAX_END_SECONDS` at most.

    For the process that starts the API servers. It may be the first process of a container, with
    which all others end.
    """
    # Not in a forked child, which runs what its parent has registered.
    if _chosen_by != os.getpid():
        return
    with contextlib.suppress(OSError):
        MeetingPlace(Path(os.environ[DIRECTORY_VARIABLE])).wait_until_left(MAX_END_SECONDS)


def _is_below_vllm() -> bool:
    """Whether this is an API server that another process of vLLM has started."""
    # Not at the top, because the observer process needs this module and not that one.
    from multiprocessing import current_process

    return current_process().name.startswith(_API_SERVERS)


def parent_directory() -> str:
    """Where the place is made: the temporary directory, or `/tmp` where its path is too long."""
    parent = tempfile.gettempdir()
    # The path of a socket has at most 107 bytes.
    if len(os.fsencode(parent)) > MAX_PARENT_BYTES:
        return "/tmp"  # noqa: S108 - the name below it cannot be guessed
    return parent


def directory() -> Path:
    """The place of this vLLM, which is made if it is missing.

    Raises `OSError` if it cannot be made, and `RefusedPlaceError` if it is not a directory that
    this user alone may use.
    """
    announce()
    path = Path(os.environ[DIRECTORY_VARIABLE])
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise RefusedPlaceError(errno.EACCES, "not a directory of this user alone", str(path))
    return path


class MeetingPlace:
    """The files of a place."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "socket"
        self._lock = directory / "lock"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from starting an observer process.

        Raises `TimeoutError` after `MAX_LOCK_SECONDS`.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._lock, flags, 0o600)
        try:
            _lock(descriptor, MAX_LOCK_SECONDS)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def held(self) -> Iterator[int]:
        """A file for which `wait_until_left` waits, until all processes that inherit it have ended.

        Raises `OSError`.
        """
        with self._opened() as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield descriptor

    def wait_until_left(self, seconds: float) -> None:
        """Wait until no process holds this place.

        Raises `TimeoutError` after `seconds`, and `OSError` if the place is gone.
        """
        with self._opened() as descriptor:
            _lock(descriptor, seconds)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Remove these files, and the directory if it holds no others. To be called under the lock.

        Raises `OSError` if the directory remains.
        """
        self.socket.unlink(missing_ok=True)
        self._lock.unlink(missing_ok=True)
        self.directory.rmdir()

    def connect(self) -> socket.socket | None:
        """A connection to the observer process; None if there is none.

        Raises `RefusedPlaceError` if another user answers.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(1.0)
            connection.connect(str(self.socket))
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return None
        except BaseException:
            connection.close()
            raise
        if not is_own_user(connection):
            connection.close()
            raise RefusedPlaceError(errno.EACCES, "another user answers", str(self.socket))
        return connection

    def listen(self) -> socket.socket:
        """A socket at which the observer process can be reached. To be called under the lock."""
        self.socket.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(self.socket))
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener


def _lock(descriptor: int, seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise TimeoutError("another process holds the lock") from None
            time.sleep(_LOCK_POLL_SECONDS)
        else:
            return


def connect_or_start(
    place: MeetingPlace, versions: Versions, environ: Mapping[str, str]
) -> tuple[socket.socket, subprocess.Popen[bytes] | None]:
    """A connection to the observer process, and the process if it was started for it.

    `environ` holds the variables of the observer process beside those that every Python needs.
    Raises `OSError` if the process cannot be started.
    """
    connection = place.connect()
    if connection is not None:
        return connection, None
    with place.locked():
        connection = place.connect()
        if connection is not None:
            return connection, None
        with place.listen() as listener:
            process = _start(place, listener, versions, environ)
            # It need not run yet: the listener already queues connections for it.
            connection = place.connect()
        if connection is None:
            raise ConnectionRefusedError("the observer process does not listen")
        return connection, process


def is_served_by_parent() -> bool:
    """Whether the process that started this API server observes it on a thread of its own."""
    told = os.environ.get(DIRECTORY_VARIABLE)
    return bool(told) and _is_below_vllm() and MeetingPlace(Path(told or "")).socket.exists()


def connect_to_parent(place: MeetingPlace) -> socket.socket:
    """A connection to the process that started this API server. Raises `OSError`."""
    connection = place.connect()
    if connection is None:
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    return connection


def is_own_user(connection: socket.socket) -> bool:
    """Whether the process at the other end runs as the same user."""
    size = struct.calcsize("3i")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _, user, _ = struct.unpack("3i", credentials)
    return bool(user == os.geteuid())


def _start(
    place: MeetingPlace, listener: socket.socket, versions: Versions, environ: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    if not sys.executable:
        raise FileNotFoundError("the path of this Python is not known")
    variables = {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }
    variables |= environ
    # Not an argument, which every user can read.
    variables[DIRECTORY_VARIABLE] = str(place.directory)
    # One arena: the observer process has two threads.
    variables["MALLOC_ARENA_MAX"] = "1"
    module = "sidelight.instrumentation.vllm.observer"
    is_detached = _is_below_vllm()
    # Without site packages: it needs the standard library alone, and starts in half the time.
    with place.held() as held:
        process = subprocess.Popen(
            [sys.executable, "-SP", "-c", _DETACH + _RUN if is_detached else _RUN]
            + [module, str(_ROOT)]
            + [str(listener.fileno())]
            + [version or "" for version in versions],
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(listener.fileno(), held),
            cwd="/",
            # Ctrl+C in a terminal is for vLLM; the observer process ends after it.
            start_new_session=True,
        )
    if is_detached:
        # Reaps the parent of the observer process, which ends as soon as it has forked.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(MAX_DETACH_SECONDS)
    return process
