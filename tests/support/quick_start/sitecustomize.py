"""Lets a process of vLLM start with less CPU. Python finds this by PYTHONPATH.

Garbage is collected more rarely: to import all it needs takes 4.6 instead of 5.5 s of CPU. vLLM
itself collects and freezes what it has once it is ready.

Nor is the compiler of PyTorch imported, an eighth of the rest, where nothing is compiled.
"""

from __future__ import annotations

import gc
import os
import sys
from types import FrameType
from typing import Any

# vLLM's function that imports the compiler even if nothing is compiled. It does without if it must.
_IMPORTING = "_patch_inductor_fallback_allow_list"


class _WithoutCompiler:
    """Keeps the compiler from that function, and from what is decorated to be compiled."""

    @staticmethod
    def find_spec(name: str, path: object, target: object = None) -> None:
        if name != "torch._inductor.lowering":
            return
        caller: FrameType | None = sys._getframe(1)
        while caller is not None and caller.f_code.co_name != _IMPORTING:
            caller = caller.f_back
        if caller is not None:
            # Decorated functions stay as they are; the decorators would import the compiler too.
            torch: Any = sys.modules["torch"]
            torch.compile = _left_as_it_is
            raise ImportError(name)


def _left_as_it_is(function: Any = None, **_: Any) -> Any:
    return _left_as_it_is if function is None else function


gc.set_threshold(100_000)
if os.environ.get("TORCHDYNAMO_DISABLE") == "1":
    sys.meta_path.insert(0, _WithoutCompiler)
