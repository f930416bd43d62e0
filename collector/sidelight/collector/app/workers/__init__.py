"""Several processes that share the ports: a small supervisor, and workers that share nothing.

`python -m sidelight.collector.app.workers [FILE]` is the supervisor, to which `sidelight up` turns
when `workers` is more than one. It imports neither pydantic nor gRPC: what needs them runs in
the workers, or in a process of its own for a moment.
"""
