"""The differential as it stands after a person's decisions, and how far it is from the machine's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ..files import JsonObject
from ..smear.count import LEUKOCYTE, Differential, Tally, differential_of, kind_of
from ..smear.findings import NOT_RELIABLE, without_shares
from .cells import Cells
from .state import CONFIRMED, HOW, MACHINE, REJECTED, State

_NUMBERS = {how: number for number, how in enumerate(HOW)}


@dataclass(frozen=True)
class Standing:
    """A smear as it stands. count: with every decision; rejected, answered: cells; changed: cells whose type is no
    longer the machine's. unsure, flagged: names of the cells that nobody has answered; a flagged one is not among the
    unsure."""

    count: Differential
    rejected: int
    answered: int
    changed: int
    unsure: tuple[str, ...]
    flagged: tuple[str, ...]

    def to_dict(self) -> JsonObject:
        """For JSON; of the unanswered cells their number alone."""
        return asdict(self) | {"unsure": len(self.unsure), "flagged": len(self.flagged)}


def standing(cells: Cells, state: State, types: Sequence[str], reliable: bool = True) -> Standing:
    """Count the cells of a smear. Cells that are cut, or damaged and not confirmed by a person, do not count; nor do
    rejected and absent ones. A cell that a person has answered is no longer unsure. reliable: False where the machine's
    types are not to be relied on: no share is defined before a person has confirmed every leukocyte that counts."""
    has, numbers = cells.columns, {name: place for place, name in enumerate(types)}
    stand = [state.cells[name] for name in cells.names]
    now = np.array([numbers.get(kind, -1) for kind, _ in stand], np.int64)  # type: ignore[arg-type]
    how = np.array([_NUMBERS[how] for _, how in stand], np.int8)
    machine, confirmed = how == _NUMBERS[MACHINE], how == _NUMBERS[CONFIRMED]
    there = machine | confirmed
    cut, damaged = there & has.cut, there & ~has.cut & has.damaged & ~confirmed
    whole = there & ~cut & ~damaged
    unsure, unknown = machine & (has.unsure == 1), machine & (has.known == 0)
    tallies = [np.bincount(now[mask & (now >= 0)], minlength=len(types))
               for mask in (whole, whole & unsure, whole & unknown)]
    # What a person has answered is neither unsure nor unlike, also where the bundle cannot say.
    says = (bool((whole & (~machine | (has.unsure >= 0))).any()), bool((whole & (~machine | (has.known >= 0))).any()))
    count = differential_of({name: Tally(*map(int, own)) for name, *own in zip(types, *tallies, strict=True)},
                            int(whole.sum()), (int(there.sum()), int(cut.sum()), int(damaged.sum())), says)
    if not reliable:
        of_machine = np.bincount(now[whole & machine & (now >= 0)], minlength=len(types))
        if any(of_machine[place] for place, name in enumerate(types) if kind_of(name) == LEUKOCYTE):
            count = without_shares(count, NOT_RELIABLE)
    waiting = machine & ~has.flagged & (unsure | unknown) & ~has.cut & ~has.damaged
    changed = sum(1 for (kind, how), was in zip(stand, has.predicted, strict=True) if how == CONFIRMED and kind != was)
    rejected = int((how == _NUMBERS[REJECTED]).sum())
    return Standing(count, rejected, rejected + int(confirmed.sum()), changed, _named(cells, waiting),
                    _named(cells, machine & has.flagged))


def _named(cells: Cells, mask: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(cells.names[place] for place in np.flatnonzero(mask))
