"""Rows in batches: from Parquet, from CSV, or from the frames of a project's loader, in the same form and in little memory.

A label is not needed. A source can be read several times, and only the columns that are asked for are decoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from sluice.data.external_errors import external_call
from sluice.drift.columns import Kind, classify_type
from sluice.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    import pandas as pd

T = TypeVar("T")

_BATCH_ROWS = 1 << 16  # A column of this many floats fits into a processor's cache, which halves the time of counting.
_BLOCK_BYTES = 1 << 22
_MOST_BYTES_PER_CODE = 4
_PARQUET = {".parquet", ".pq"}
_CSV = {".csv": ",", ".tsv": "\t"}
_BAD_CSV_COLUMN = re.compile(r"In CSV column #(\d+)")
_HINT = "Check the format of the file, or name a function that reads it in drift.load."
TWICE = "two columns have this name"


@dataclass(frozen=True, slots=True)
class Batch:
    """Some consecutive rows.

    Attributes:
        rows: Number of rows.
        columns: Name → Arrow array, shape (rows,).
        faults: Name → why this column has no array, for columns that cannot be read.
    """

    rows: int
    columns: Mapping[str, Any]
    faults: Mapping[str, str] = field(default_factory=dict)


class TextFoundError(Exception):
    """A CSV column holds a value that does not have the type of the column. Reading must start again, with the column as text.

    Attributes:
        column: Name of the column.
    """

    def __init__(self, column: str) -> None:
        """Keep the column's name."""
        super().__init__(f"column {column!r} holds text")
        self.column = column


def read_with_texts(read: Callable[[set[str]], T]) -> T:
    """Call a function that reads rows, again and again, until it knows all columns of a CSV file that it must read as text.

    Args:
        read: The function. It is given the names of these columns, as far as they are known.
    """
    texts: set[str] = set()
    while True:
        try:
            return read(texts)
        except TextFoundError as error:
            texts.add(error.column)


class Rows(Protocol):
    """Rows that can be read several times."""

    @property
    def source(self) -> str:
        """The file as a person named it, for messages."""

    @property
    def types(self) -> Mapping[str, Any]:
        """Name → Arrow type. The frames of a loader have no types before they are read, so there they are null."""

    @property
    def twice(self) -> Collection[str]:
        """Names that two or more columns have."""

    def read(
        self, columns: Collection[str], *, texts: Collection[str] = (), kinds: Mapping[str, Kind] | None = None
    ) -> Iterator[Batch]:
        """Yield the rows in batches.

        Args:
            columns: Names of the columns to read.
            texts: Columns of a CSV file to read as text, whatever their values look like.
            kinds: What columns of a CSV file should hold. The others have the type that their first values have.

        Raises:
            DataError: The file cannot be read.
            TextFoundError: A column of a CSV file must be read as text.
        """


class ParquetRows:
    """The rows of a Parquet file."""

    def __init__(self, path: Path, source: str = "") -> None:
        """Read the schema.

        Raises:
            DataError: It is not a Parquet file.
        """
        self.path, self.source = path, source or str(path)
        with external_call(f"{self.source} is not a readable Parquet file", hint=_HINT):
            metadata = pq.read_metadata(path)
            schema = metadata.schema.to_arrow_schema()
        self.twice = _find_repeated(schema.names)
        self.types = {name: schema.field(place).type for place, name in enumerate(schema.names) if name not in self.twice}
        self.repetitive = _find_repetitive(metadata)

    def read(
        self, columns: Collection[str], *, texts: Collection[str] = (), kinds: Mapping[str, Kind] | None = None
    ) -> Iterator[Batch]:
        """Yield the rows in batches. Texts that repeat are read as dictionaries, as most writers store them."""
        del texts, kinds
        names = [name for name in self.types if name in columns]
        categories = [name for name in names if name in self.repetitive and classify_type(self.types[name]) is Kind.CATEGORY]
        with external_call(f"cannot read {self.source}", hint=_HINT):
            # A whole row group is never in memory, because some writers make a single one.
            file = pq.ParquetFile(self.path, read_dictionary=categories, buffer_size=_BLOCK_BYTES, pre_buffer=False)
            with file:
                if not names:
                    yield Batch(file.metadata.num_rows, {})
                    return
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=names):
                    yield Batch(batch.num_rows, dict(zip(batch.schema.names, batch.columns, strict=True)))


