"""Published weights: fetched once into torch's cache, or refused with what to do about it."""

from __future__ import annotations

from http.client import HTTPException
from typing import Any

import torch

from ..errors import RecipeError


def published_weights(weights: Any) -> dict[str, torch.Tensor]:
    """The state dict of a torchvision `weights` entry; RecipeError where it cannot be had."""
    try:
        return weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, HTTPException, RuntimeError) as error:  # URLError is an OSError; RuntimeError: wrong hash
        folder = f"{torch.hub.get_dir()}/checkpoints"
        raise RecipeError(f"network.pretrained: {weights.url} cannot be had ({error})",
                          f"go online, put that file into {folder}, or set network.pretrained = false") from error
