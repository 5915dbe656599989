"""First-spike coding of edges: Gabor filters and latencies by rank (noshad2021)."""

from __future__ import annotations

from .banks import dog_bank, gabor_bank
from .coding import (
    FLOOR,
    MOST_STEPS,
    edge_responses,
    first_spike,
    first_spike_image,
    first_spike_levels,
    grey_levels,
    rank_intensities,
    spike_wave,
)
from .pooling import lateral_inhibition, pointwise_inhibition, pool_latency, threshold

__all__ = [
    "FLOOR", "MOST_STEPS", "dog_bank", "edge_responses", "first_spike", "first_spike_image", "first_spike_levels",
    "gabor_bank", "grey_levels", "lateral_inhibition", "pointwise_inhibition", "pool_latency", "rank_intensities",
    "spike_wave", "threshold",
]
