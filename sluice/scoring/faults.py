"""What a server could not answer: the requests that it rejected, and the failures of its release.

A rollout asks for both at ``GET /faults?after=NUMBER`` on the server's own port, to which no proxy routes. It sends stable the
requests that the canary rejected, to find out whose fault the rejections are, and it says what failed when a canary is rolled
back::

    {"server": "5f3e…",
     "rejected": {"total": 3, "requests": [{"number": 3, "type": "application/json", "body": BASE64, "text": "…"}]},
     "failed": [{"kind": "ValueError in churn/features.py:88 (transform)", "count": 2, "text": "…",
                 "example": [["age", "number"]]}]}

`server` identifies the process that counts. Everything is bounded, is in memory only, and is kept only if the deployment says so,
because requests are production data. Texts are returned without the values of the request unless the project allows them.

This module needs only the standard library, because the serving environment uses it.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import sysconfig
import threading
import time
import traceback
import unicodedata
import uuid
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from types import FrameType

FAULTS_PATH = "/faults"

FAULTS_VARIABLE = "SLUICE_KEEP_FAULTS"
"""Environment variable that lets a server keep faults: ``hidden`` for texts without values, ``shown`` for texts with values."""

HIDDEN, SHOWN = "hidden", "shown"

MAX_REQUEST_BYTES = 8 * 1024 * 1024
"""The largest body that a server accepts. The proxy on a laptop passes no larger one on."""

MAX_KEPT_REQUESTS = 16
"""Rejected requests that are kept. A rollout fetches them about once a second."""

MAX_BODY_BYTES = 65_536
"""The largest body that is kept. A larger request is counted only."""

MAX_AGE_SECONDS = 60.0
"""A rejected request is not returned after this time."""

MAX_KINDS = 8
"""Kinds of failures that are kept apart. Further kinds are counted together."""

MAX_TEXT_LENGTH = 300
MAX_EXAMPLE_COLUMNS = 40
MAX_CELL_LENGTH = 60
OTHER_KINDS = "other errors"

MIN_PART, MIN_PREFIX = 4, 3
"""The length from which a common part, or a common beginning, makes a word of a text a word of the request."""

MAX_WORD_LENGTH = 60
"""A longer word of a text is always hidden."""

# A quotation mark inside a word is an apostrophe, except after a prefix as in b'text'. A quotation mark that is escaped, or that
# a letter follows, does not end the quoted text. What is never closed is quoted up to the end, because the text may be cut.
_QUOTED = re.compile(
    "|".join(
        rf"(?:(?<![^\W_])|(?<=\b[bBuUrR])){opening}(?:[^{closing}\\]|\\.|{closing}(?=[^\W_]))*(?:{closing}|\\?\Z)"
        for opening, closing in ("''", '""', "``", "\u2018\u2019", "“”", "«»")
    ),
    re.DOTALL,
)
_ENVELOPE = frozenset({"data", "names", "ndarray", "tensor", "shape", "values", "meta", "json", "jsonData", "binData", "strData"})
"""Words of the protocol. In a request they are no values."""

_WORD = re.compile(r"[^\W_]+")
_PARTS_OF_A_VALUE = re.compile(r"…(?:[-.:+_]…)+")
_PLACEHOLDER = "…"
_CLOSING = {"\u2018": "\u2019", "“": "”", "«": "»"}
_LIBRARY_FOLDERS = frozenset({"site-packages", "dist-packages"})
_STANDARD_LIBRARY = sysconfig.get_path("stdlib")


def plan_faults_variables(*, show_values: bool) -> dict[str, str]:
    """Return the environment variables of a server whose faults a rollout asks for."""
    return {FAULTS_VARIABLE: SHOWN if show_values else HIDDEN}


@dataclass(slots=True)
class _Failure:
    """One kind of failure: how often it happened, and the text and input of the first time."""

    count: int
    text: str
    example: list[list[Any]]


class Faults:
    """The faults of one process. Any number of threads may use it."""

    def __init__(self) -> None:
        """Keep nothing until `start` is called."""
        self.start("")

    def start(self, mode: str, columns: Collection[str] = ()) -> None:
        """Keep faults from now on, under a new server id. A forked process must call this to get its own id.

        Args:
            mode: The value of `FAULTS_VARIABLE`. With any other value no requests are kept, and all values are hidden.
            columns: The columns of the model. Their names are no values, so texts may contain them.
        """
        self.is_enabled = mode in {HIDDEN, SHOWN}
        self._shows_values = mode == SHOWN
        self._columns = frozenset(columns)
        self._lock = threading.Lock()
        self._server = uuid.uuid4().hex
        self._numbers = itertools.count(1)
        self._total = 0
        self._rejected: deque[tuple[float, dict[str, Any]]] = deque(maxlen=MAX_KEPT_REQUESTS)
        self._failures: dict[str, _Failure] = {}

    def add_rejected(self, body: bytes, content_type: str, text: str) -> None:
        """Count a request that was answered with a 4xx, and keep it unless it is too long.

        Args:
            body: The body as it was received; empty if it is not known.
            content_type: Its content type.
            text: The reason in the answer. It may contain values of the request.
        """
        if not self.is_enabled:
            return
        shown = self._shorten(text, () if self._shows_values else read_values(body))
        kept = {"type": content_type[:MAX_TEXT_LENGTH], "body": base64.b64encode(body).decode(), "text": shown}
        with self._lock:
            self._total += 1
            if body and len(body) <= MAX_BODY_BYTES:
                self._rejected.append((time.monotonic(), {"number": next(self._numbers)} | kept))

    def add_failure(self, kind: str, text: str, names: Sequence[str] = (), rows: Sequence[Sequence[Any]] = ()) -> bool:
        """Count a failure of the release; return whether it is the first of its kind.

        Args:
            kind: What failed and where, without values.
            text: The text of the error.
            names: The column names of the request.
            rows: Its rows. The first one becomes the example.
        """
        with self._lock:
            key = kind if kind in self._failures or len(self._failures) < MAX_KINDS else OTHER_KINDS
            if (found := self._failures.get(key)) is not None:
                found.count += 1
                return False
        first = _Failure(0, self._shorten(text, rows), describe_row(names, rows, show_values=self._shows_values))
        with self._lock:
            found = self._failures.setdefault(key, first)
            found.count += 1
        return found is first

    def add_error(self, kind: str, text: str, body: bytes) -> bool:
        """Count an error whose rows are not known. `body` is the request; if it is empty, the text is hidden altogether."""
        if self._shows_values:
            return self.add_failure(kind, text)
        return self.add_failure(kind, text if body else _PLACEHOLDER, (), [[read_values(body)]])

    def _shorten(self, text: str, values: object = ()) -> str:
        """Return a text as it may be shown. `values` are those of the request, nested in any way."""
        return clean(text if self._shows_values else hide_values(text, find_words(values, self._columns), self._columns))

    def describe_first(self, kind: str) -> str:
        """Return the text that was kept for a kind of failure, as it may be logged."""
        found = self._failures.get(kind)
        return found.text if found else ""

    def to_dict(self, after: int) -> dict[str, Any]:
        """Return the faults as plain JSON types.

        Args:
            after: The number of the last rejected request that the caller has seen; 0 for none.
        """
        oldest = time.monotonic() - MAX_AGE_SECONDS
        with self._lock:
            requests = [one for moment, one in self._rejected if moment > oldest and one["number"] > after]
            failed = [
                {"kind": kind, "count": found.count, "text": found.text, "example": found.example}
                for kind, found in self._failures.items()
            ]
            return {"server": self._server, "rejected": {"total": self._total, "requests": requests}, "failed": failed}


def describe_row(names: Sequence[str], rows: Sequence[Sequence[Any]], *, show_values: bool) -> list[list[Any]]:
    """Return the first row as pairs of a column and the type of its cell, or the cell itself if values may be shown."""
    first = rows[0] if rows else []
    return [
        [clean(str(name))[:MAX_CELL_LENGTH], clean(str(cell))[:MAX_CELL_LENGTH] if show_values else name_type(cell)]
        for name, cell in zip(names[:MAX_EXAMPLE_COLUMNS], first, strict=False)
    ]


def name_type(cell: object) -> str:
    """Return the JSON type of a cell."""
    if isinstance(cell, bool):
        return "boolean"
    if cell is None:
        return "null"
    kinds = ((int | float, "number"), (str, "text"), (list | tuple, "list"), (dict, "object"))
    return next((name for kind, name in kinds if isinstance(cell, kind)), "unknown")


def read_values(body: bytes) -> object:
    """Return the values of a request's body: the parsed JSON, or the text itself if it is none (for example a form)."""
    text = body.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return unquote_plus(text)


