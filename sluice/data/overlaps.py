"""Find rows of a holdout that are also in other data, by id and by content. A model must not be trained on holdout rows.

An id that occurs in both is always an overlap. A content (features and label) that occurs in both may be a copy with a new id, or
a coincidence, because in data with few different values honest rows repeat. ``sluice.data.coincidences`` says what chance
explains. A number that it does not explain is refused. A smaller number is a warning if rows hardly ever repeat in the holdout:
then nothing tells a few copies from rows that were recorded twice before the split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sluice.data.coincidences import Groups, HoldoutGroups, explain_by_chance, explain_by_holdout
from sluice.data.row_contents import CHUNK_ROWS, find_file_columns, hash_rows
from sluice.data.row_sets import write_id
from sluice.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from sluice.data.labelled_rows import LabelledRows

MAX_CHANCE = 1e-6
"""Shared contents count as copies if coincidence would give as many with a smaller probability, over all comparisons."""

MODELS = 4
"""Two models of a coincidence, each for all columns and for those that do not belong to the file. Each has an equal part of
`MAX_CHANCE`."""

REPEATED_SHARE, DISTINCT_SHARE = 0.01, 0.5
"""Rows repeat suspiciously if at least the first share of the holdout's rows has equal contents elsewhere, although at least the
second share of all rows have contents of their own."""

UNREPEATED_SHARE = 0.9
"""Rows hardly ever repeat in a holdout if it has at least this share as many contents as rows. Only then is the number of copies
judged by the holdout alone, because a change of the world moves the frequencies of contents that repeat."""

WARN_CHANCE = 0.01
"""In such a holdout, shared contents are a warning if rows repeat by nature with a smaller probability than this, or if no
holdout row repeats at all."""

EXAMPLES = 3
"""The number of ids that a message shows."""

LABEL = "\0label"
_FILTER_BITS = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overlap:
    """What a holdout and other rows have in common.

    Attributes:
        name: The name of the other rows for messages, for example ``the training data``.
        by_id: Which holdout rows have an id that the other rows have too, shape (holdout rows,).
        by_content: Which holdout rows have features and label of another row, shape (holdout rows,).
        ids: The ids of the holdout rows, shape (holdout rows,).
        contents: The number of different contents that are on both sides.
        expected: The number that coincidence explains.
        chance: An upper bound of the probability that coincidence gives `contents` or more. 1 if there are none.
        unlike_holdout: Whether rows hardly ever repeat in the holdout, and more contents are shared than this makes probable.
        distinct: The number of different contents, divided by the number of rows, of both together. 1 if no content is shared.
        columns: The columns that were compared. Empty if the two sides have no feature in common.
        ignored: The columns that were left out, because they belong to the file and not to what a row describes.
    """

    name: str
    by_id: npt.NDArray[np.bool_]
    by_content: npt.NDArray[np.bool_]
    ids: npt.NDArray[np.object_]
    contents: int
    expected: float
    chance: float
    unlike_holdout: bool
    distinct: float
    columns: tuple[str, ...]
    ignored: tuple[str, ...] = ()

    @property
    def has_copies(self) -> bool:
        """Whether more contents are on both sides than coincidence explains."""
        return self.contents > 0 and self.chance < MAX_CHANCE

    @property
    def copies(self) -> npt.NDArray[np.bool_]:
        """The holdout rows that were probably copied, shape (holdout rows,). None if coincidence explains the equal contents."""
        return self.by_content if self.has_copies else np.zeros(len(self.ids), dtype=bool)

    @property
    def rows(self) -> npt.NDArray[np.bool_]:
        """The holdout rows that must not be in the other data, shape (holdout rows,)."""
        return self.by_id | self.copies

    @property
    def refused(self) -> bool:
        """Whether the holdout must not be used with a model that was trained on the other rows."""
        return bool(self.rows.any())

    @property
    def has_unrelated_ids(self) -> bool:
        """Whether rows with equal ids have nothing else in common, as if the ids only numbered the rows of each file."""
        return bool(self.by_id.any()) and not bool((self.by_id & self.by_content).any())

    @property
    def has_repeated_rows(self) -> bool:
        """Whether rows are in both that should not be, but so few or so evenly that they need not be copies.

        Either a few rows were copied, or events were recorded twice before the rows were split into training data and holdout.
        """
        if self.refused or not self.contents:
            return False
        if self.ignored:  # without a column, a few honest rows may well be equal
            return False
        many = bool(self.by_content.mean() >= REPEATED_SHARE) and self.distinct >= DISTINCT_SHARE
        return many or self.unlike_holdout

    @property
    def _compared(self) -> str:
        """What was compared, for messages."""
        without = f" (without {', '.join(repr(name) for name in self.ignored)})" if self.ignored else ""
        return f"features{without} and label"

    def describe(self) -> str:
        """Describe the overlap in one clause: how many rows, in which way, and three ids."""
        if not self.refused:
            return self._describe_coincidence()
        parts = []
        if self.by_id.any():
            parts.append(f"{int(self.by_id.sum()):,} by id")
        if self.has_copies:
            explained = (
                "which coincidence does not explain" if self.expected < 1 else f"of which chance explains {self.expected:,.0f}"
            )
            parts.append(f"{int(self.by_content.sum()):,} by {self._compared} ({self.contents:,} different ones, {explained})")
        first = ", ".join(repr(_plain(value)) for value in self.ids[self.rows][:EXAMPLES])
        total = int(self.rows.sum())
        return (
            f"{total:,} of {len(self.ids):,} holdout rows {'is' if total == 1 else 'are'} in {self.name}: {' and '.join(parts)}; "
            f"for example the row{'' if total == 1 else 's'} with the id {first}"
        )

    def _describe_coincidence(self) -> str:
        if not self.columns:
            return f"no id is in {self.name} too; contents cannot be compared, because the two have no feature in common"
        if not self.contents:
            return f"no row is in {self.name} too, neither by id nor by features and label"
        found = "1 content is" if self.contents == 1 else f"{self.contents:,} different contents are"
        return f"no id is in {self.name} too; {found}, and chance explains {min(self.expected, self.contents):,.0f} of them"

    def describe_repeated_rows(self) -> str:
        """Describe rows that are in both although rows hardly ever repeat, in one clause: how many, and three ids."""
        total = int(self.by_content.sum())
        first = ", ".join(repr(_plain(value)) for value in self.ids[self.by_content][:EXAMPLES])
        verb, rows = ("has", "row") if total == 1 else ("have", "rows")
        return (
            f"{total:,} of {len(self.ids):,} holdout rows {verb} the same {self._compared} as a row of {self.name}, although "
            f"most rows of this data differ; for example the {rows} with the id {first}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain JSON types."""
        return {
            "refused": self.refused,
            "rows": int(self.rows.sum()),
            "by_id": int(self.by_id.sum()),
            "by_content": int(self.by_content.sum()),
            "contents": self.contents,
            "expected": self.expected,
            "chance": self.chance,
            "repeated_rows": self.has_repeated_rows,
            "examples": [str(_plain(value)) for value in self.ids[self.rows][:EXAMPLES]],
            "detail": self.describe(),
        }


