"""What the collector costs a span, in CPU, memory and time."""
