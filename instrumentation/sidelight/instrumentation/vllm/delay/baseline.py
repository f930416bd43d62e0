"""What a step takes without disturbance: running medians of the steps of one engine.

Medians, because single steps are disturbed by the machine. Running ones, because steps become
longer as contexts grow, and change with the model's warmth.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from statistics import median
from typing import Final, NamedTuple

# Upper bounds of the batch sizes that share a median; larger batches share the last one.
BATCH_BUCKETS: Final = (
    1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048,
)  # fmt: skip
TOKEN_BUCKETS: Final = tuple(2**power for power in range(4, 21))
MAX_SAMPLES: Final = 63
# Fewer samples are an estimate: the first steps of a process are several times slower.
MIN_STEP_SAMPLES: Final = 8
MIN_PROMPT_SAMPLES: Final = 3


class Expected(NamedTuple):
    """Expected seconds. `measured` is False if they come from too few or from other samples."""

    seconds: float
    measured: bool


class RunningMedians:
    """Running medians of seconds by size, with linear interpolation between the sizes."""

    def __init__(self, buckets: tuple[int, ...], min_samples: int) -> None:
        self._buckets = buckets
        self._min_samples = min_samples
        self._samples: dict[int, deque[tuple[int, float]]] = {}
        self._points: list[tuple[float, float, bool]] | None = None

    def add(self, size: int, seconds: float) -> None:
        """Add a sample. The oldest of the same bucket is dropped beyond `MAX_SAMPLES`."""
        bucket = min(bisect_left(self._buckets, size), len(self._buckets) - 1)
        self._samples.setdefault(bucket, deque(maxlen=MAX_SAMPLES)).append((size, seconds))
        self._points = None

    def expected(self, size: int) -> Expected | None:
        """Seconds at a size; None without any sample.

        Between two sizes they are interpolated. Beyond the largest and below the smallest size
        they are extrapolated along the two next sizes, which is an estimate.
        """
        points = self._sorted_points()
        if not points:
            return None
        at = bisect_left(points, (float(size), 0.0, False))
        if at < len(points) and points[at][0] == size:
            return Expected(points[at][1], points[at][2])
        if 0 < at < len(points):
            (x, low, well_known), (next_x, high, next_well_known) = points[at - 1 : at + 1]
            seconds = low + (high - low) * (size - x) / (next_x - x)
            return Expected(seconds, well_known and next_well_known)
        return Expected(self._extrapolated(points, size), measured=False)

    def __len__(self) -> int:
        return sum(len(samples) for samples in self._samples.values())

    @staticmethod
    def _extrapolated(points: list[tuple[float, float, bool]], size: int) -> float:
        if len(points) == 1:
            return points[0][1]
        (x, low, _), (next_x, high, _) = points[:2] if size < points[0][0] else points[-2:]
        # A larger size never takes less time, and no size takes none.
        slope = max(0.0, (high - low) / (next_x - x))
        nearest_x, nearest = (x, low) if size < points[0][0] else (next_x, high)
        return max(nearest + slope * (size - nearest_x), nearest / 2)

    def _sorted_points(self) -> list[tuple[float, float, bool]]:
        if self._points is None:
            highest = 0.0
            self._points = []
            well_known = [
                bucket
                for bucket, samples in self._samples.items()
                if len(samples) >= self._min_samples
            ]
            # Buckets with few samples count only as long as there is nothing better.
            for bucket in sorted(well_known or self._samples):
                samples = self._samples[bucket]
                highest = max(highest, median(seconds for _, seconds in samples))
                mean_size = sum(size for size, _ in samples) / len(samples)
                self._points.append((mean_size, highest, bool(well_known)))
        return self._points


class StepBaseline:
    """What one engine's work takes undisturbed. Bounded: 55 buckets of 63 samples."""

    def __init__(self) -> None:
        self._decode = RunningMedians(BATCH_BUCKETS, MIN_STEP_SAMPLES)
        self._prefill = RunningMedians(TOKEN_BUCKETS, MIN_PROMPT_SAMPLES)
        self._prepare = RunningMedians(TOKEN_BUCKETS, MIN_PROMPT_SAMPLES)

    def learn_decode(self, batch: int, seconds: float) -> None:
        """Learn from a step that only decoded, with `batch` requests."""
        self._decode.add(batch, seconds)

    def learn_prefill(self, tokens: int, seconds: float) -> None:
        """Learn from a prompt that was computed without others: from scheduled to first token."""
        self._prefill.add(tokens, seconds)

    def learn_prepare(self, tokens: int, seconds: float) -> None:
        """Learn from a prompt that came to an idle engine: from its arrival to queued."""
        self._prepare.add(tokens, seconds)

    def decode(self, batch: int) -> Expected | None:
        """Seconds of a step that only decodes, with `batch` requests; None before the first."""
        return self._decode.expected(batch)

    def prefill(self, tokens: int) -> Expected | None:
        """Seconds to compute a prompt without others; None before the first sample."""
        return self._prefill.expected(tokens)

    def prepare(self, tokens: int) -> Expected | None:
        """Seconds from arrival to queued with an idle engine; None before the first sample."""
        return self._prepare.expected(tokens)

    def samples(self) -> int:
        """How many samples are kept."""
        return len(self._decode) + len(self._prefill) + len(self._prepare)
