"""A hook on vLLM's `AsyncLLM`: observes the engine client of an API server once it is made."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, Final

from sidelight.instrumentation.vllm import runtime
from sidelight.instrumentation.vllm.faults import reraise_interrupt
from sidelight.instrumentation.vllm.logger import logger
from sidelight.instrumentation.vllm.output_processor import SequenceCapture
from sidelight.instrumentation.vllm.records import ENGINES_STATE, SEQUENCES
from sidelight.instrumentation.vllm.sequences import SequenceFields
from sidelight.instrumentation.vllm.stat_logger import StepCapture

_MARK: Final = "_sidelight_observes"
# The methods after which the engines take no steps, or take them again.
STATES: Final = {
    "sleep": False, "wake_up": True, "pause_generation": False, "resume_generation": True,
}  # fmt: skip


def install(async_llm: Any) -> None:
    """Observe each `AsyncLLM` that is made from now on. May be called again."""
    if _MARK not in vars(async_llm):
        async_llm.__init__ = _observed(async_llm.__init__)
        for name, awake in STATES.items():
            if callable(method := getattr(async_llm, name, None)):
                setattr(async_llm, name, _noting(method, awake))
        setattr(async_llm, _MARK, True)


def _observed(make: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(make)
    def __init__(client: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        make(client, *args, **kwargs)
        try:
            observe(client)
        except BaseException as error:  # noqa: BLE001 - vLLM must start without us
            reraise_interrupt(error)
            _warn(type(error).__name__)

    return __init__


def _noting(method: Callable[..., Any], awake: bool) -> Callable[..., Any]:
    @functools.wraps(method)
    async def noting(client: Any, *args: Any, **kwargs: Any) -> Any:
        result = await method(client, *args, **kwargs)
        try:
            shared = runtime.get()
            if shared is not None and shared.hand_off is not None:
                shared.hand_off.put((ENGINES_STATE, awake))
        except BaseException as error:  # noqa: BLE001 - vLLM's engines go on without us
            reraise_interrupt(error)
        return result

    return noting


def observe(client: Any) -> None:
    """Observe the sequences of an `AsyncLLM` and, if its statistics are on, the engine's steps."""
    shared = runtime.get()
    if shared is None or hasattr(client.output_processor, "sidelight"):
        return
    engine_core = client.engine_core

    def hand_over(ended: tuple[SequenceFields, ...]) -> None:
        if shared.hand_off is not None:
            shared.hand_off.put((SEQUENCES, ended))

    # The client itself must not be held: vLLM shuts its engine down when it is collected.
    sequences = SequenceCapture(
        client.output_processor,
        hand_over,
        functools.partial(_engine_of, engine_core),
        shared.output_processor_guard,
    )
    client.output_processor.sidelight = sequences
    missing = sequences.install()
    if missing:
        _warn(f"OutputProcessor has no {', '.join(missing)}")
    steps = StepCapture(weakref.ref(client), sequences, shared)
    sequences.before_step = steps.follow
    steps.follow()


def _engine_of(engine_core: Any, sequence_id: str) -> int | None:
    """The engine that has a sequence; None if there are several and vLLM does not tell."""
    ranks = getattr(engine_core, "engine_ranks_managed", None) or (0,)
    if len(ranks) == 1:
        return int(ranks[0])
    # Where one client balances the load over several engines.
    identity = getattr(engine_core, "reqs_in_flight", {}).get(sequence_id)
    return int.from_bytes(identity, "little") if isinstance(identity, bytes) else None


def _warn(reason: str) -> None:
    logger.warning(
        "Sidelight: cannot observe the engine (%s). Spans lack the engine's times and tokens; "
        "vLLM is not affected. Check that this version of vLLM is one that docs/vllm.md names, and "
        "update Sidelight.",
        reason,
    )
