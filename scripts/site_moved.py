"""A hook of mkdocs.yml: an address that a page had before it moved leads to where its text is now.

Anchors are not sent to a server, so the page at the old address looks at its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

# Each old page, and where its headings went; "" is the page itself.
MOVED: Final[Mapping[str, Mapping[str, str]]] = {
    "dashboards.html": {
        "": "dashboards/index.html",
        "get-the-files": "dashboards/index.html#other-ways",
        "load-them-into-grafana": "dashboards/index.html",
        "set-up-prometheus": "dashboards/index.html#set-up-prometheus",
        "exemplars": "dashboards/index.html#exemplars",
        "check-them": "dashboards/checking.html",
        "vllm-versions": "dashboards/checking.html#vllm-versions",
        "variables": "dashboards/reading.html#variables",
        "panels": "dashboards/reading.html",
        "sidelight-overview": "dashboards/overview.html",
        "sidelight-requests": "dashboards/requests.html",
        "sidelight-kv-cache": "dashboards/kv-cache.html",
        "sidelight-batching": "dashboards/batching.html",
        "sidelight-fleet": "dashboards/fleet.html",
        "sidelight-retrieval": "dashboards/retrieval.html",
        "sidelight-cost-and-tenants": "dashboards/cost.html",
        "sidelight-collector": "dashboards/collector.html",
        "speed": "dashboards/speed.html",
        "the-same-queries-in-rules": "dashboards/extending.html#the-same-queries-in-rules",
        "add-a-metric-or-a-panel": "dashboards/extending.html#add-a-metric-or-a-panel",
    }
}
_PAGE: Final = """<!doctype html>
<meta charset="utf-8">
<title>Moved</title>
<script>
  const moved = %(moved)s;
  location.replace(moved[location.hash.slice(1)] || moved[""]);
</script>
<p>This page has moved to <a href="%(target)s">%(target)s</a>.</p>
"""


def on_post_build(config: Any) -> None:
    """Write a page at each old address."""
    for name, moved in MOVED.items():
        page = _PAGE % {"moved": json.dumps(moved), "target": moved[""]}
        (Path(config.site_dir) / name).write_text(page, encoding="utf-8")
