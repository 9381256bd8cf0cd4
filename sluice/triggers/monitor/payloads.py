"""The rows of logged requests, counted in the bins of the reference.

A request is in the protocol of Seldon's model servers (V1): ``{"data": {"names": […], "ndarray": [[…], …]}}``, or ``"tensor":
{"shape": [rows, columns], "values": […]}``. A request that the model server refuses must not count, because its rows never
reached the model: a client with a wrong program would look like drift. Therefore a request counts as a whole or not at all. It
needs every column of the reference exactly once, and in each cell a value of the kind that the reference has.
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, time
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa

from sluice.drift.batches import Batch
from sluice.drift.columns import Kind
from sluice.drift.profiles import DriftProfile, count_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sluice.drift.references import DriftReference, ReferenceColumn

_MOST_NAMES = 10_000
_TENSOR_DIMENSIONS = 2
_NULL = type(None)
_NUMBERS, _TEXTS = frozenset({int, float, bool, _NULL}), frozenset({str, _NULL})
_SECRET = secrets.token_bytes(16)
"""Key of the hashes of new categories. It is never stored, so that nobody can test whether a text was sent."""

REASONS = ("not JSON", "not the V1 protocol", "no names", "columns", "row length", "cell type", "time")
"""Why a request cannot be counted. These are all values of the metric's label."""


class UnusableRequestError(Exception):
    """A request that cannot be counted. The text is one of `REASONS`."""


@dataclass(frozen=True, slots=True)
class Counted:
    """The counts of some requests.

    Attributes:
        profile: Their rows in the bins of the reference. New categories have hashes instead of names.
        requests: Number of requests that were counted.
        unusable: Reason → number of requests that were not.
    """

    profile: DriftProfile
    requests: int
    unusable: Mapping[str, int]


class RequestCounter:
    """Counts requests in the bins of one reference."""

    def __init__(self, reference: DriftReference) -> None:
        """Compute the digest of the reference once."""
        self.reference, self.digest = reference, reference.digest

    def count(self, bodies: Iterable[Any]) -> Counted:
        """Count requests, all together.

        Args:
            bodies: The body of each request, as bytes or as parsed JSON.
        """
        unusable: Counter[str] = Counter()
        groups: defaultdict[tuple[str, ...], list[list[Sequence[Any]]]] = defaultdict(list)
        for body in bodies:
            try:
                names, rows = read_rows(body)
            except UnusableRequestError as error:
                unusable[str(error)] += 1
            else:
                groups[names].append(rows)
        profile, counted = DriftProfile(reference=self.digest), 0
        for names, requests in groups.items():
            places = {name: place for place, name in enumerate(names)}
            if len(places) < len(names) or not self.reference.columns.keys() <= places.keys():
                unusable["columns"] += len(requests)
                continue
            found, reasons = self._count_group(places, requests)
            profile = profile.merge(found)
            counted += len(requests) - sum(reasons.values())
            unusable += reasons
        return Counted(profile, counted, dict(unusable))

    def _count_group(
        self, places: Mapping[str, int], requests: Sequence[list[Sequence[Any]]]
    ) -> tuple[DriftProfile, Counter[str]]:
        """Count requests with the same columns. If a cell is wrong, each request is read on its own."""
        try:
            return self._count_rows(places, [*chain.from_iterable(requests)]), Counter()
        except UnusableRequestError as error:
            if len(requests) == 1:
                return DriftProfile(reference=self.digest), Counter({str(error): 1})
        middle = len(requests) // 2
        first, second = (self._count_group(places, part) for part in (requests[:middle], requests[middle:]))
        return first[0].merge(second[0]), first[1] + second[1]

    def _count_rows(self, places: Mapping[str, int], rows: Sequence[Sequence[Any]]) -> DriftProfile:
        cells = [*zip(*rows, strict=True)]
        arrays = {
            name: make_array(column, cells[places[name]] if cells else ()) for name, column in self.reference.columns.items()
        }
        profile = count_rows(self.reference, _ArrayRows(arrays, len(rows)))
        return (
            dataclasses.replace(profile, new={name: _hide(found) for name, found in profile.new.items()})
            if profile.new
            else profile
        )


