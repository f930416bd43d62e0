"""More time for the last spans than vLLM's end has, so that a busy machine loses none of them.

How long each wait may be is tested elsewhere, with a clock that the test moves.
"""

from __future__ import annotations

from sidelight.instrumentation.vllm import runtime
from sidelight.instrumentation.vllm.observer import hand_off, rendezvous, starter
from support.waiting import PATIENCE_SECONDS

_WAITS = (
    (hand_off, "MAX_STOP_SECONDS"),
    (runtime, "MAX_PROCESSING_STOP_SECONDS"),
    (runtime, "MAX_EXPORT_STOP_SECONDS"),
    (rendezvous, "MAX_LOCK_SECONDS"),
    (rendezvous, "MAX_END_SECONDS"),
    (starter, "MAX_END_SECONDS"),
    (starter, "MAX_EXPORT_STOP_SECONDS"),
)
_IN_OBSERVER = (
    "from sidelight.instrumentation.vllm.observer.service import ObserverService; "
    "ObserverService.__init__.__kwdefaults__['export_stop_seconds'] = "
    f"{PATIENCE_SECONDS}; runpy.run_module("
)


def wait_longer() -> None:
    """Lengthen the waits of this process, and of the observer process that it starts."""
    for module, name in _WAITS:
        assert hasattr(module, name)
        setattr(module, name, PATIENCE_SECONDS)
    assert rendezvous._RUN.count("runpy.run_module(") == 1
    # Not an assignment, as it is final for the product.
    setattr(rendezvous, "_RUN", rendezvous._RUN.replace("runpy.run_module(", _IN_OBSERVER))  # noqa: B010
