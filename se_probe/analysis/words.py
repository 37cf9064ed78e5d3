"""Words for channels: the WordNet node whose classes open a gate, where one survives the test."""

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
        """The other classes of the smallest node that holds all classes of `node` and more; without one, all others."""
        own = self.members[node]
        holds = (self.members & own).sum(axis=1) == own.sum()
        sizes = np.where(holds & (self.members.sum(axis=1) > own.sum()), self.members.sum(axis=1), own.size + 1)
        smallest = int(np.argmin(sizes))
        return np.asarray((self.members[smallest] if sizes[smallest] <= own.size else np.ones_like(own)) & ~own)


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


def word_tables(
    recording: GateRecording,
    sites: Sequence[str] | None = None,
    *,
    permutations: int = 9_999,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Name the WordNet node whose classes open each channel's gate, where one survives.

    Args:
        recording: a recording whose classes have WordNet ids; those without count among the others.
        sites: names of the sites; None: all.
        permutations: permutations of the classes, see `stats.enrichment.largest_by_chance`.
        seed: seed of the random numbers.

    Returns:
        Of sites, one row each. After the facts of `site_facts`: `channels` with a test, `named`, those with a word,
        `named_share`, and `words`, the number of different ones.

        Of channels, one row each. After the columns of `channel_facts`: `wnid` and `word` of the node where `q` is at
        most `DISCOVERY_RATE`, else missing. `auc`: probability that a class below the node that stands out most has a
        higher mean gate than another class (0.5 … 1). `q`: false-discovery adjusted over the site's channels, from
        `p`, which accounts for the choice of the node. `difference`: mean gate of the node's classes less that of all
        others, in gate units. `sibling_auc`: as `auc`, against the other classes of the next wider node only; near
        0.5, the gate is one for the wider node. `node_classes`: classes of the node. Missing where no node has enough
        classes.

    Raises:
        SeProbeError: an unknown site.

    Source: `stats.enrichment`; WordNet 3.0.
    """
    table = recording.classes
    wnids = dict(zip(table["name"], table["wnid"].astype(object).where(table["wnid"].notna(), None), strict=True))

    @cache  # Sites that saw the same classes share nodes and permutations.
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
