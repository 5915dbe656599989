"""A head: how the answers of a bundle's graph are changed for one laboratory.

`adapt` fits it to cells that a person has confirmed. Arrays only; it knows no cells and no graph.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, fields

import numpy as np
import scipy
from jaxtyping import Float

from .arrays import read_arrays

TINY = float(np.finfo(np.float32).tiny)
"""Probabilities below it count as it."""


@dataclass(frozen=True, eq=False)
class Head:
    """How often one of the confirmed types is the answer, and which of them.

    Among the confirmed types, the answer is the softmax of gain log(p) + ((features - centre) / spread) weights +
    offset, where p are the probabilities of the graph. The others share what the graph gives them, after the odds of
    the confirmed types are multiplied by exp(shift): they were not confirmed, so nothing more is known of them.
    centre, spread: (features,); weights: (features, classes); gain, offset: (classes,); confirmed: (classes,) 0 or 1;
    shift: (1,). float32.
    """

    centre: Float[np.ndarray, " features"]
    spread: Float[np.ndarray, " features"]
    weights: Float[np.ndarray, "features classes"]
    gain: Float[np.ndarray, " classes"]
    offset: Float[np.ndarray, " classes"]
    confirmed: Float[np.ndarray, " classes"]
    shift: Float[np.ndarray, " 1"]

    def logits(self, probabilities: Float[np.ndarray, "n classes"],
               features: Float[np.ndarray, "n features"]) -> Float[np.ndarray, "n confirmed"]:
        """Of the confirmed types, for cells to which the graph gave these probabilities and features."""
        every = (self.gain * np.log(np.maximum(probabilities, TINY))
                 + ((features - self.centre) / self.spread) @ self.weights + self.offset)
        return every[:, self.confirmed > 0]

    def probabilities(self, probabilities: Float[np.ndarray, "n classes"],
                      features: Float[np.ndarray, "n features"]) -> Float[np.ndarray, "n classes"]:
        """Of all types; each row sums to 1."""
        known = self.confirmed > 0
        answers = np.where(known, 0, probabilities)
        kept = probabilities[:, known].sum(1) * np.exp(self.shift[0])
        total = np.maximum(kept + answers.sum(1), TINY)
        answers[:, known] = kept[:, None] * scipy.special.softmax(self.logits(probabilities, features), axis=1)
        return answers / total[:, None]

    def to_bytes(self) -> bytes:
        file = io.BytesIO()
        arrays = {part.name: np.asarray(getattr(self, part.name), np.float32) for part in fields(self)}
        np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub takes the names for options
        return file.getvalue()


def read_head(content: bytes, features: int, classes: int) -> Head:
    """Read what `to_bytes` wrote. Raises ValueError where it is none for so many features and classes."""
    shapes = {"centre": (features,), "spread": (features,), "weights": (features, classes), "gain": (classes,),
              "offset": (classes,), "confirmed": (classes,), "shift": (1,)}
    read = dict(zip(shapes, read_arrays(content, tuple(shapes), 4 * features * classes + 4096), strict=True))
    for name, shape in shapes.items():
        if read[name].dtype != np.float32 or read[name].shape != shape or not np.isfinite(read[name]).all():
            raise ValueError(f"{name} is {read[name].dtype} {read[name].shape}, expected finite float32 {shape}")
    if (read["spread"] <= 0).any() or not np.isin(read["confirmed"], (0, 1)).all() or read["confirmed"].sum() < 2:
        raise ValueError("spread or confirmed holds a number that it cannot hold")
    return Head(**read)
