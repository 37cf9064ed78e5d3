"""Memory of feature maps is kept while a network runs, and given back after."""

import ctypes
import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    not (sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "mallopt")), reason="needs glibc's mallopt"
)

# In a process of its own: what earlier tests freed would be used again.
PROGRAM = """
import ctypes, json, resource
import torch
from se_probe.recording.memory import keep_freed_memory

PR_SET_THP_DISABLE = 41
ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)  # a huge page counts as one fault

def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.empty(64 << 20, dtype=torch.uint8).fill_(1)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize() / (64 << 20)

def resident():
    with open("/proc/self/statm") as facts:
        return int(facts.read().split()[1]) * resource.getpagesize() / (64 << 20)

outside = pages()
try:
    with keep_freed_memory():
        with keep_freed_memory():
            inner = pages()
        outer = pages()
        kept = resident()
        raise KeyError
except KeyError:
    print(json.dumps({"outside": outside, "inner": inner, "outer": outer, "returned": kept - resident()}))
"""


def test_blocks_are_used_again_and_go_back_at_the_end_of_the_outermost():
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    # Ten blocks are filled each time; the numbers are blocks that the system handed out, or took back.
    assert found["outside"] > 9.5
    # How many blocks it takes until the first is used again is glibc's affair: 1 to 8 were seen.
    assert found["inner"] < 9.5
    assert found["outer"] < 2
    assert found["returned"] > 0.9