def find_overlap(holdout: LabelledRows, other: LabelledRows, name: str = "the other data") -> Overlap:
    """Compare a holdout with other rows, which the same loader has read.

    The memory that this takes beside both frames is 8 bytes for each row, and a chunk of 262,144 rows.

    Args:
        holdout: All rows of the holdout.
        other: The rows that a model is or was trained on.
        name: The name of the other rows for messages.

    Raises:
        DataError: Two columns have the same name.
    """
    frames = with_label(holdout), with_label(other)
    columns = [column for column in frames[0].columns if column in frames[1].columns and column != LABEL]
    ignored = find_file_columns(*frames, columns)
    rest = [column for column in columns if column not in ignored]
    by_id = find_shared_ids(holdout.ids, other.ids)
    found = []
    for chosen, without in [(columns, [])] + ([(rest, ignored)] if ignored and rest else []):
        contents = [hash_rows(frame, [*chosen, LABEL]) if chosen else np.empty(0, np.uint64) for frame in frames]
        shared, by_content = _find_shared_contents(len(holdout), *contents)
        judged = _judge(holdout, contents[0], other, contents[1], shared)
        found.append(
            Overlap(
                name=name,
                by_id=by_id,
                by_content=by_content,
                ids=holdout.ids,
                contents=len(shared),
                expected=judged.expected,
                chance=judged.chance,
                unlike_holdout=judged.unlike_holdout,
                distinct=judged.distinct,
                columns=tuple(chosen),
                ignored=tuple(without),
            )
        )
    return next((one for one in found if one.has_copies), found[0])


