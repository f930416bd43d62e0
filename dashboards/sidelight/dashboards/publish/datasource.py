"""Files for Grafana's folder provisioning: the data source, and where the dashboards lie."""

from __future__ import annotations

from typing import Final

DATASOURCE_FILE: Final = "grafana-datasource.yaml"
DATASOURCE_UID: Final = "sidelight-prometheus"

# Exemplars lead to traces by the data source's settings, not by the board's. Expressions are
# longer than some proxies let a URL be, hence POST. `$$` is Grafana's escape for `$`.
DATASOURCE: Final = f"""\
# Data source for these boards. Adapt the addresses and copy the file to Grafana's folder
# provisioning/datasources. Exemplars on the latency panels link to the url below
# exemplarTraceIdDestinations: Phoenix in this file.
apiVersion: 1
datasources:
  - name: Prometheus (Sidelight)
    uid: {DATASOURCE_UID}
    type: prometheus
    access: proxy
    url: http://localhost:9090
    jsonData:
      httpMethod: POST
      timeInterval: 15s
      exemplarTraceIdDestinations:
        - name: trace_id
          url: http://localhost:6006/redirects/traces/$${{__value.raw}}
          urlDisplayLabel: Open trace
"""

PROVIDER_FILE: Final = "grafana-dashboards.yaml"
PROVIDER: Final = """\
# Where Grafana finds the dashboards. Copy the file to Grafana's folder provisioning/dashboards,
# and the *.json beside it to the path below.
apiVersion: 1
providers:
  - name: sidelight
    folder: Sidelight
    type: file
    options:
      path: /var/lib/grafana/dashboards/sidelight
"""