def find_words(values: object, known: Collection[str] = ()) -> frozenset[str]:
    """Return the words of all texts in lists and objects, in a form in which equal words are equal, to search a text for them.

    Args:
        values: The values, nested in any way.
        known: Texts that are no values: the names of columns.
    """
    words: set[str] = set()
    for text in _walk_texts(values):
        if text not in known and text not in _ENVELOPE:
            found = [_fold(word) for word in _WORD.findall(_normalise(text))]
            words.update(found)
            words.add("".join(found))  # a text may have the words without the blanks
    return frozenset(words - {""})


def hide_values(text: str, words: Collection[str], known: Collection[str]) -> str:
    """Return a text in which an ellipsis replaces everything that may be a value of a request.

    That is every number, every quoted text, and every word that occurs in the request, also shortened or as a part of a longer
    word. Accents, case and the form of Unicode make no difference. The names of columns stay. What code computes from a value in
    another way (a hash, base64, a translation) is not recognised.

    Args:
        text: The text.
        words: The words of the request, from `find_words`.
        known: Words that stay, whether they are quoted or not.
    """
    stays = {_normalise(name) for name in known}
    searched = "\n".join(("", *words))

    def hide_quoted(match: re.Match[str]) -> str:
        quoted = match[0]
        return quoted if quoted[1:-1] in stays else f"{quoted[0]}{_PLACEHOLDER}{_CLOSING.get(quoted[0], quoted[0])}"

    def hide_word(match: re.Match[str]) -> str:
        word = match[0]
        if word in stays:
            return word
        is_value = any(sign.isdigit() for sign in word) or len(word) > MAX_WORD_LENGTH or _is_in(_fold(word), words, searched)
        return _PLACEHOLDER if is_value else word

    cut = _normalise(text[: 4 * MAX_TEXT_LENGTH])
    hidden = _WORD.sub(hide_word, _QUOTED.sub(hide_quoted, cut))
    return _PARTS_OF_A_VALUE.sub(_PLACEHOLDER, hidden)


