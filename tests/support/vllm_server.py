"""A real vLLM server on the CPU for tests, with or without Sidelight's instrumentation in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sidelight.demo import inject, model, vllm_server
from sidelight.demo.processes import Processes
from sidelight.demo.vllm_server import VllmServer
from support import talking_model
from support.environments import python_of
from support.ports import free_port
from support.talking_model import talking
from support.waiting import waiting_for


@contextmanager
def running_vllm(
    directory: Path,
    *,
    otlp_endpoint: str | None = None,
    instrumented: bool = True,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    talks: bool = False,
) -> Iterator[VllmServer]:
    """A ready vLLM server; its log is `directory/vllm.log`, its end that of the `with`.

    With `talks` its model says what a request makes it say, calls of tools included.

    Takes about 30 s to start on two cores (and a minute more to install, once per machine).
    """
    with Processes(directory) as processes:
        python = python_of("vllm")
        folder = model.ensure(python, processes)
        if talks:
            folder, arguments = talking(folder, directory), (*talking_model.ARGUMENTS, *arguments)
        server = vllm_server.start(
            processes,
            python=python,
            model=folder,
            port=free_port(),
            instrumentation=inject.write(directory / "injected") if instrumented else None,
            otlp_endpoint=otlp_endpoint,
            environment=environment,
            arguments=arguments,
        )
        with waiting_for("vLLM to be ready"):
            server.wait_until_ready()
        yield server
