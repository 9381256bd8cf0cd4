"""The tags of releases in a registry: which number belongs to which model layer. Pure functions.

Each release has two tags. ``release-<number>`` is for people. ``layer-<hex digits>-<number>`` names the model layer, so that one
list of the repository's tags says which releases there are, and a release can be found by its digest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.release.store.layout import PREFIX
from sluice.release.store.releases import NUMBER_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LAYER = re.compile(r"layer-([0-9a-f]{64})-([1-9][0-9]*)")
_NUMBER = re.compile(rf"{NUMBER_PREFIX}([1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class ReleaseTags:
    """What the tags of a repository say about its releases.

    Attributes:
        numbers: Digest of a model layer → its number.
        claimed: All numbers in tags of layers, also those that a release claimed and gave up.
        settled: All numbers in tags ``release-<number>``.
    """

    numbers: Mapping[str, int]
    claimed: frozenset[int]
    settled: frozenset[int]

    @property
    def next_number(self) -> int:
        """The number after the largest one."""
        return max(self.claimed | self.settled, default=0) + 1

    @property
    def untold(self) -> list[int]:
        """The numbers of releases without a tag for their layer, newest first. An earlier version of Sluice pushed them."""
        return sorted(self.settled.difference(self.numbers.values()), reverse=True)

    def find_layers(self, number: int) -> set[str]:
        """Return the model layers with this number. Two have it only while two processes claim it at the same moment."""
        return {digest for digest, own in self.numbers.items() if own == number}


def read_release_tags(tags: Iterable[str]) -> ReleaseTags:
    """Read the tags of a repository.

    A release whose number was claimed by another one at the same moment has two tags for its layer. The larger number is its own.
    """
    named = list(tags)
    claims = [(f"{PREFIX}{match[1]}", int(match[2])) for tag in named if (match := _LAYER.fullmatch(tag))]
    numbers: dict[str, int] = {}
    for digest, number in claims:
        numbers[digest] = max(number, numbers.get(digest, 0))
    return ReleaseTags(
        numbers=numbers,
        claimed=frozenset(number for _, number in claims),
        settled=frozenset(int(match[1]) for tag in named if (match := _NUMBER.fullmatch(tag))),
    )


def layer_tag(digest: str, number: int) -> str:
    """Return the tag that names a release by its model layer."""
    return f"layer-{digest.removeprefix(PREFIX)}-{number}"


def number_tag(number: int) -> str:
    """Return the tag with a release's number."""
    return f"{NUMBER_PREFIX}{number}"
