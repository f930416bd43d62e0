"""A LoRA adapter for the larger model, in the form of PEFT."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from support.larger_model import HIDDEN, LAYERS, QUERIES

RANK = 8


def write(directory: Path) -> Path:
    """Write an adapter of the queries' projections with small random weights."""
    directory.mkdir()
    random = np.random.default_rng(0)
    weights = {}
    for layer in range(LAYERS):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        for part, shape in (("lora_A", (RANK, HIDDEN)), ("lora_B", (QUERIES, RANK))):
            values = random.normal(scale=0.02, size=shape)
            weights[f"{name}.{part}.weight"] = values.astype(np.float32)
    save_file(weights, directory / "adapter_model.safetensors")
    configuration = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "larger",
        "r": RANK,
        "lora_alpha": RANK,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": ["q_proj"],
    }
    (directory / "adapter_config.json").write_text(json.dumps(configuration))
    return directory
