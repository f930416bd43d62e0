"""The demo's app reads what the model streams, whatever characters that has."""

from __future__ import annotations

import json

import httpx

from sidelight.demo.app import stream_events


async def test_a_text_may_hold_line_separators() -> None:
    """U+2028 and its kin end no line of a stream; a model with random weights writes them."""
    texts = ["a\u2028b", "c\x85d\x1c", "e"]
    body = "".join(
        f"data: {json.dumps({'text': text}, ensure_ascii=False)}\r\n\r\n" for text in texts
    )
    response = httpx.Response(200, text=body + "data: [DONE]\n\n")
    assert [event["text"] async for event in stream_events(response)] == texts
