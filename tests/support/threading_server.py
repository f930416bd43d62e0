"""An HTTP server that also takes many connections at once while the machine is busy."""

from __future__ import annotations

from http.server import ThreadingHTTPServer


class PatientHTTPServer(ThreadingHTTPServer):
    """One whose clients wait until it accepts them, rather than for their next try.

    The kernel drops what comes while five connections wait for `accept`, as is the default, and a
    client tries again after a second: longer than Prometheus waits in some tests.
    """

    request_queue_size = 128
