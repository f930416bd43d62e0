"""What the dashboards' queries cost a Prometheus of many replicas."""
