"""Grafana dashboards generated from the catalog of metrics, and the pieces they are made of."""
