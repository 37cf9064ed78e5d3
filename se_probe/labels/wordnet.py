"""Where ImageNet's synsets stand in WordNet 3.0: a bundled table of hypernyms.

The table covers the 21,843 synsets of ImageNet-22k and ImageNet-1k and all that is above them. It is an
extract of WordNet 3.0, © 2006 Princeton University (licence: `WORDNET_LICENSE.txt` beside it), made by
`tools/wordnet_build.py`.
"""

import gzip
from collections.abc import Sequence
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("hypernyms.txt.gz")


def wordnet_paths(wnids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The path from the root ("entity") to each wnid, both included; wnids not in the table are left out.

    Where a synset has several hypernyms, WordNet's first is followed.
    """
    parents = _first_hypernyms()
    return {wnid: _path(wnid, parents) for wnid in wnids if wnid in parents}


@cache
def _first_hypernyms() -> dict[str, str | None]:
    rows = (line.split() for line in gzip.decompress(TABLE.read_bytes()).decode().splitlines())
    return {wnid: parents[0] if parents else None for wnid, *parents in rows}


def _path(wnid: str, parents: dict[str, str | None]) -> tuple[str, ...]:
    path: list[str] = []
    node: str | None = wnid
    while node is not None:
        path.append(node)
        node = parents[node]
    return tuple(reversed(path))
