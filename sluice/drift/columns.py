"""What a column is for the comparison: numbers, categories, times, empty, or nothing that can be compared.

The type of the file decides, not the values, with three exceptions, which keep a change of storage from looking like drift.
Booleans are the numbers 0 and 1. Whole numbers, decimals and floats are all numbers, because a missing value turns a column of
ints into floats. A column without any value fits every kind.
"""

from __future__ import annotations

import re
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from sluice.statistics.samples import Floats

GROUPS = 10
"""Number of groups of the texts of a column that has too many different ones."""

_ISO_TIME = re.compile(r"\d{4}-\d{2}(-\d{2}([T ]\d{2}:\d{2}.*)?)?\s*")


class Kind(StrEnum):
    """What the values of a column are."""

    NUMBER = "number"
    CATEGORY = "category"
    TIME = "time"
    TIME_OF_DAY = "time of day"
    EMPTY = "empty"
    UNSUPPORTED = "unsupported"

    @property
    def plural(self) -> str:
        """The values in a message."""
        return _PLURALS[self]


_PLURALS = {
    Kind.NUMBER: "numbers",
    Kind.CATEGORY: "text",
    Kind.TIME: "dates or times",
    Kind.TIME_OF_DAY: "times of day",
    Kind.EMPTY: "no values",
    Kind.UNSUPPORTED: "values that cannot be compared",
}


