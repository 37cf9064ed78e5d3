"""Words for channels: the WordNet node whose classes open a gate, where one survives the test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from se_probe.analysis.gates import SiteMoments, channel_facts, chosen_sites, site_moments
from se_probe.analysis.protocols import GateRecording
from se_probe.analysis.stats.class_tests import false_discovery
from se_probe.analysis.stats.enrichment import area_under_curve, best_group, largest_by_chance
from se_probe.analysis.stats.moments import Floats
from se_probe.labels import class_from_name
from se_probe.labels.wordnet import wordnet_paths

DISCOVERY_RATE = 0.05
"""Expected share of false ones among the words of a site."""
FEWEST_CLASSES = 3
"""Classes that a node must have, and leave, to be tested: with fewer, even the best order is likely by chance."""


@dataclass(frozen=True)
class WordNodes:
    """The WordNet nodes that recorded classes can be told by.

    Attributes:
        wnids: the nodes.
        words: first lemma of each.
        members: which classes lie below which node, bool `(node, class)`.
    """

    wnids: list[str]
    words: list[str]
    members: NDArray[np.bool_]

    def wider(self, node: int) -> NDArray[np.bool_]:
        """The classes of the smallest node that holds all classes of `node` and more, without these; else all others."""
        own = self.members[node]
        holds = (self.members & own).sum(axis=1) == own.sum()
        sizes = np.where(holds & (self.members.sum(axis=1) > own.sum()), self.members.sum(axis=1), own.size + 1)
        smallest = int(np.argmin(sizes))
        return (self.members[smallest] if sizes[smallest] <= own.size else np.ones_like(own)) & ~own


def word_nodes(wnids: Sequence[str | None]) -> WordNodes:
    """Find the WordNet nodes above classes that have at least `FEWEST_CLASSES` of them, and leave as many out.

    Of nodes with the same classes the lowest is kept. Nodes that timm's table of lemmas does not name are left out:
    they could not be offered as words.

    Args:
        wnids: WordNet id of each class, None where it has none.
    """
    paths = wordnet_paths([wnid for wnid in wnids if wnid])
    depth: dict[str, int] = {}
    below: dict[str, set[int]] = {}
    for place, wnid in enumerate(wnids):
        for path in paths.get(wnid or "", ()):
            for level, node in enumerate(path):
                depth[node] = max(level, depth.get(node, 0))
                below.setdefault(node, set()).add(place)
    lowest: dict[frozenset[int], str] = {}
    for node in sorted(below, key=lambda node: (depth[node], node)):
        size = len(below[node])
        if FEWEST_CLASSES <= size <= len(wnids) - FEWEST_CLASSES and class_from_name(node).lemmas:
            lowest[frozenset(below[node])] = node
    members = np.zeros((len(lowest), len(wnids)), dtype=bool)
    for row, places in enumerate(lowest):
        members[row, sorted(places)] = True
    nodes = list(lowest.values())
    return WordNodes(nodes, [class_from_name(node).name for node in nodes], members)


def channel_words(
    recording: GateRecording,
    sites: Sequence[str] | None = None,
    *,
    permutations: int = 9_999,
    seed: int = 0,
) -> pd.DataFrame:
    """Name the WordNet node whose classes open each channel's gate, where one survives.

    Args:
        recording: a recording whose classes have WordNet ids; those without count among the others.
        sites: names of the sites; None: all.
        permutations: permutations of the classes, see `stats.enrichment.best_group`.
        seed: seed of the random numbers.

    Returns:
        One row a site, branch and channel; empty where no node has enough classes. `wnid` and `word` are those of the
        node where `q` is at most `DISCOVERY_RATE`, else missing. `auc`: probability that a class below the node that
        stands out most has a higher mean gate than another class (0.5 … 1). `q`: false-discovery adjusted over the
        site's channels, from `p`, which accounts for the choice of the node. `difference`: mean gate of the node's
        classes less that of all others, in gate units. `sibling_auc`: the same as `auc` against the other classes of
        the next wider node only: near 0.5, the gate is one for the wider node. `classes`: of the node.

    Raises:
        SeProbeError: an unknown site.

    Source: `stats.enrichment`; WordNet 3.0.
    """

    table = recording.classes
    wnids = dict(zip(table["name"], table["wnid"].astype(object).where(table["wnid"].notna(), None), strict=True))

    @cache  # Sites that saw the same classes share nodes and permutations.
    def nodes_of(names: tuple[str, ...]) -> tuple[WordNodes, Floats]:
        nodes = word_nodes([wnids[name] for name in names])
        drawn = largest_by_chance(nodes.members, permutations=permutations, seed=seed) if nodes.wnids else np.empty(0)
        return nodes, drawn

    moments = [site_moments(recording, site) for site in chosen_sites(recording, sites)]
    return pd.concat([_words(read, *nodes_of(tuple(read.names))) for read in moments], ignore_index=True)


def site_words(words: pd.DataFrame) -> pd.DataFrame:
    """Count the channels with a word at each site, from the table of `channel_words`.

    Returns:
        One row a site: `channels`, those with a test; `named`, those with a word; `share`; `words`, the number of
        different ones.
    """
    groups = words.groupby("site", sort=False)
    table = groups.agg(channels=("p", "count"), named=("word", "count"), words=("word", "nunique")).reset_index()
    return table.assign(share=table["named"] / table["channels"].where(table["channels"] > 0))


def _words(moments: SiteMoments, nodes: WordNodes, by_chance: Floats) -> pd.DataFrame:
    table = channel_facts(moments)[["site", "branch", "channel"]]
    if not nodes.wnids:
        empty = {name: pd.Series(dtype=object) for name in ("wnid", "word")}
        numbers = ("auc", "q", "p", "difference", "sibling_auc", "classes")
        return table.iloc[:0].assign(**empty, **{name: pd.Series(dtype=np.float64) for name in numbers})
    found = best_group(moments.mean, nodes.members, by_chance)
    own = nodes.members[found.group]
    siblings = np.stack([nodes.wider(node) for node in range(len(nodes.wnids))])[found.group]
    q = false_discovery(found.p)
    named = q <= DISCOVERY_RATE
    inside, outside = (np.mean(moments.mean, axis=1, where=part) for part in (own, ~own))
    known = found.group >= 0
    return table.assign(
        wnid=np.where(named, np.array(nodes.wnids, dtype=object)[found.group], None),
        word=np.where(named, np.array(nodes.words, dtype=object)[found.group], None),
        auc=found.auc,
        q=q,
        p=found.p,
        difference=np.where(known, inside - outside, np.nan),
        sibling_auc=np.where(known, area_under_curve(moments.mean, own, siblings), np.nan),
        classes=np.where(known, own.sum(axis=1), 0),
    )
