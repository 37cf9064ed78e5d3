"""The hypernyms of ImageNet's synsets in WordNet 3.0.

The bundled table covers the 21,843 synsets of ImageNet-22k and ImageNet-1k and all their hypernyms. It is an extract of
WordNet 3.0, © 2006 Princeton University (licence: `WORDNET_LICENSE.txt` beside it), made by `tools/wordnet_build.py`.
"""

import gzip
from collections.abc import Sequence
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("hypernyms.txt.gz")


def wordnet_paths(wnids: Sequence[str]) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Return all paths from the root ("entity") to each wnid in the table, that of WordNet's first hypernyms first."""
    return {wnid: _paths(wnid) for wnid in wnids if wnid in _hypernyms()}


@cache
def _hypernyms() -> dict[str, list[str]]:
    rows = (line.split() for line in gzip.decompress(TABLE.read_bytes()).decode().splitlines())
    return {wnid: parents for wnid, *parents in rows}


@cache
def _paths(wnid: str) -> tuple[tuple[str, ...], ...]:
    parents = _hypernyms()[wnid]
    return tuple((*path, wnid) for parent in parents for path in _paths(parent)) if parents else ((wnid,),)
