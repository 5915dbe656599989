"""Who the phantom's blood comes from: stain, optics, camera, red cells and disease of one subject.

Knows nothing of shapes or pixels. Everything that a laboratory, a day or a patient changes is here, so that cells of
one subject look alike and cells of two do not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import LeukoscopeError
from .optics import Camera, Floats, Optics

DIFFERENTIALS: dict[str, dict[str, float]] = {
    "healthy": {"neutrophil": 0.60, "lymphocyte": 0.29, "monocyte": 0.07, "eosinophil": 0.03, "basophil": 0.01},
    "infection": {"neutrophil": 0.74, "lymphocyte": 0.10, "monocyte": 0.07, "eosinophil": 0.01, "ig": 0.08},
    "viral": {"neutrophil": 0.33, "lymphocyte": 0.55, "monocyte": 0.10, "eosinophil": 0.01, "basophil": 0.01},
    "allergy": {"neutrophil": 0.45, "lymphocyte": 0.28, "monocyte": 0.07, "eosinophil": 0.18, "basophil": 0.02},
    "anaemia": {"neutrophil": 0.52, "lymphocyte": 0.24, "monocyte": 0.06, "eosinophil": 0.03, "erythroblast": 0.15},
    "leukemia": {"lymphoblast": 0.72, "lymphocyte": 0.17, "neutrophil": 0.08, "monocyte": 0.01, "erythroblast": 0.02},
}
"""Disease state -> share of each type among the nucleated cells."""


@dataclass(frozen=True)
class Stain:
    """How strong the stain is: factors on the amounts of azure and eosin, usually 1.

    blueing: share (-0.3..0.3) of the purple azure-eosin complex that stays blue azure (an alkaline buffer: positive).
    red_cells: amounts (azure, azure-eosin, eosin, haemoglobin) in 1 um of a red cell, before the factors.
    """

    azure: float = 1.0
    eosin: float = 1.0
    blueing: float = 0.0
    red_cells: tuple[float, float, float, float] = (0.066, 0.046, 0.100, 0.165)

    def __post_init__(self) -> None:
        if min(self.azure, self.eosin, *self.red_cells) < 0 or not -0.5 <= self.blueing <= 0.5:
            raise LeukoscopeError(f"stain: expected factors of at least 0 and blueing in [-0.5, 0.5], got {self}",
                                  "use factors around 1")

    def apply(self, amounts: Floats) -> Floats:
        """Amounts (4, ...) of this stain from those of the usual one; linear."""
        a, p, e = self.azure, self.azure * (1 - self.blueing), self.eosin
        stained = amounts * np.array([a, p, e, 1.0], np.float32).reshape(4, *[1] * (amounts.ndim - 1))
        stained[0] += amounts[1] * np.float32(0.8 * self.azure * self.blueing)
        return np.maximum(stained, 0, out=stained)


@dataclass(frozen=True)
class RedCells:
    """Red cells of a subject. diameter: mean in um; anisocytosis: its standard deviation as a share of it; pallor:
    depth of the pale middle in [0, 1]; odd: share of deformed cells (oval, crenated); density: cells per 1,000 um2;
    overlap: probability that a cell may lie on another."""

    diameter: float = 7.5
    anisocytosis: float = 0.05
    pallor: float = 0.45
    odd: float = 0.1
    density: float = 12.0
    overlap: float = 0.2


@dataclass(frozen=True)
class Subject:
    """One subject. granulation: factor on fine granules (toxic granulation: over 1.5); platelets and specks of debris
    per 1,000 um2; focus_spread: standard deviation (um) of the defocus from field to field."""

    name: str = "S1"
    state: str = "healthy"
    stain: Stain = field(default_factory=Stain)
    optics: Optics = field(default_factory=Optics)
    camera: Camera = field(default_factory=Camera)
    red_cells: RedCells = field(default_factory=RedCells)
    granulation: float = 1.0
    platelets: float = 0.6
    debris: float = 0.5
    focus_spread: float = 0.06


def draw_subject(rng: np.random.Generator | int, *, state: str | None = None, name: str = "S1") -> Subject:
    """A random subject; `state` is a key of DIFFERENTIALS, None draws one. Raises LeukoscopeError for another state."""
    rng = np.random.default_rng(rng)
    if state is None:
        state = str(rng.choice(list(DIFFERENTIALS), p=[0.4, 0.15, 0.12, 0.1, 0.1, 0.13]))
    if state not in DIFFERENTIALS:
        raise LeukoscopeError(f"state: expected one of {', '.join(DIFFERENTIALS)}, got '{state}'", "choose one of them")
    anaemic, uniform = state in ("anaemia", "leukemia"), rng.uniform

    def log_normal(spread: float) -> float:
        return float(np.exp(rng.normal(0, spread)))

    red = np.array(Stain.red_cells) * np.exp(rng.normal(0, 0.14, 4))
    stain = Stain(log_normal(0.11), log_normal(0.15), min(max(rng.normal(0, 0.08), -0.2), 0.25),
                  tuple(red.tolist()))
    warm = min(max(rng.normal(0, 1), -1.5), 2.5)
    white = np.clip(np.array([251, 230, 207]) + warm * np.array([-3, 1.5, 10]) + rng.normal(0, 2, 3), 170, 254)
    camera = Camera(tuple(white.tolist()), uniform(6000, 25000), uniform(5, 25), 2.2, uniform(0.3, 1.3))
    optics = Optics(defocus=rng.normal(0, 0.04), refraction=uniform(0.002, 0.015), fall_off=uniform(0.02, 0.14),
                    fall_off_centre=(uniform(0.35, 0.65), uniform(0.35, 0.65)))
    cells = RedCells(diameter=rng.normal(6.9 if anaemic else 7.5, 0.25),
                     anisocytosis=uniform(*(0.05, 0.11) if anaemic else (0.03, 0.06)),
                     pallor=uniform(*(0.6, 0.92) if anaemic else (0.45, 0.85)), odd=rng.beta(1.2, 6),
                     density=uniform(*(7, 11) if anaemic else (10, 16)), overlap=rng.beta(1.2, 6))
    granulation = uniform(1.3, 2.0) if state == "infection" else log_normal(0.3)
    return Subject(name, state, stain, optics, camera, cells, min(granulation, 2.0), platelets=uniform(0.15, 0.9),
                   debris=uniform(0, 1.2), focus_spread=uniform(0.01, 0.08))
