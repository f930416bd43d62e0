"""PromQL for each question, as functions of a `View`: nothing here knows of Grafana."""
