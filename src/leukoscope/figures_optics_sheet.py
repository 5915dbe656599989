"""The sheet that a workshop builds a learned microscope from: one A4 page of numbers and drawings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .figures_common import BLUE, LINE, SOFT, axes_at, styled
from .figures_optics import lamps_panel, mask_panel, otf_panel, path_panel, psf_panel, symmetric_ticks
from .optics_state import OpticsState
from .pages import percent, plain

PAGE = (8.27, 11.69)
"""A4, in inches."""
_SIDE, _LEFT = 2.45, 0.95


@styled
def build_sheet(state: OpticsState, facts: Mapping[str, Any]) -> Figure:
    """Lamps, mask, PSF and transfer as drawings, and the numbers of optics.json that they need."""
    figure = Figure(figsize=PAGE, facecolor="white")
    width, height = PAGE

    def text(x: float, y: float, words: str, **style: Any) -> None:
        figure.text(x / width, y / height, words, va="top", **style)

    text(_LEFT - 0.35, height - 0.6, "Optics that were learned", fontsize=16, fontweight="bold")
    text(_LEFT - 0.35, height - 0.95, f"recipe {plain(facts['recipe'], 60)}, fold {facts['fold']}, of the run "
         f"{plain(facts['run'], 60, head=0.3)}", fontsize=8.5, color=SOFT)
    text(_LEFT - 0.35, height - 1.13, "Leukoscope. For research: no medical device.", fontsize=8.5, color=SOFT)
    rows = _rows(state, facts)
    for i, (name, value) in enumerate(rows):
        y = height - 1.55 - 0.24 * i
        text(_LEFT - 0.35, y, name, fontsize=9, color=SOFT)
        text(_LEFT + 2.2, y, value, fontsize=9)
    top = height - 1.55 - 0.24 * len(rows) - 0.85
    right = width - 0.95 - _SIDE
    lamps_panel(axes_at(figure, _LEFT, top - _SIDE, _SIDE, _SIDE), state)
    second = axes_at(figure, right, top - _SIDE, _SIDE, _SIDE)
    mask_panel(second, state)
    if not state.free:
        _in_millimetres(second, facts["mask_radius_mm"])
    lower = top - 2 * _SIDE - 1.35
    psf_panel(axes_at(figure, _LEFT, lower, _SIDE, _SIDE), state)
    otf_panel(axes_at(figure, right, lower, _SIDE, _SIDE), state)
    if np.abs(state.path).max() > 1e-6:
        path_panel(axes_at(figure, right, 0.4, 0.75 * _SIDE, 0.75 * _SIDE), state)
    text(_LEFT - 0.35, max(lower - 0.75, 0.55), _files(state), fontsize=8.5, color=SOFT, linespacing=1.5)
    return figure


def _rows(state: OpticsState, facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    currents = ", ".join(f"{name} ({1000 * facts['wavelengths_um'][name]:g} nm) {value:.3f}"
                         for name, value in facts["relative_currents"].items())
    rows = [("Relative lamp currents", currents),
            ("Sensor pixel, in the plane of the cells", f"{facts['sensor_pixel_um']:g} µm ({facts['pool']} × "
                                                        f"{facts['pixel_um']:g} µm)")]
    if state.free:
        return [*rows, ("Transfer", "free: no pupil makes it; to be applied to recorded images")]
    return [*rows,
            ("Objective", f"focal length {facts['focal_length_mm']:g} mm, numerical aperture "
                          f"{facts['objective_numerical_aperture']:g}"),
            ("Learned for", f"numerical aperture {facts['numerical_aperture']:g}, in a medium of index "
                            f"{facts['refractive_index']:g}"),
            ("Mask, in the back focal plane", f"{2 * facts['mask_radius_mm']:.3f} mm across, {len(state.mask)} samples "
                                              f"of {facts['mask_sample_mm']:.4f} mm"),
            ("Light that passes the mask", percent(state.throughput))]


def _in_millimetres(axes: Any, radius: float) -> None:
    """The same picture with its axes in mm, and a ring where the aperture ends."""
    axes.images[0].set_extent((-radius, radius, radius, -radius))
    axes.set(xlim=(-radius, radius), ylim=(radius, -radius), xlabel="mm", ylabel="mm")
    turn = np.linspace(0, 2 * np.pi, 200)
    axes.plot(radius * np.cos(turn), radius * np.sin(turn), color=BLUE, linewidth=0.8)
    axes.spines[:].set_color(LINE)
    symmetric_ticks(axes)


def _files(state: OpticsState) -> str:
    mask = ("pupil.csv and pupil.png: the weights over spatial frequency" if state.free else
            "pupil.csv: amplitude, transmission of intensity and path of each sample, at its place in mm\n"
            "pupil.png: transmission of intensity; it has its size when printed at its own resolution")
    return f"illumination.csv: the lamps\n{mask}\npsf.tif: point spread functions, scaled in micrometres\n" \
           "optics.json: the numbers of this page"
