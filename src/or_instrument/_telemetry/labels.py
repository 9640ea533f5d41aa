"""Makes the labels of a call's metric points, each with a bounded number of values: an id as a label is dear.

Model names, operations, providers and error types come from outside, where anybody may make them up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias, TypeGuard

from or_instrument._records import AttributeValue, Call, Failure
from or_instrument._telemetry import names

_log = logging.getLogger("or_instrument")
Labels: TypeAlias = Mapping[str, AttributeValue]
_CACHE_LIMIT: Final = 1024
_OTHER: Final = "other"
_OF_A_CALL: Final = (names.OPERATION, names.PROVIDER, names.REQUEST_MODEL, names.RESPONSE_MODEL, names.SERVED_BY)


class LabelSet(NamedTuple):
    """The labels of a kind of call, made once."""

    common: Labels
    input: Labels
    output: Labels


class LabelSets:
    """The label sets of the calls so far."""

    def __init__(self, metric_attributes: Sequence[str], values_limit: int) -> None:
        self._allowed = tuple((_Values(key, values_limit), _reader(key)) for key in metric_attributes)
        self._of_a_call = tuple(_Values(key, values_limit) for key in _OF_A_CALL)
        self._errors = _Values(names.ERROR_TYPE, values_limit)
        self._cache: dict[tuple[object, ...], LabelSet] = {}

    def of(self, call: Call) -> LabelSet:
        """Return the labels of a call; those of one like an earlier one cost a look into a table."""
        request, reply = call.request, call.reply
        usage = reply.usage
        allowed: tuple[AttributeValue | None, ...] = ()
        if self._allowed:
            allowed = tuple([values.fold(read(call)) for values, read in self._allowed])
        byok = None if usage is None else usage.is_byok
        key = (request.operation, request.provider, request.model, reply.model, reply.provider, byok, allowed)
        labels = self._cache.get(key)
        if labels is None:
            labels = self._made(key[: len(_OF_A_CALL)], byok, allowed)
            if len(self._cache) >= _CACHE_LIMIT:
                self._cache.clear()
            self._cache[key] = labels
        return labels

    def with_error(self, common: Labels, failure: Failure) -> Labels:
        """Return the labels of a call that failed."""
        error_type = self._errors.fold(failure.type)
        return common if error_type is None else {**common, names.ERROR_TYPE: error_type}

    def _made(self, said: Sequence[object], byok: bool | None, allowed: Sequence[AttributeValue | None]) -> LabelSet:
        values: dict[str, AttributeValue | None] = {
            **{values.key: values.fold(value) for values, value in zip(self._of_a_call, said, strict=True)},
            names.IS_BYOK: byok,
            **{values.key: value for (values, _), value in zip(self._allowed, allowed, strict=False)},
        }
        common = {key: value for key, value in values.items() if value is not None}
        return LabelSet(common, {**common, names.TOKEN_TYPE: "input"}, {**common, names.TOKEN_TYPE: "output"})


class _Values:
    """The values that one label has had; those above the limit are folded."""

    def __init__(self, key: str, limit: int) -> None:
        self.key = key
        self._limit = limit
        self._seen: set[AttributeValue] = set()
        self._is_full = False

    def fold(self, value: object) -> AttributeValue | None:
        if value is None:
            return None
        if isinstance(value, list):
            value = tuple(value)
        if not _is_label(value):
            return None
        if value in self._seen:
            return value
        if len(self._seen) < self._limit:
            self._seen.add(value)
            return value
        if not self._is_full:
            self._is_full = True
            _log.warning(
                "the metric attribute %s has had %d values; further ones are counted as %r. Where they are no mistake, "
                "raise metric_values_limit; a key of metric_attributes can be left out",
                self.key,
                self._limit,
                _OTHER,
            )
        return _OTHER


def _reader(key: str) -> Callable[[Call], object]:
    if key == names.SERVICE_TIER:
        return lambda call: call.reply.service_tier
    if key == names.CLIENT:
        return lambda call: call.request.parameters.get(key)
    return lambda call: call.request.attributes.get(key)


def _is_label(value: object) -> TypeGuard[AttributeValue]:
    # Anything else can be no key of a cache, or would cost an exporter its whole batch.
    scalars = value if isinstance(value, tuple) else (value,)
    return all(isinstance(scalar, (str, bool, int, float)) for scalar in scalars)
