"""The demo: a small RAG app, a real vLLM, Milvus Lite and Phoenix, observed by Sidelight."""
