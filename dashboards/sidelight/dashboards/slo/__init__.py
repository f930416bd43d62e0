"""Service level objectives: data in, recording rules and burn-rate alerts out."""
