"""Spans per request and metrics per engine step from inside a vLLM server."""
