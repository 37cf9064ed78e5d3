import time

import pytest
import torch

from se_probe.recording.engine import fastest_batch_size

GATES = {("gate", "a"): torch.zeros(1, 1)}


def run_taking(seconds_of):
    """What takes a known time for a batch; its sizes are kept."""
    seen = []

    def run(images):
        seen.append(len(images))
        time.sleep(seconds_of(len(images)))
        return None, GATES

    return run, seen


def test_the_search_ends_where_larger_batches_gain_nothing():
    """An overhead of 20 ms is spread over more images until each takes longer from 16 on."""
    run, seen = run_taking(lambda images: 0.02 + images * (0.001 if images <= 16 else 0.003))
    best, rates = fastest_batch_size(run, (3, 8, 8))
    assert best == 16
    assert list(rates) == [4, 8, 16, 32, 64]
    assert sorted(set(seen)) == [4, 8, 16, 32, 64]


def test_a_full_memory_ends_the_search():
    def run(images):
        if len(images) > 8:
            raise torch.OutOfMemoryError("full")
        time.sleep(0.01)
        return None, GATES

    best, rates = fastest_batch_size(run, (3, 8, 8))
    assert best == 8
    assert list(rates) == [4, 8]


def test_a_network_that_fails_at_once_fails():
    def run(_images):
        raise RuntimeError("defect")

    with pytest.raises(RuntimeError, match=r"^defect$"):
        fastest_batch_size(run, (3, 8, 8))
