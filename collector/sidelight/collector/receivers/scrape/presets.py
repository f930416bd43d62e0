"""Expositions of servers that are known: where they are, and which families are worth keeping.

The names were read from vLLM 0.32, Milvus 2.3.5 and the source of Qdrant 1.19. What is left out
is of use to those who develop the server: queues between its parts, its garbage collector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit, urlunsplit

PresetName = Literal["vllm", "milvus", "qdrant", "chroma"]

_PROCESS: Final = (
    "process_cpu_seconds*",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_start_time_seconds",
)


@dataclass(frozen=True, slots=True)
class Preset:
    """Port and families of a kind of server; `*` and `?` match, no families are all of them."""

    port: int
    families: tuple[str, ...] = ()


PRESETS: Final[dict[str, Preset]] = {
    "vllm": Preset(8000),
    "milvus": Preset(
        9091,
        (
            "milvus_proxy_req_count",
            "milvus_proxy_req_latency",
            "milvus_proxy_sq_*",
            "milvus_proxy_search_vectors_count",
            "milvus_proxy_received_nq",
            "milvus_proxy_executing_total_nq",
            "milvus_proxy_insert_vectors_count",
            "milvus_proxy_mutation_latency",
            "milvus_proxy_cache_hit_count",
            "milvus_proxy_*_bytes_count",
            "milvus_proxy_tt_lag_ms",
            "milvus_querynode_sq_*",
            "milvus_querynode_search_nq",
            "milvus_querynode_search_topk",
            "milvus_querynode_read_task_*",
            "milvus_querynode_segment_num",
            "milvus_querynode_entity_*",
            "milvus_querynode_collection_num",
            "milvus_querynode_disk_used_size",
            "milvus_querynode_consume_tt_lag_ms",
            "milvus_querycoord_load_*",
            "milvus_querycoord_querynode_num",
            "milvus_datacoord_collection_num",
            "milvus_datacoord_segment_num",
            "milvus_datacoord_stored_*",
            "milvus_datacoord_index_req_count",
            "milvus_datanode_consume_tt_lag_ms",
            "milvus_rootcoord_collection_num",
            "milvus_rootcoord_ddl_req_*",
            "milvus_rootcoord_quota_states",
            "milvus_num_node",
            *_PROCESS,
        ),
    ),
    "qdrant": Preset(
        6333,
        (
            "app_*",
            "collections_*",
            "collection_*",
            "rest_responses_*",
            "grpc_responses_*",
            "memory_active_bytes",
            "memory_allocated_bytes",
            "memory_resident_bytes",
            "cluster_enabled",
            "cluster_peers_total",
            "cluster_pending_operations_total",
            "cluster_voter",
            *_PROCESS,
        ),
    ),
}


def address(preset: Preset, url: str) -> str:
    """A URL with the preset's port and /metrics where it names none.

    Raises `ValueError` if it is no URL with a host.
    """
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError("must be an http:// or https:// URL with a host")
    place = parts.netloc if parts.port is not None else f"{parts.netloc}:{preset.port}"
    path = parts.path if parts.path.strip("/") else "/metrics"
    return urlunsplit((parts.scheme, place, path, parts.query, parts.fragment))
