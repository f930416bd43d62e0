"""Several processes that share the ports: a supervisor, and workers that share nothing else.

`python -m sidelight.collector.app.workers supervisor [FILE]` is the supervisor, which `sidelight
up` becomes if `workers` is above one. It imports neither pydantic nor gRPC: code that needs them
runs before it, in the workers, or in a short-lived process of its own. See
docs/decisions/0010-workers-share-ports.md.
"""
