"""A script for vLLM's environment: runs the command `vllm` and collects garbage rarely.

vLLM's imports create millions of objects. Searching them for garbage many times takes a seventh of
the CPU of a start.
"""

import gc
import sys

# Not below, because the engine's process imports this file as well.
gc.set_threshold(100_000)

if __name__ == "__main__":
    from vllm.entrypoints.cli.main import main

    sys.exit(main())
