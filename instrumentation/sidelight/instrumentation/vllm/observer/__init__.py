"""The observer process, which processes the records of one vLLM, and the way to it."""
