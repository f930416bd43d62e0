"""Switching the observation of pymilvus on and off."""

from __future__ import annotations

import pytest
from pymilvus.client.grpc_handler import GrpcHandler

from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb import milvus

# The ORM goes on working until pymilvus 3.1, and so do these tests of it.
pytestmark = pytest.mark.filterwarnings("ignore::pymilvus.decorators.PyMilvusDeprecationWarning")


def test_uninstrument_restores_every_original() -> None:
    """After `uninstrument` pymilvus has the very functions it had before."""
    from pymilvus.client import async_grpc_handler, grpc_handler
    from pymilvus.client.iterator import QueryIterator, SearchIterator, SearchIteratorV2

    owners = (
        GrpcHandler, async_grpc_handler.AsyncGrpcHandler, grpc_handler, async_grpc_handler,
        QueryIterator, SearchIterator, SearchIteratorV2,
    )  # fmt: skip
    before = [dict(vars(owner)) for owner in owners]

    milvus.instrument()
    during = [dict(vars(owner)) for owner in owners]
    milvus.instrument()
    milvus.uninstrument()

    after = [dict(vars(owner)) for owner in owners]
    for original, changed, restored in zip(before, during, after, strict=True):
        assert any(changed[name] is not original[name] for name in original)
        assert all(restored[name] is original[name] for name in original)


def test_disabled_settings_change_nothing() -> None:
    """`SIDELIGHT_DISABLED` leaves pymilvus alone."""
    before = dict(vars(GrpcHandler))

    milvus.instrument(settings=Settings(disabled=True))

    assert dict(vars(GrpcHandler)) == before
