"""The KV cache in depth: where prompts come from, and how long blocks live."""

from __future__ import annotations

from sidelight.dashboards.panels.panel import (
    BY_ENGINE,
    COUNT,
    COUNTS_PER_SECOND,
    HALF,
    SECONDS,
    SPREAD,
    Panel,
    PanelQuery,
    Row,
    by,
    quantiles,
)
from sidelight.dashboards.queries import kv_cache as queries
from sidelight.dashboards.view import View


def row(view: View) -> Row:
    """Sources, tiers and blocks."""
    return Row(
        "KV cache in depth",
        (
            prompt_by_source(view),
            cached_by_tier(view),
            shared_cache(view),
            block_idle(view),
            block_reuse_gap(view),
            block_lifetime(view),
            eviction_age(view),
            configuration(view),
        ),
    )


def prompt_by_source(view: View) -> Panel:
    """Computed, found or transferred."""
    return Panel(
        "Prompt tokens by source",
        "Prompt tokens per second that were computed, found in the prefix cache or transferred "
        "from another server. vLLM 0.20 and later.",
        COUNTS_PER_SECOND,
        (PanelQuery(queries.prompt_tokens_by_source(view), by("source")),),
        width=HALF,
        stacked=True,
    )


def cached_by_tier(view: View) -> Panel:
    """Which tier supplied them."""
    return Panel(
        "Cache hits by tier",
        "Prompt tokens per second found in a cache, by tier: device, host memory, disk or another "
        "server. vLLM 0.32 and later.",
        COUNTS_PER_SECOND,
        (PanelQuery(queries.cached_tokens_by_tier(view), by("source")),),
        width=HALF,
        stacked=True,
    )


def shared_cache(view: View) -> Panel:
    """What a shared cache gives."""
    return Panel(
        "Shared KV cache",
        "Prompt tokens per second that were looked up and found in a KV cache shared by servers. "
        "Zero without a KV connector. vLLM 0.11 and later.",
        COUNTS_PER_SECOND,
        (
            PanelQuery(queries.shared_cache_lookups(view), "looked up"),
            PanelQuery(queries.shared_cache_hits(view), "found"),
        ),
        soft_maximum=1,
    )


def block_idle(view: View) -> Panel:
    """How long evicted blocks had been idle."""
    return Panel(
        "Idle time before eviction",
        "Time that a KV block was not used before it was evicted. If it is shorter than the reuse "
        "gap, blocks are evicted before they would be used again, and a larger cache would raise "
        "the hit ratio. With `--kv-cache-metrics`.",
        SECONDS,
        quantiles(queries.block_idle_quantile, view, SPREAD),
    )


def block_reuse_gap(view: View) -> Panel:
    """How soon blocks are used again."""
    return Panel(
        "Reuse gap",
        "Time between two uses of a KV block. Compare with the idle time before eviction. With "
        "`--kv-cache-metrics`.",
        SECONDS,
        quantiles(queries.block_reuse_gap_quantile, view, SPREAD),
    )


def block_lifetime(view: View) -> Panel:
    """How long blocks live."""
    return Panel(
        "Block lifetime",
        "Time from the allocation of a KV block to its eviction. With `--kv-cache-metrics`.",
        SECONDS,
        quantiles(queries.block_lifetime_quantile, view, SPREAD),
        width=HALF,
    )


def eviction_age(view: View) -> Panel:
    """How old blocks become, as the engine told the plugin."""
    return Panel(
        "Age at eviction, distribution",
        "KV blocks per second that were evicted, by their age, of those that vLLM samples. A "
        "prompt whose prefix comes back later than that is computed again. With "
        "`--kv-cache-metrics`.",
        SECONDS,
        (PanelQuery(queries.eviction_age_heatmap(view), by("le")),),
        kind="heatmap",
        width=HALF,
    )


def configuration(view: View) -> Panel:
    """What the cache was set to."""
    return Panel(
        "KV-cache configuration",
        "Blocks, tokens of a block, type, prefix caching and `--gpu-memory-utilization` of each "
        "engine. Engines of one model that differ were started with other options or on other "
        "GPUs. The variable Model does not apply.",
        COUNT,
        (
            PanelQuery(
                queries.configuration(view),
                f"{BY_ENGINE}: {{{{num_gpu_blocks}}}} blocks of {{{{block_size}}}} tokens, "
                "type {{cache_dtype}}, prefix caching {{enable_prefix_caching}}, "
                "memory {{gpu_memory_utilization}}",
            ),
        ),
        kind="stat",
        width=24,
        height=4,
        empty_text="no vLLM server",
        shows_names=True,
    )
