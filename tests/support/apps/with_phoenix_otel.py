"""An app with Phoenix's `register()`: configured by PHOENIX_… and its argument, the protocol."""

from __future__ import annotations

import json
import sys

from phoenix.otel import register


def main() -> None:
    provider = register(protocol=sys.argv[1], batch=True, verbose=False)  # type: ignore[arg-type]
    with provider.get_tracer("app").start_as_current_span("question") as span:
        trace_id = f"{span.get_span_context().trace_id:032x}"
    provider.shutdown()
    print(json.dumps({"trace_id": trace_id}))


if __name__ == "__main__":
    main()
