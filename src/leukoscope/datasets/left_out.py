"""The cells of a manifest that a run or an evaluation does not use, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from ..files import JsonObject
from ..images.decode import Damaged
from .labels import SHOWN, quoted


@dataclass(frozen=True)
class LeftOut:
    """What left_out.json holds: numbers of cells, and the damaged ones by name. trained: cells that the model was
    trained on, or of the same people; None where a model is trained."""

    damaged: tuple[Damaged, ...] = ()
    other_labels: Mapping[str, int] = field(default_factory=dict)
    over_per_class: int = 0
    unlabelled: int = 0
    trained: int | None = None

    def line(self, used: int) -> str:
        """One line about these cells, "" where there are none. used: cells that are used."""
        others, trained = self.other_labels, self.trained or 0
        total = sum(others.values()) + self.unlabelled + self.over_per_class + trained + len(self.damaged)
        if not total:
            return ""
        shown = sorted(others.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
        names = [*(f"{quoted(name)} ({cells:,})" for name, cells in shown),
                 *([f"{len(others) - SHOWN} more labels"] if len(others) > SHOWN else [])]
        counts = ((self.unlabelled, "without a label"), (self.over_per_class, "above data.per_class"),
                  (trained, "that the model was trained on, or of the same people"), (len(self.damaged), "damaged"))
        reasons = [*([f"label{'s' * (len(others) > 1)} {', '.join(names)}"] if others else []),
                   *(f"{cells:,} {why}" for cells, why in counts if cells)]
        return f"{total:,} of {total + used:,} cells left out: {'; '.join(reasons)}"

    def to_dict(self) -> JsonObject:
        """As JSON."""
        content = asdict(self) | {"damaged": [asdict(cell) for cell in self.damaged]}
        return {key: value for key, value in content.items() if value is not None}
