"""The folder that brings Sidelight into a vLLM whose image does not have it."""