def find_shared_ids(ids: npt.NDArray[np.object_], others: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    """Return which ids are among the others. A whole number is the same id as an integer, as a float and as text.

    Args:
        ids: Shape (rows,).
        others: Shape (other rows,).

    Returns:
        Shape (rows,).
    """
    ours: pd.Index[Any]
    theirs: pd.Index[Any]
    ours, theirs = (pd.Index(values).infer_objects() for values in (ids, others))
    if ours.dtype != theirs.dtype or ours.dtype == object:
        ours, theirs = (pd.Index([write_id(value) for value in values], dtype=object) for values in (ids, others))
    found = theirs[theirs.isin(ours)]  # the table is made of the holdout's ids, which are fewer
    return np.asarray(ours.isin(found), dtype=bool)


@dataclass(frozen=True, slots=True)
class _Judgement:
    expected: float = 0.0
    chance: float = 1.0
    unlike_holdout: bool = False
    distinct: float = 1.0


def _find_shared_contents(
    rows: int, ours: npt.NDArray[np.uint64], theirs: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Return the contents of both sides, and which holdout rows have one of them, shape (rows,)."""
    shared = np.unique(_pick_members(theirs, ours))
    return shared, np.isin(ours, shared) if len(ours) else np.zeros(rows, dtype=bool)


def _judge(
    holdout: LabelledRows,
    ours: npt.NDArray[np.uint64],
    other: LabelledRows,
    theirs: npt.NDArray[np.uint64],
    shared: npt.NDArray[np.uint64],
) -> _Judgement:
    """Compare the number of shared contents with what chance explains."""
    if not len(shared):
        return _Judgement()
    groups, repeats = _count_groups(holdout, ours, other, theirs, shared), _count_holdout_groups(holdout, ours, other, shared)
    by_both, by_holdout = explain_by_chance(groups), explain_by_holdout(repeats)
    unrepeated = len(np.unique(ours)) >= UNREPEATED_SHARE * len(ours)
    rows = sum(int(group.sizes.sum()) for group in groups)
    return _Judgement(
        expected=min(by_both.expected, by_holdout.expected),
        chance=min(1.0, MODELS * min([by_both.bound] + [by_holdout.bound] * unrepeated)),
        unlike_holdout=unrepeated and (by_holdout.bound < WARN_CHANCE or not any(group.several for group in repeats)),
        distinct=sum(len(group.sizes) for group in groups) / max(1, rows),
    )


def _count_groups(
    holdout: LabelledRows,
    ours: npt.NDArray[np.uint64],
    other: LabelledRows,
    theirs: npt.NDArray[np.uint64],
    shared: npt.NDArray[np.uint64],
) -> list[Groups]:
    groups = []
    for label in (0, 1):
        mine, yours = ours[holdout.labels == label], theirs[other.labels == label]
        if len(mine) and len(yours):
            contents, sizes = np.unique(np.concatenate([mine, yours]), return_counts=True)
            common = int(np.isin(shared, contents, assume_unique=True).sum())
            groups.append(Groups(share=len(mine) / (len(mine) + len(yours)), shared=common, sizes=sizes))
    return groups


def _count_holdout_groups(
    holdout: LabelledRows, ours: npt.NDArray[np.uint64], other: LabelledRows, shared: npt.NDArray[np.uint64]
) -> list[HoldoutGroups]:
    groups = []
    for label in (0, 1):
        mine, others = ours[holdout.labels == label], int((other.labels == label).sum())
        if len(mine) and others:
            contents, sizes = np.unique(mine, return_counts=True)
            single = contents[sizes == 1]
            groups.append(
                HoldoutGroups(
                    ratio=others / len(mine),
                    single=len(single),
                    shared=int(np.isin(single, shared, assume_unique=True).sum()),
                    double=int((sizes == 2).sum()),  # noqa: PLR2004 - contents with two rows
                    several=int((sizes > 1).sum()),
                )
            )
    return groups


def _pick_members(hashes: npt.NDArray[np.uint64], wanted: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the hashes that are among the wanted ones. A table of their first bits sorts out nearly all others quickly."""
    shift = np.uint64(64 - _FILTER_BITS)
    table = np.zeros(1 << _FILTER_BITS, dtype=bool)
    table[wanted >> shift] = True
    picked = [chunk[table[chunk >> shift]] for chunk in _chunks(hashes)]
    candidates = np.concatenate(picked) if picked else hashes
    return candidates[np.isin(candidates, wanted)]


def _chunks(values: npt.NDArray[np.uint64]) -> Iterator[npt.NDArray[np.uint64]]:
    return (values[start : start + CHUNK_ROWS] for start in range(0, len(values), CHUNK_ROWS))


def with_label(rows: LabelledRows) -> pd.DataFrame:
    """Return features and label, with texts as column names. The label has a name that no feature of a table can have.

    Raises:
        DataError: Two columns have the same name.
    """
    frame = rows.features.set_axis([str(name) for name in rows.features.columns], axis=1)
    if not frame.columns.is_unique:
        repeated = frame.columns[frame.columns.duplicated()][0]
        raise DataError(
            f"two feature columns have the name {repeated!r}", hint="Let the loader give every column a different name."
        )
    return frame.assign(**{LABEL: rows.labels})


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value
