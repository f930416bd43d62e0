"""What observing a real vLLM costs its processes."""
