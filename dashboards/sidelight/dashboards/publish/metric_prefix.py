"""A prefix that an operator put before vLLM's names, such as `kserve_` of KServe's PodMonitor."""

from __future__ import annotations

import re
from typing import Final

# A name of vLLM's, in an expression or in a regular expression of names.
_NAME: Final = re.compile(r"(?<![\w:])(?=(?:ray_)?vllm[:_]\w)")


def with_prefix(text: str, prefix: str) -> str:
    """A text with the prefix before each of vLLM's metric names."""
    return _NAME.sub(prefix, text) if prefix else text
