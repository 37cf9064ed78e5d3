"""Costs: what gates add to a network in parameters, operations and run time."""

from se_probe.costs.network_cost import (
    REDUCTIONS,
    GateCost,
    NetworkCost,
    cost_table,
    network_cost,
    reduction_sweep,
)
from se_probe.costs.timing import GateTimer, RunTime, Share

__all__ = [
    "REDUCTIONS",
    "GateCost",
    "GateTimer",
    "NetworkCost",
    "RunTime",
    "Share",
    "cost_table",
    "network_cost",
    "reduction_sweep",
]
