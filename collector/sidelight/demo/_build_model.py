"""A script for vLLM's environment: creates a tiny model with random weights.

Usage: python _build_model.py TEXT_FILE DIRECTORY

The model is a 2-layer Qwen3. Its byte-level BPE tokenizer is trained on the text, so prompts have
about as many tokens as with a real tokenizer. Answers are gibberish, but queueing, batching,
KV-cache usage and timing are those of a real server.
"""

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

VOCABULARY = 1024
CONTEXT_TOKENS = 4096
END, START, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def tokenizer(text: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with a chat template."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        text.splitlines(),
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[END, START, STOP],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=STOP, pad_token=END, model_max_length=CONTEXT_TOKENS
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def model(end_token_id: int) -> Qwen3ForCausalLM:
    """A Qwen3 with random weights."""
    # The same weights each time: the demo's findings must not depend on chance.
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=CONTEXT_TOKENS,
        eos_token_id=end_token_id,
        tie_word_embeddings=True,
    )
    return Qwen3ForCausalLM(config).to(torch.bfloat16)


def main() -> None:
    text, directory = Path(sys.argv[1]).read_text(encoding="utf-8"), Path(sys.argv[2])
    fast = tokenizer(text)
    fast.save_pretrained(directory)
    model(fast.eos_token_id).save_pretrained(directory)


if __name__ == "__main__":
    main()
