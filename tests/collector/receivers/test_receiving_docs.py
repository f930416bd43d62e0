"""The reference of receiving: its examples are valid, and what it lists is what there is."""

from __future__ import annotations

import re
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel

from sidelight import conventions as c
from sidelight.base.auth import tokens
from sidelight.base.auth.config import Tokens
from sidelight.base.auth.guard import Reason
from sidelight.base.http_server import HandshakeFault
from sidelight.base.http_server.reader import MAX_HEAD_BYTES
from sidelight.base.tls.config import Tls
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.configuration.live import is_live
from sidelight.collector.receivers.common.admission import MAX_PROJECT_CHARACTERS, PROJECT_HEADER
from sidelight.collector.receivers.langfuse_api import api as langfuse
from sidelight.collector.receivers.langfuse_api.config import LangfuseApi, LangfuseKey
from sidelight.collector.receivers.otlp_grpc.receiver import MAX_CONNECTIONS
from sidelight.collector.receivers.otlp_http import receiver as otlp_http
from support.paths import DOCS

TEXT = (DOCS / "receiving.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_valid(example: str) -> None:
    """Each can be put into sidelight.yaml as it stands."""
    assert Config.model_validate(yaml.safe_load(example)) != Config()


def test_the_token_file_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds two tokens of a tenant, one of nobody and one of anybody."""
    (example,) = re.findall(r"```\n(# tenant.*?)```", TEXT, re.DOTALL)
    monkeypatch.setenv("TOKENS", example)
    found = list(tokens.of_tokens([Tokens(env="TOKENS")], "auth.tokens"))
    assert [tenant for _, tenant in found] == ["team-a", "team-a", None, "*"]


def test_every_key_is_told() -> None:
    """Of what guards a port."""
    models: tuple[type[BaseModel], ...] = (Tls, Tokens, LangfuseApi, LangfuseKey)
    keys = {key for model in models for key in model.model_fields}
    assert {key for key in keys if not re.search(rf"\b{key}\b", TEXT)} == set()


def test_every_path_and_reason_is_told() -> None:
    """Those of the code, in the tables."""
    paths = {*otlp_http.PATHS, *langfuse.OTLP_PATHS, langfuse.HEALTH_PATH, langfuse.PROJECTS_PATH}
    assert {each for each in paths if f"`{each}`" not in TEXT} == set()
    reasons = {*get_args(Reason), *get_args(HandshakeFault)}
    table = TEXT.partition("## Metrics")[2]
    assert {each for each in reasons if not re.search(rf"\b{each}\b", table)} == set()
    for metric in (c.COLLECTOR_UNAUTHORIZED, c.COLLECTOR_HANDSHAKES_FAILED, c.COLLECTOR_REQUESTS):
        assert f"`{c.prometheus_name(metric)}_total`" in TEXT


def test_numbers_are_those_of_the_code() -> None:
    """A limit that is changed is changed here too."""
    assert f"has {tokens.MIN_TOKEN_CHARACTERS} characters or more" in TEXT
    assert f"Above {MAX_PROJECT_CHARACTERS} characters" in TEXT
    assert f"| {MAX_HEAD_BYTES // 1024} KiB |" in TEXT
    assert f"gRPC {MAX_CONNECTIONS}" in TEXT
    assert f"`{c.TENANT}`" in TEXT
    assert f"`{PROJECT_HEADER}`" in TEXT


@pytest.mark.parametrize("key", ["auth.tokens", "receivers.langfuse_api.keys", "serve.tls.key"])
def test_sources_need_a_restart(key: str) -> None:
    """As the page says; what their files hold does not."""
    assert not is_live(key)
