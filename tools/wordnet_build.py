"""Make `hypernyms.txt.gz` from WordNet 3.0: `python -m tools.wordnet_build DATA.NOUN`."""

import gzip
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from timm.data import ImageNetInfo

from se_probe.io.files import write_file
from se_probe.labels.wordnet import TABLE

HYPERNYM_SYMBOLS = ("@", "@i")
LABEL_SPACES = ("imagenet-1k", "imagenet-22k")


def hypernyms(data_noun: Iterable[str]) -> dict[str, list[str]]:
    """The hypernyms of every noun synset, by wnid, in WordNet's order.

    Source: wndb(5WN), the format of `data.pos`: offset, file number, type, number of words in hexadecimal,
    words with their ids, number of pointers, pointers of four fields.
    """
    table = {}
    for line in data_noun:
        if line.startswith(" "):  # the licence at the top of the file
            continue
        fields = line.split(" | ")[0].split()
        first = 4 + 2 * int(fields[3], 16)
        symbols = fields[first + 1 : first + 1 + 4 * int(fields[first]) : 4]
        targets = fields[first + 2 : first + 2 + 4 * int(fields[first]) : 4]
        pairs = zip(symbols, targets, strict=True)
        table[f"n{fields[0]}"] = [f"n{target}" for symbol, target in pairs if symbol in HYPERNYM_SYMBOLS]
    return table


def with_ancestors(wnids: Iterable[str], parents: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The rows of `parents` for `wnids` and all that is above them, sorted."""
    kept: dict[str, list[str]] = {}
    waiting = list(wnids)
    while waiting:
        wnid = waiting.pop()
        if wnid not in kept:
            kept[wnid] = parents[wnid]
            waiting += parents[wnid]
    return dict(sorted(kept.items()))


def main(data_noun: str) -> None:
    """Write the table for all synsets of ImageNet that timm knows."""
    wnids = [wnid for space in LABEL_SPACES for wnid in ImageNetInfo(space).label_names()]
    with Path(data_noun).open(encoding="utf-8") as lines:
        table = with_ancestors(wnids, hypernyms(lines))
    rows = "".join(f"{' '.join([wnid, *parents])}\n" for wnid, parents in table.items())
    write_file(TABLE, gzip.compress(rows.encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    main(sys.argv[1])
