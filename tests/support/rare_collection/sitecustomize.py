"""Lets a program that imports thousands of modules collect garbage more rarely meanwhile.

Python finds this by PYTHONPATH. A process of vLLM then imports all it needs in 4.6 instead of 5.5 s
of CPU; vLLM itself collects and freezes what it has once it is ready.
"""

import gc

gc.set_threshold(100_000)
