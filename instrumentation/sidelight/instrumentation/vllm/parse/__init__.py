"""Facts out of the bytes of requests and answers."""