def _is_in(word: str, words: Collection[str], searched: str) -> bool:
    """Return whether a word is one of the request, a part of one, or contains one.

    Args:
        word: The folded word.
        words: The words of the request.
        searched: The same words, each after a line feed.
    """
    if word in words or (len(word) >= MIN_PART and word in searched) or (len(word) >= MIN_PREFIX and f"\n{word}" in searched):
        return True
    ends = range(MIN_PART, len(word) + 1)
    return any(word[start:end] in words for end in ends for start in range(end - MIN_PART + 1))


def _walk_texts(values: object) -> Iterator[str]:
    """Yield all texts in nested lists and objects, and the keys of objects."""
    left = [values]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            left += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            left += value


def _normalise(text: str) -> str:
    """Return a text in the composed form of Unicode, without marks that cannot be composed, because they would part a word."""
    composed = _PLACEHOLDER.join(unicodedata.normalize("NFKC", part) for part in text.split(_PLACEHOLDER))
    return "".join(sign for sign in composed if not unicodedata.category(sign).startswith("M"))


def _fold(word: str) -> str:
    """Return a word without case and accents."""
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    return "".join(sign for sign in decomposed if not unicodedata.category(sign).startswith("M"))


def clean(text: str) -> str:
    """Return a text on one line, without control characters and of limited length."""
    line = "".join(sign if sign.isprintable() else " " for sign in text[: 4 * MAX_TEXT_LENGTH])
    line = " ".join(line.split())
    return line if len(line) <= MAX_TEXT_LENGTH else line[: MAX_TEXT_LENGTH - 1] + _PLACEHOLDER


def describe_kind(error: BaseException) -> str:
    """Return an error's type and the place that raised it: ``ValueError in churn/features.py:88 (transform)``.

    The place is the last one in the project's own code, because a line of a library alone says little. An error that passed
    through no such code has the place in the library.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return type(error).__name__
    own = [one for one in frames if _is_own_code(one[0])]
    frame, line = (own or frames)[-1]
    code = frame.f_code
    return f"{type(error).__name__} in {'/'.join(Path(code.co_filename).parts[-2:])}:{line} ({code.co_name})"


def _is_own_code(frame: FrameType) -> bool:
    """Return whether a frame belongs to the project's code: not to a library, to Python itself, or to this tool."""
    path = Path(frame.f_code.co_filename)
    is_library = _LIBRARY_FOLDERS.intersection(path.parts) or path.is_relative_to(_STANDARD_LIBRARY)
    is_tool = str(frame.f_globals.get("__name__", "")).partition(".")[0] == __name__.partition(".")[0]
    return path.is_absolute() and not is_library and not is_tool  # compiled code has a relative path
