"""A small HTTP/1.1 server for machines: bounded in bytes, time and connections.

httptools parses heads and chunked bodies. A body of known length is read by the kernel straight
into its buffer, at 6 GB per CPU-second; uvicorn with httptools reads 1 GB, aiohttp 1.4 GB. At
1.6 kB a span that is 0.3 µs a span instead of 1.7. See docs/decisions/0007-own-http-server.md.
"""

from sidelight.base.http_server.messages import (
    AddHeaders,
    Admit,
    Explain,
    Handler,
    Head,
    HttpLimits,
    HttpRequest,
    HttpResponse,
    Refused,
    in_words,
    unnoticed,
)
from sidelight.base.http_server.server import HttpServer
from sidelight.base.http_server.tls import HandshakeFault, TlsOptions

__all__ = [
    "AddHeaders",
    "Admit",
    "Explain",
    "Handler",
    "HandshakeFault",
    "Head",
    "HttpLimits",
    "HttpRequest",
    "HttpResponse",
    "HttpServer",
    "Refused",
    "TlsOptions",
    "in_words",
    "unnoticed",
]