def classify_type(kind: Any) -> Kind:  # noqa: ANN401 - pyarrow is untyped
    """Return what a column of this Arrow type holds. A dictionary is what its values are."""
    types = pa.types
    if types.is_dictionary(kind):
        return classify_type(kind.value_type)
    if (
        types.is_boolean(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_duration(kind)
    ):
        return Kind.NUMBER
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return Kind.CATEGORY
    if types.is_time(kind):
        return Kind.TIME_OF_DAY
    if types.is_temporal(kind):
        return Kind.TIME
    return Kind.EMPTY if types.is_null(kind) else Kind.UNSUPPORTED


NOT_UTF8 = "it holds text that is not valid UTF-8"


def describe_unsupported(kind: Any) -> str:  # noqa: ANN401 - pyarrow is untyped
    """Say why a column of this Arrow type cannot be compared."""
    types = pa.types
    if types.is_nested(kind) and not types.is_dictionary(kind):
        return "it holds lists or other nested values"
    return "it holds bytes" if "binary" in str(kind) else f"it holds values of the type {kind}"


def find_kind(array: Any) -> Kind:  # noqa: ANN401 - pyarrow is untyped
    """Return what an Arrow array holds. An array without any value is empty, whatever its type."""
    kind = classify_type(array.type)
    return Kind.EMPTY if kind is not Kind.UNSUPPORTED and count_missing(array) == len(array) else kind


def count_missing(array: Any) -> int:  # noqa: ANN401 - pyarrow is untyped
    """Return the number of missing values. NaN is one."""
    nulls = int(array.null_count)
    if pa.types.is_floating(array.type) and nulls < len(array):
        nulls += int(pc.sum(pc.is_nan(array)).as_py() or 0)
    return nulls


def read_numbers(array: Any) -> Floats:  # noqa: ANN401 - pyarrow is untyped
    """Return an Arrow array of numbers or times as floats, shape (rows,). Missing values are NaN, and times are microseconds.

    Raises:
        ValueError: The array holds neither numbers nor times.
    """
    kind = classify_type(array.type)
    if kind is Kind.EMPTY:
        return np.full(len(array), np.nan)
    if kind not in {Kind.NUMBER, Kind.TIME, Kind.TIME_OF_DAY}:
        raise ValueError(f"the column has the type {array.type}, which holds no numbers")
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_temporal(array.type):
        array = _count_microseconds(array)
    elif pa.types.is_decimal(array.type):
        array = array.cast(pa.float64(), safe=False)
    numbers = array.to_numpy(zero_copy_only=False)
    if numbers.dtype == object:  # booleans with nulls
        numbers = array.cast(pa.int8()).to_numpy(zero_copy_only=False)
    return np.asarray(numbers, dtype=np.float64)


def count_texts(array: Any) -> Counter[str | None]:  # noqa: ANN401 - pyarrow is untyped
    """Return the rows of each text of an Arrow array. None counts the missing values."""
    is_compact = pa.types.is_dictionary(array.type) and len(array.dictionary) <= len(array)
    codes = array if is_compact else decode(array).dictionary_encode()
    names = codes.dictionary.to_pylist()
    indices = codes.indices
    missing = int(indices.null_count)
    known = (indices.drop_null() if missing else indices).to_numpy(zero_copy_only=False)
    rows = np.bincount(known, minlength=len(names)).tolist() if len(names) else []
    counted: Counter[str | None] = Counter()
    for name, count in zip(names, rows, strict=True):  # two entries of a dictionary may be equal
        if count:
            counted[name] += count
    if missing:
        counted[None] += missing
    return counted


def read_groups(array: Any) -> Floats:  # noqa: ANN401 - pyarrow is untyped
    """Return the group of each text of an Arrow array, 0 to 9, by a hash of the text. Missing values are NaN. Shape (rows,).

    Texts that are all new fall into the same groups as often as before, and a text that takes many rows fills its group.
    """
    texts = decode(array)
    groups = (hash_texts(texts) % np.uint64(GROUPS)).astype(np.float64)
    if texts.null_count:
        groups[texts.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return groups


def decode(array: Any) -> Any:  # noqa: ANN401 - pyarrow is untyped
    """Return an Arrow array of texts without a dictionary. A file's dictionary may have far more texts than a batch has rows."""
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def mix_bits(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the hashes of numbers, spread over all 64-bit numbers (SplitMix64; Steele, Lea & Flood, OOPSLA 2014)."""
    mixed = numbers * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def hash_texts(texts: Any) -> npt.NDArray[np.uint64]:  # noqa: ANN401 - pyarrow is untyped
    """Return a hash of each text of an Arrow array, without a Python object for each text. Shape (rows,).

    The bytes of all texts lie one after the other. They are mixed in words of eight bytes, the first words of all texts at once,
    then the second ones, and so on. The hash of a missing value has no meaning.
    """
    texts = texts.cast(pa.large_string())
    if not len(texts):
        return np.zeros(0, dtype=np.uint64)
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    first, last = int(ends[0]), int(ends[-1])
    padded = np.zeros(last - first + 8, dtype=np.uint8)
    if last > first:
        padded[:-8] = np.frombuffer(data, dtype=np.uint8)[first:last]
    words: npt.NDArray[np.uint64] = np.ndarray(
        (padded.size - 7,), dtype="<u8", buffer=padded.data, strides=(1,)
    )  # a word begins at every byte
    starts, lengths = ends[:-1] - first, np.diff(ends)
    hashes = mix_bits(lengths.astype(np.uint64))
    places = np.arange(len(texts))
    for begin in range(0, int(lengths.max()), 8):
        places = places[lengths[places] > begin]
        rest = np.minimum(lengths[places] - begin, 8).astype(np.uint64)
        mask = np.uint64(0xFFFFFFFFFFFFFFFF) >> (np.uint64(64) - np.uint64(8) * rest)
        hashes[places] = mix_bits(hashes[places] ^ (words[starts[places] + begin] & mask))
    return hashes


def are_times(names: Iterable[str]) -> bool:
    """Return whether all texts are dates or times in ISO 8601, as a CSV file or a warehouse's export has them."""
    found = False
    for name in names:
        found = True
        if not _ISO_TIME.fullmatch(name):
            return False
    return found


def _count_microseconds(array: Any) -> Any:  # noqa: ANN401 - pyarrow is untyped
    types = pa.types
    if types.is_time(array.type):
        unit = pa.time64("us")
    elif types.is_duration(array.type):
        unit = pa.duration("us")
    else:
        unit = pa.timestamp("us", tz=getattr(array.type, "tz", None))
    return array.cast(unit, safe=False).cast(pa.int64())
