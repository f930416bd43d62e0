"""From boards to files: Grafana's schema, checks, JSON."""
