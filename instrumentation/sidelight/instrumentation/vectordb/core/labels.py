"""The attributes of a client library's metrics, bounded: an SDK keeps each series for ever.

Names come from apps, and often from their users: collections, tenants, ranking functions. Only a
call that succeeded opens a set of labels, so that names of what does not exist never use up the
bounds of what does.
"""

from __future__ import annotations

from typing import Final

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.call import DatabaseCall
from sidelight.instrumentation.vectordb.core.failures import Failure
from sidelight.instrumentation.vectordb.core.scores import NO_SCALE, ScoreScale
from sidelight.instrumentation.vectordb.core.target import Attributes, CallTarget

# Some apps make a collection for each user or session.
MAX_MEASURED_COLLECTIONS: Final = 500
MAX_MEASURED_SERVERS: Final = 64
# Of all collections together: metric types, rankers and fields.
MAX_SCORE_SCALES: Final = 256
MAX_ERRORS: Final = 64
MAX_CACHED: Final = 4_096
OTHER: Final = "other"
# What the conventions call an error type beyond a bound.
_OTHER_ERROR: Final = "_OTHER"

_Server = tuple[str | None, int | None]
_Collection = tuple[str | None, str | None]


class CallLabels:
    """The attributes of metrics; the first names that calls succeeded with are kept."""

    def __init__(self, system: str) -> None:
        self._system: Final = system
        self._servers: set[_Server] = {(None, None)}
        self._collections: set[_Collection] = {(None, None)}
        self._scales: set[ScoreScale] = {NO_SCALE}
        self._errors: set[tuple[str, str | None]] = set()
        # By target, of which there is one for each operation and collection.
        self._built: dict[tuple[CallTarget, ScoreScale], Attributes] = {}

    def of_call(self, call: DatabaseCall) -> Attributes:
        """Attributes of a call's duration and counts, with those of its failure."""
        scale = ScoreScale(call.metric_type, call.ranker)
        failure = call.failure
        if failure is None:
            self._admit(scale)
            return self._of(call, scale) or self._of(call, NO_SCALE) or {}
        shown = self._of(call, scale) or self._of(call, NO_SCALE) or {}
        return {**shown, **self._of_failure(failure)}

    def of_scores(self, call: DatabaseCall, scale: ScoreScale) -> Attributes | None:
        """Attributes of scores on `scale`; None beyond the bound, as scales must never mix."""
        self._admit(scale)
        return self._of(call, scale)

    def _admit(self, scale: ScoreScale) -> None:
        if len(self._scales) < MAX_SCORE_SCALES:
            self._scales.add(scale)

    def _of(self, call: DatabaseCall, scale: ScoreScale) -> Attributes | None:
        """The attributes of a target with a scale that is known; None with one that is not."""
        target = call.target
        if target is None or scale not in self._scales:
            return None
        key = (target, scale)
        attributes = self._built.get(key)
        if attributes is None:
            address, port, namespace, collection = target.collection_address
            admit = call.failure is None
            attributes = self._build(
                target.operation,
                self._shown_server((address, port), admit),
                self._shown_collection((namespace, collection), admit),
                scale,
            )
            # What is shown of a failed call may be less than of the same call once it succeeds.
            if admit:
                if len(self._built) >= MAX_CACHED:
                    self._built.clear()
                self._built[key] = attributes
        return attributes

    def _build(
        self, operation: str, server: _Server, collection: _Collection, scale: ScoreScale
    ) -> Attributes:
        shown = {
            names.SERVER_ADDRESS: server[0],
            names.SERVER_PORT: server[1],
            names.DB_NAMESPACE: collection[0],
            names.DB_COLLECTION: collection[1],
            names.DB_OPERATION: operation,
            names.DB_SYSTEM: self._system,
            names.VECTOR_METRIC_TYPE: scale.metric_type,
            names.VECTOR_RANKER: scale.ranker,
            names.VECTOR_FIELD: scale.field,
        }
        return {name: value for name, value in shown.items() if value}

    def _shown_server(self, server: _Server, admit: bool) -> _Server:
        if admit and len(self._servers) <= MAX_MEASURED_SERVERS:
            self._servers.add(server)
        return server if server in self._servers else (OTHER, None)

    def _shown_collection(self, collection: _Collection, admit: bool) -> _Collection:
        if admit and len(self._collections) <= MAX_MEASURED_COLLECTIONS:
            self._collections.add(collection)
        if collection in self._collections:
            return collection
        namespace, name = collection
        return namespace and OTHER, name and OTHER

    def _of_failure(self, failure: Failure) -> Attributes:
        error = (failure.error_type, failure.code)
        if len(self._errors) < MAX_ERRORS:
            self._errors.add(error)
        if error not in self._errors:
            return {names.ERROR_TYPE: _OTHER_ERROR}
        shown: Attributes = {names.ERROR_TYPE: failure.error_type}
        if failure.code is not None:
            shown[names.DB_STATUS_CODE] = failure.code
        return shown
