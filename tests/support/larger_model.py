"""A model whose step takes the longer, the more tokens and requests are in it.

The demo's model is so small that a step takes what vLLM's own Python does, whatever is in it. This
one has the same tokenizer and as few layers, and 16 times the KV of a token. On one core a step
takes 4 ms with one short request, 7 ms with 1,000 tokens in the KV cache, about 3 ms more for each
other such request, 180 ms with a prompt of 1,000 tokens, and 590 ms with one of 1,900.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.numpy import save_file

LAYERS: Final = 2
HIDDEN: Final = 128
INTERMEDIATE: Final = 512
HEADS: Final = 16
HEAD_SIZE: Final = 128
QUERIES: Final = HEADS * HEAD_SIZE
# Of the weights: small enough for answers that do not repeat one token.
_SCALE: Final = 0.02


def larger(model: Path, directory: Path) -> Path:
    """A copy of the demo's model in `directory` with these dimensions and random weights."""
    copy = directory / "larger"
    shutil.copytree(model, copy)
    path = copy / "config.json"
    configuration: dict[str, Any] = json.loads(path.read_text("utf-8"))
    configuration |= {
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "layer_types": ["full_attention"] * LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": HEAD_SIZE,
    }
    path.write_text(json.dumps(configuration), "utf-8")
    save_file(_weights(configuration["vocab_size"]), copy / "model.safetensors")
    return copy


def _weights(vocabulary: int) -> dict[str, Any]:
    random = np.random.default_rng(0)

    def matrix(rows: int, columns: int) -> Any:
        return random.normal(scale=_SCALE, size=(rows, columns)).astype(np.float16)

    def ones(size: int) -> Any:
        return np.ones(size, np.float16)

    weights = {"model.embed_tokens.weight": matrix(vocabulary, HIDDEN),
               "model.norm.weight": ones(HIDDEN)}  # fmt: skip
    for layer in range(LAYERS):
        weights |= {
            f"model.layers.{layer}.{name}.weight": values
            for name, values in {
                "input_layernorm": ones(HIDDEN),
                "post_attention_layernorm": ones(HIDDEN),
                "self_attn.q_norm": ones(HEAD_SIZE),
                "self_attn.k_norm": ones(HEAD_SIZE),
                "self_attn.q_proj": matrix(QUERIES, HIDDEN),
                "self_attn.k_proj": matrix(QUERIES, HIDDEN),
                "self_attn.v_proj": matrix(QUERIES, HIDDEN),
                "self_attn.o_proj": matrix(HIDDEN, QUERIES),
                "mlp.gate_proj": matrix(INTERMEDIATE, HIDDEN),
                "mlp.up_proj": matrix(INTERMEDIATE, HIDDEN),
                "mlp.down_proj": matrix(HIDDEN, INTERMEDIATE),
            }.items()
        }
    return weights
