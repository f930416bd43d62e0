"""What runs inside an observed process: fails open, costs microseconds, needs OTel and wrapt."""

from sidelight.instrumentation.installed import instrument, uninstrument

__all__ = ["instrument", "uninstrument"]