class CsvRows:
    """The rows of a CSV file, which may be compressed. The first row has the names."""

    def __init__(self, path: Path, source: str = "", *, separator: str = ",") -> None:
        """Read the names, and infer the types from the first rows.

        Raises:
            DataError: It is not a CSV file.
        """
        self.path, self.source, self.separator = path, source or str(path), separator
        with external_call(f"{self.source} is not a readable CSV file", hint=_HINT), self._open() as reader:
            schema = reader.schema
        self.names = list(schema.names)
        self.twice = _find_repeated(self.names)
        # Later rows may have fractions where the first have none, and text where the first have nothing.
        self.types = {name: _widen(schema.field(place).type) for place, name in enumerate(self.names) if name not in self.twice}

    def read(
        self, columns: Collection[str], *, texts: Collection[str] = (), kinds: Mapping[str, Kind] | None = None
    ) -> Iterator[Batch]:
        """Yield the rows in batches."""
        names = [name for name in self.types if name in columns] or list(self.types)[:1]
        types = {name: _as_text() if name in texts else self._find_type(name, (kinds or {}).get(name)) for name in names}
        with external_call(f"cannot read {self.source}", hint=_HINT):
            try:
                with self._open(names, types) as reader:
                    for batch in reader:
                        yield Batch(batch.num_rows, dict(zip(batch.schema.names, batch.columns, strict=True)))
            except pa.ArrowInvalid as error:
                found = _BAD_CSV_COLUMN.search(str(error))
                column = self.names[int(found[1])] if found else ""
                if column not in names or column in texts:
                    raise
                raise TextFoundError(column) from error

    def _find_type(self, name: str, kind: Kind | None) -> Any:  # noqa: ANN401 - pyarrow is untyped
        """Return the type to read a column with: what the reference holds, or else what the first rows look like."""
        inferred = self.types[name]
        if kind is Kind.CATEGORY:
            return _as_text()
        return pa.float64() if kind is Kind.NUMBER and not pa.types.is_boolean(inferred) else inferred

    def _open(self, names: Collection[str] = (), types: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - pyarrow is untyped
        return pa_csv.open_csv(
            pa.input_stream(str(self.path), compression="detect"),
            read_options=pa_csv.ReadOptions(block_size=_BLOCK_BYTES),
            parse_options=pa_csv.ParseOptions(delimiter=self.separator, newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                include_columns=list(names), column_types=dict(types or {}), strings_can_be_null=True
            ),
        )


class FrameRows:
    """The rows of pandas frames, for example those of a project's loader."""

    def __init__(self, frames: Callable[[], Iterable[pd.DataFrame]], source: str = "") -> None:
        """Take a function that returns the frames, because they may be read twice."""
        self.frames, self.source = frames, source
        first = next(iter(frames()), None)
        if first is None or not len(first.columns):
            raise DataError(
                f"{source or 'the frame'} has no rows", hint="Check the source of the file. An empty export has usually failed."
            )
        names = [str(name) for name in first.columns]
        self.twice = _find_repeated(names)
        self.types = {name: pa.null() for name in names if name not in self.twice}

    def read(
        self, columns: Collection[str], *, texts: Collection[str] = (), kinds: Mapping[str, Kind] | None = None
    ) -> Iterator[Batch]:
        """Yield one batch for each frame."""
        del texts, kinds
        for frame in self.frames():
            arrays, faults = {}, {}
            for place, name in enumerate(map(str, frame.columns)):
                if name not in columns or name in self.twice:
                    continue
                try:
                    array = pa.Array.from_pandas(frame.iloc[:, place])
                    arrays[name] = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
                except (pa.ArrowException, TypeError, ValueError, OverflowError):
                    faults[name] = _describe_objects(frame.iloc[:, place])
            yield Batch(len(frame), arrays, faults)


def open_rows(path: Path, source: str = "") -> Rows | None:
    """Return the rows of a Parquet or CSV file; None for a folder or another format. The file's suffix says which.

    Raises:
        DataError: The file cannot be read, or does not have the format of its suffix.
    """
    if path.is_dir():
        return None
    if path.suffix in _PARQUET:
        return ParquetRows(path, source)
    formats = [suffix for suffix in path.suffixes[-2:] if suffix in _CSV]
    return CsvRows(path, source, separator=_CSV[formats[0]]) if formats else None


def _find_repetitive(metadata: Any) -> frozenset[str]:  # noqa: ANN401 - pyarrow is untyped
    """Return the columns of a Parquet file whose values take little space, because a dictionary has each of them once.

    Of other texts, the dictionary of a row group would be as large as the column, and each batch would have it.
    """
    sizes: dict[str, int] = {}
    for group in range(metadata.num_row_groups):
        chunks = metadata.row_group(group)
        for place in range(chunks.num_columns):
            chunk = chunks.column(place)
            sizes[chunk.path_in_schema] = sizes.get(chunk.path_in_schema, 0) + chunk.total_uncompressed_size
    return frozenset(name for name, size in sizes.items() if size <= _MOST_BYTES_PER_CODE * metadata.num_rows)


def _find_repeated(names: list[str]) -> frozenset[str]:
    return frozenset(name for name in names if names.count(name) > 1)


def _as_text() -> Any:  # noqa: ANN401 - pyarrow is untyped
    return pa.dictionary(pa.int32(), pa.string())


def _widen(kind: Any) -> Any:  # noqa: ANN401 - pyarrow is untyped
    if pa.types.is_integer(kind):
        return pa.float64()
    return _as_text() if pa.types.is_null(kind) or pa.types.is_string(kind) else kind


def _describe_objects(column: pd.Series[Any]) -> str:
    names = sorted({type(value).__name__ for value in column.dropna().head(1_000)})
    if len(names) > 1:
        return f"it holds values of several types ({', '.join(names[:3])})"
    return f"its values of the type {names[0] if names else column.dtype} cannot be read"
