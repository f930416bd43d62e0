"""`make bench-docs`: figures of docs/benchmarks.md and README.md from build/bench/collector.json.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; all else is written by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.collector.run import ROOT
from bench.collector.tables import TABLES, Figures, number
from bench.report import read

PAGE = ROOT / "docs" / "benchmarks.md"
README = ROOT / "README.md"
IMAGES = ROOT / "docs" / "images"
FIGURES = ROOT / "build" / "bench" / "collector.json"
_BLOCK = re.compile(r"(<!-- table: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def blocks(text: str) -> dict[str, str]:
    """The tables of a page by name."""
    return {found[2]: found[0] for found in _BLOCK.finditer(text)}


def filled(text: str, figures: Figures, about: Mapping[str, Any]) -> str:
    """The page with every table made anew.

    Raises `KeyError` with the name of a figure that is missing.
    """
    return _BLOCK.sub(
        lambda found: f"{found[1]}{TABLES[found[2]](figures, about)}\n{found[3]}", text
    )


def with_figures(readme: str, figures: Figures) -> str:
    """README.md with its two figures of the collector."""
    for start, name, end in (
        ("| CPU for a span that needs no change, durable | **", "http: CPU", " µs**"),
        ("| CPU for a span of another instrumentation, durable | **", "mix: CPU", " µs**, made"),
    ):
        value = number(figures[name].value)
        readme = re.sub(
            f"({re.escape(start)})[0-9.,]+({re.escape(end)})", rf"\g<1>{value}\g<2>", readme
        )
    return readme


def main() -> int:
    """Write the page, its pictures, and the figures of README.md."""
    parser = argparse.ArgumentParser(prog="make bench-docs", description=__doc__)
    parser.add_argument("--figures", type=Path, default=FIGURES)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--images", type=Path, default=IMAGES)
    parser.add_argument("--readme", type=Path, default=README)
    options = parser.parse_args()
    try:
        figures, about = read(options.figures)
        text = filled(options.page.read_text(), figures, about)
        readme = with_figures(options.readme.read_text(), figures)
        # Only here, so that tables can be made and tested without it.
        from bench.collector.plots import draw

        pictures = draw(figures, options.images)
    except FileNotFoundError as missing:
        sys.stderr.write(f"{missing.filename} is missing: run `make bench` first\n")
        return 1
    except KeyError as missing:
        sys.stderr.write(f"{options.figures} lacks {missing}: run `make bench` without options\n")
        return 1
    except ImportError:
        sys.stderr.write("matplotlib is missing: pip install -c constraints.txt -e '.[bench]'\n")
        return 1
    options.page.write_text(text)
    options.readme.write_text(readme)
    print("\n".join(str(path) for path in (options.page, options.readme, *pictures)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
