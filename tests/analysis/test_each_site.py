"""Sites are measured several at a time, each with one thread of the linear algebra library."""

import time

import pytest
from threadpoolctl import threadpool_info

from se_probe.analysis.each_site import each_site


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_results_are_in_the_order_of_the_sites_whichever_ends_first():
    def measure(site):
        time.sleep(0.05 if site == "first" else 0)
        return site.upper()

    assert each_site(measure, ["first", "second", "third"]) == ["FIRST", "SECOND", "THIRD"]


def test_linear_algebra_has_one_thread_meanwhile_and_as_many_as_before_after():
    before = blas_threads()
    assert before
    found = each_site(lambda _site: blas_threads(), ["first", "second"])
    assert found == [[1] * len(before)] * 2
    assert blas_threads() == before


def test_an_error_comes_through():
    with pytest.raises(ZeroDivisionError):
        each_site(lambda site: 1 / site, [1, 0, 2])
