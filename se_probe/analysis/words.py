"""Words for channels: the WordNet node whose classes significantly open a gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from se_probe.analysis.gates import SiteMoments, channel_facts, chosen_sites, site_facts, site_moments
from se_probe.analysis.protocols import GateRecording
from se_probe.analysis.stats.class_tests import false_discovery
from se_probe.analysis.stats.enrichment import area_under_curve, best_group, largest_by_chance
from se_probe.analysis.stats.moments import Floats
from se_probe.labels import class_from_name
from se_probe.labels.wordnet import wordnet_paths

DISCOVERY_RATE = 0.05
"""False-discovery rate of the words of a site."""
FEWEST_CLASSES = 3
"""Fewest classes inside and outside a node for a test: with fewer, even the best order is likely by chance."""


@dataclass(frozen=True)
class WordNodes:
    """WordNet nodes above recorded classes.

    Attributes:
        wnids: the nodes.
        words: first lemma of each.
        members: which classes are below which node, bool `(node, class)`.
    """

    wnids: list[str]
    words: list[str]
    members: NDArray[np.bool_]

    def wider(self, node: int) -> NDArray[np.bool_]:
        """The other classes of the smallest node that contains all classes of `node` and more, or all other classes."""
        own = self.members[node]
        holds = (self.members & own).sum(axis=1) == own.sum()
        sizes = np.where(holds & (self.members.sum(axis=1) > own.sum()), self.members.sum(axis=1), own.size + 1)
        smallest = int(np.argmin(sizes))
        return np.asarray((self.members[smallest] if sizes[smallest] <= own.size else np.ones_like(own)) & ~own)


def word_nodes(wnids: Sequence[str | None]) -> WordNodes:
    """Find the WordNet nodes with at least `FEWEST_CLASSES` of the classes `wnids` inside and outside.

    Of nodes with the same classes the lowest is kept. Nodes without a lemma in timm's table are left out.
    """
    paths = wordnet_paths([wnid for wnid in wnids if wnid])
    depth: dict[str, int] = {}
    below: dict[str, set[int]] = {}
    for index, wnid in enumerate(wnids):
        for path in paths.get(wnid or "", ()):
            for level, node in enumerate(path):
                depth[node] = max(level, depth.get(node, 0))
                below.setdefault(node, set()).add(index)
    lowest: dict[frozenset[int], str] = {}
    for node in sorted(below, key=lambda node: (depth[node], node)):
        size = len(below[node])
        if FEWEST_CLASSES <= size <= len(wnids) - FEWEST_CLASSES and class_from_name(node).lemmas:
            lowest[frozenset(below[node])] = node
    members = np.zeros((len(lowest), len(wnids)), dtype=bool)
    for row, classes in enumerate(lowest):
        members[row, sorted(classes)] = True
    nodes = list(lowest.values())
    return WordNodes(nodes, [class_from_name(node).name for node in nodes], members)


def word_tables(
    recording: GateRecording,
    sites: Sequence[str] | None = None,
    *,
    permutations: int = 9_999,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Name for each channel the WordNet node whose classes significantly open its gate.

    Classes without a WordNet id belong to no node.

    Of sites, one row each. After the facts of `site_facts`: `channels` with a test, `named`, those with a word,
    `named_share`, and `words`, the number of different ones.

    Of channels, one row each. After the columns of `channel_facts`: `wnid` and `word` of the node where `q` is at most
    `DISCOVERY_RATE`, else missing. `auc`: probability that a class of the node that stands out most has a higher mean
    gate than another class (0.5 … 1). `q`: false-discovery adjusted over the site's channels, from `p`, which accounts
    for the choice of the node. `difference`: mean gate of the node's classes less that of all others. `sibling_auc`: as
    `auc`, against the other classes of the next wider node only; near 0.5, the gate follows the wider node.
    `node_classes`: number of its classes. Missing where no node has enough classes.

    Source: `stats.enrichment`; WordNet 3.0.
    """
    table = recording.classes
    wnids = dict(zip(table["name"], table["wnid"].astype(object).where(table["wnid"].notna(), None), strict=True))

    @cache  # Sites with the same classes share nodes and permutations.
    def nodes_of(names: tuple[str, ...]) -> tuple[WordNodes, Floats]:
        nodes = word_nodes([wnids[name] for name in names])
        return nodes, largest_by_chance(nodes.members, permutations=permutations, seed=seed)

    rows, tables = [], []
    for site in chosen_sites(recording, sites):
        moments = site_moments(recording, site)
        channels = _words(moments, *nodes_of(tuple(moments.names)))
        tested, named = int(channels["p"].count()), int(channels["word"].count())
        counts = {
            "channels": tested,
            "named": named,
            "named_share": named / tested if tested else float("nan"),
            "words": channels["word"].nunique(),
        }
        rows.append({**site_facts(moments), **counts})
        tables.append(channels)
    return pd.DataFrame(rows), pd.concat(tables, ignore_index=True)


def _words(moments: SiteMoments, nodes: WordNodes, by_chance: Floats) -> pd.DataFrame:
    table = channel_facts(moments)
    if not nodes.wnids:
        words, numbers = ("wnid", "word"), ("auc", "q", "p", "difference", "sibling_auc", "node_classes")
        return table.assign(**dict.fromkeys(words, None), **dict.fromkeys(numbers, np.nan))
    found = best_group(moments.mean, nodes.members, by_chance)
    own = nodes.members[found.group]
    siblings = np.stack([nodes.wider(node) for node in range(len(nodes.wnids))])[found.group]
    q = false_discovery(found.p)
    inside, outside = (np.mean(moments.mean, axis=1, where=part) for part in (own, ~own))
    table = table.assign(
        wnid=[nodes.wnids[group] for group in found.group],
        word=[nodes.words[group] for group in found.group],
        auc=found.auc,
        q=q,
        p=found.p,
        difference=inside - outside,
        sibling_auc=area_under_curve(moments.mean, own, siblings),
        node_classes=own.sum(axis=1),
    )
    table.loc[~(q <= DISCOVERY_RATE), ["wnid", "word"]] = None
    table.loc[found.group < 0, ["difference", "sibling_auc", "node_classes"]] = np.nan
    return table
