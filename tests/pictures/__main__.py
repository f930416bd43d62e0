"""Draws every dashboard: dark and light, of a busy service, an idle one and an empty Prometheus.

All pictures go to build/pictures; `--docs` also renews those that docs/dashboards shows.
Needs npm, chromium, prometheus and promtool.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page, Route, sync_playwright

from pictures.bundle import bundled
from pictures.history import SECONDS, STEP, scenarios, write_blocks
from support.node.packages import NodeError
from support.prometheus import Prometheus, run_prometheus

ROOT: Final = Path(__file__).parents[2]
GENERATED: Final = ROOT / "dashboards" / "generated"
PICTURES: Final = ROOT / "build" / "pictures"
DOCS: Final = ROOT / "docs" / "images" / "dashboards"
THEMES: Final = ("dark", "light")
SHOWN: Final = "busy"
"""The scenario of the pictures in the docs, in both themes."""

_DRAWING_MILLISECONDS: Final = 120_000
_ADDRESS: Final = "http://pictures.invalid"
_HTML: Final = (
    '<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/main.css">'
    '<div id="root"></div><script type="module" src="/main.js"></script>'
)


class DrawingError(Exception):
    """A dashboard was not drawn; the message says which, and why."""


def _answer(bundle: Path, board: Path, server: Prometheus) -> Callable[[Route], None]:
    files = {
        "/main.js": ("text/javascript", bundle / "main.js"),
        "/main.css": ("text/css", bundle / "main.css"),
        "/dashboard.json": ("application/json", board),
    }

    def answer(route: Route) -> None:
        url = urllib.parse.urlsplit(route.request.url)
        if url.path.startswith("/api/"):
            route.fulfill(response=route.fetch(url=f"{server.base_url}{url.path}"))
        elif url.path in files:
            kind, file = files[url.path]
            route.fulfill(content_type=kind, path=file)
        elif url.path == "/":
            route.fulfill(content_type="text/html", body=_HTML)
        else:
            route.fulfill(status=404)

    return answer


def _drawn(page: Page, board: Path, theme: str, end: int) -> list[dict[str, Any]]:
    """Draws a dashboard. Returns each panel's title, number of series, and error if any."""
    window = {"theme": theme, "start": end - SECONDS, "end": end, "step": 2 * STEP}
    page.goto(f"{_ADDRESS}/?{urllib.parse.urlencode(window)}")
    page.wait_for_function("window.drawn || window.failed", timeout=_DRAWING_MILLISECONDS)
    failure = page.evaluate("window.failed")
    if failure:
        raise DrawingError(f"{board.name} was not drawn: {failure}")
    panels: list[dict[str, Any]] = page.evaluate("window.panels")
    return panels


def _pictures(
    browser: Browser, bundle: Path, server: Prometheus, scenario: str, end: int
) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    for board in sorted(GENERATED.glob("*.json")):
        for theme in THEMES:
            page = browser.new_page(viewport={"width": 1600, "height": 1000})
            page.route("**/*", _answer(bundle, board, server))
            panels = _drawn(page, board, theme, end)
            picture = PICTURES / f"{board.stem}-{scenario}-{theme}.png"
            page.screenshot(path=picture, full_page=True)
            page.close()
            yield picture, panels


def _draw(bundle: Path, chromium: str) -> int:
    """Draws everything. Returns how many panels of the busy service had an error or no data."""
    end = int(time.time()) // STEP * STEP - 60
    missing = 0
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for service in scenarios():
            directory = Path(scratch) / service.name
            write_blocks(service, directory / "data", end)
            with run_prometheus({"scrape_configs": []}, directory) as server:
                for picture, panels in _pictures(browser, bundle, server, service.name, end):
                    bare = [panel for panel in panels if panel.get("error") or not panel["series"]]
                    print(f"{picture.relative_to(ROOT)}: {len(panels)} panels", flush=True)
                    if service.name == "busy":
                        missing += len(bare)
                        for panel in bare:
                            print(f"  {panel['title']}: {panel.get('error') or 'no data'}")
        browser.close()
    return missing


def main() -> int:
    """Draw, and renew the docs' pictures if asked to."""
    parser = argparse.ArgumentParser(prog="make pictures", description=__doc__)
    parser.add_argument("--docs", action="store_true", help="renew the pictures of the docs")
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    absent = [name for name in ("chromium", "prometheus", "promtool") if not shutil.which(name)]
    if absent or chromium is None:
        print(f"not installed: {', '.join(absent)}. As root: apt-get install chromium prometheus")
        return 2
    PICTURES.mkdir(parents=True, exist_ok=True)
    try:
        missing = _draw(bundled(), chromium)
    except (NodeError, DrawingError) as error:
        print(error, file=sys.stderr)
        return 1
    if options.docs:
        DOCS.mkdir(parents=True, exist_ok=True)
        for theme in THEMES:
            for picture in PICTURES.glob(f"*-{SHOWN}-{theme}.png"):
                board = picture.stem.removesuffix(f"-{SHOWN}-{theme}")
                shutil.copy(picture, DOCS / f"{board}-{theme}.png")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
