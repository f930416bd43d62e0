"""The tiny model with a tokenizer that has tokens for reasoning and for calls of tools.

vLLM's parsers look for these tokens. The model knows nothing of them, so a request makes it say
what a regular expression demands, with a bias towards the tokens.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

TOKENS: Final = ("<think>", "</think>", "<tool_call>", "</tool_call>")
ARGUMENTS: Final = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes",
                    "--reasoning-parser", "qwen3",
                    "--structured-outputs-config", '{"enable_in_reasoning": true}')  # fmt: skip
# The demo's template expects texts only.
_TEMPLATE: Final = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{{ message['content'] if message['content'] is string else '' }}"
    "{{ '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def talking(model: Path, directory: Path) -> Path:
    """A copy of the tiny model in `directory` whose last tokens are `TOKENS`."""
    copy = directory / "talking"
    shutil.copytree(model, copy)
    path = copy / "tokenizer.json"
    tokenizer: dict[str, Any] = json.loads(path.read_text("utf-8"))
    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    first = len(vocabulary) - len(TOKENS)
    replaced = {token for token, number in vocabulary.items() if number >= first}
    tokenizer["model"]["vocab"] = {
        token: number for token, number in vocabulary.items() if token not in replaced
    }
    tokenizer["model"]["merges"] = [
        merge for merge in tokenizer["model"]["merges"] if "".join(merge) not in replaced
    ]
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    tokenizer["added_tokens"] += [
        {"id": first + place, "content": token, **flags} for place, token in enumerate(TOKENS)
    ]
    path.write_text(json.dumps(tokenizer), "utf-8")
    (copy / "chat_template.jinja").write_text(_TEMPLATE, "utf-8")
    return copy


def made_to_say(text: str) -> dict[str, Any]:
    """What a request needs so that the model says `text`, which may hold `TOKENS`."""
    pattern = "".join(f"\\{c}" if c in '{}[]()."\\?*+|' and c != '"' else c for c in text)
    return {
        "structured_outputs": {"regex": pattern},
        "logit_bias": {str(1020 + place): 100.0 for place in range(len(TOKENS))},
    }
