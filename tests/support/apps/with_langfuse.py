"""An app with the Langfuse SDK: configured by LANGFUSE_… alone, prints what it was told."""

from __future__ import annotations

import json

from langfuse import Langfuse, LangfuseMedia
from langfuse.api import MediaContentType


def main() -> None:
    client = Langfuse()
    try:
        is_authorized = client.auth_check()
    except Exception as error:
        print(json.dumps({"auth_check": False, "error": type(error).__name__}))
        return
    with client.start_as_current_observation(name="question", as_type="span") as root:
        with client.start_as_current_observation(
            name="answer", as_type="generation", model="tiny", input="2 + 2", output="4"
        ) as generation:
            generation.score(name="correct", value=1)
        media = LangfuseMedia(content_bytes=b"\x89PNG", content_type=MediaContentType("image/png"))
        root.update(metadata={"file": media})
        trace_id = root.trace_id
    client.flush()
    prompt = client.get_prompt("greeting", fallback="hello", type="text").prompt
    client.shutdown()
    print(json.dumps({"auth_check": is_authorized, "trace_id": trace_id, "prompt": prompt}))


if __name__ == "__main__":
    main()