@dataclass(frozen=True, slots=True)
class _ArrayRows:
    """Arrow arrays as the rows of one batch (the protocol `sluice.drift.batches.Rows`)."""

    arrays: Mapping[str, Any]
    rows: int
    source: str = ""
    twice: Collection[str] = ()

    @property
    def types(self) -> Mapping[str, Any]:
        return {name: array.type for name, array in self.arrays.items()}

    def read(
        self, columns: Collection[str], *, texts: Collection[str] = (), kinds: Mapping[str, Kind] | None = None
    ) -> Iterator[Batch]:
        del columns, texts, kinds
        yield Batch(self.rows, self.arrays)


def read_rows(body: Any) -> tuple[tuple[str, ...], list[Sequence[Any]]]:  # noqa: ANN401 - any JSON
    """Read a request: the names of its columns, and its rows with one cell for each name.

    Args:
        body: The request, as bytes or as parsed JSON.

    Raises:
        UnusableRequestError: It is not a request of the V1 protocol with names.
    """
    if isinstance(body, bytes):
        try:
            body = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise UnusableRequestError("not JSON") from None
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, dict):
        raise UnusableRequestError("not the V1 protocol")
    names = data.get("names")
    if not isinstance(names, list) or not 0 < len(names) <= _MOST_NAMES or not {str}.issuperset(map(type, names)):
        raise UnusableRequestError("no names")
    rows = data.get("ndarray") if "ndarray" in data else _read_tensor(data.get("tensor"))
    if not isinstance(rows, list) or not {list}.issuperset(map(type, rows)):
        raise UnusableRequestError("not the V1 protocol")
    if not {len(names)}.issuperset(map(len, rows)):
        raise UnusableRequestError("row length")
    return tuple(names), rows


def _read_tensor(tensor: Any) -> list[Sequence[Any]] | None:  # noqa: ANN401 - any JSON
    shape, values = (tensor.get("shape"), tensor.get("values")) if isinstance(tensor, dict) else (None, None)
    if not isinstance(shape, list) or not isinstance(values, list) or len(shape) != _TENSOR_DIMENSIONS:
        return None
    if not {int}.issuperset(map(type, shape)) or min(shape) < 1 or shape[0] * shape[1] != len(values):
        return None
    return [values[start : start + shape[1]] for start in range(0, len(values), shape[1])]


def make_array(column: ReferenceColumn, cells: Sequence[Any]) -> Any:  # noqa: ANN401 - pyarrow is untyped
    """Return cells of a request as an Arrow array of the kind that the reference has.

    Args:
        column: The column of the reference.
        cells: The values, None for a missing one.

    Raises:
        UnusableRequestError: A cell has another type, or is no time.
    """
    kinds = set(map(type, cells))
    if column.kind is Kind.NUMBER:
        if not kinds <= _NUMBERS:
            raise UnusableRequestError("cell type")
        return pa.array(np.array(cells, dtype=np.float64))
    if column.kind is Kind.CATEGORY:
        if not kinds <= _TEXTS:
            raise UnusableRequestError("cell type")
        return pa.array(cells, type=pa.string())
    if kinds & {list, dict}:
        raise UnusableRequestError("cell type")
    if column.kind is Kind.EMPTY or column.only_missing:  # only whether there is a value counts
        return pa.array([None if cell is None else 0 for cell in cells], type=pa.timestamp("us"))
    if not kinds <= _TEXTS:
        raise UnusableRequestError("cell type")
    read = _read_time_of_day if column.kind is Kind.TIME_OF_DAY else _read_time
    try:
        found = [None if cell is None else read(cell) for cell in cells]
    except ValueError:
        raise UnusableRequestError("time") from None
    return pa.array(found, type=pa.time64("us") if column.kind is Kind.TIME_OF_DAY else pa.timestamp("us"))


def _read_time(text: str) -> datetime:
    """Read a time. Without an offset it is in UTC."""
    read = datetime.fromisoformat(text)
    return read.astimezone(UTC).replace(tzinfo=None) if read.tzinfo else read


def _read_time_of_day(text: str) -> time:
    return time.fromisoformat(text).replace(tzinfo=None)


def _hide(found: Mapping[str, int]) -> dict[str, int]:
    """Replace the names of new categories by hashes, so that the monitor keeps no value of a request, however long."""
    return {hashlib.blake2b(name.encode(), key=_SECRET, digest_size=8).hexdigest(): rows for name, rows in found.items()}
