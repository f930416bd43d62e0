"""Streams chat completions from a server, N at a time, and throws the answers away."""

from __future__ import annotations

import asyncio
import json
import os
from urllib.parse import urlsplit

TOKENS = 64


def run(url: str, model: str, requests: int, concurrency: int) -> None:
    """Ask `requests` questions, `concurrency` at a time. Raises `RuntimeError` if one fails."""
    asyncio.run(_run(url, model, requests, concurrency))


async def _run(url: str, model: str, requests: int, concurrency: int) -> None:
    waiting = iter(range(requests))
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None

    async def asker(host: str, port: int) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        for _ in waiting:
            writer.write(_request(model))
            status = await reader.readline()
            if b" 200 " not in status:
                raise RuntimeError(status.decode())
            await _skip_answer(reader)
        writer.close()

    await asyncio.gather(*(asker(address.hostname, address.port) for _ in range(concurrency)))


def _request(model: str) -> bytes:
    content = f"{os.urandom(8).hex()} Which figures of the second quarter changed most? " * 3
    body = json.dumps(
        {
            "model": model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": TOKENS,
            "ignore_eos": True,
            "stream": True,
        }
    ).encode()
    parent = f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-01"
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ntraceparent: {parent}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _skip_answer(reader: asyncio.StreamReader) -> None:
    while (await reader.readline()).strip():
        pass
    while size := int((await reader.readline()).strip(), 16):
        await reader.readexactly(size + 2)
    await reader.readline()
