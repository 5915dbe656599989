"""Figures of a trained microscope: its settings with physical axes, how they changed in training, cells as it records
them, and accuracy against cost. Draws arrays; computes no optics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from ..text import percent, plain, short_names, type_name
from .common import BLUE, GREEN, ORANGE, PURPLE, ROW, SKY, VERMILLION, axes_at, percent_axis, styled
from .svg import INK, LINE, SOFT

if TYPE_CHECKING:  # optics needs PyTorch, and drawing does not
    from ..optics.state import OpticsState

LAMPS = {"red": VERMILLION, "green": GREEN, "blue": BLUE}
SIDE, LEFT, BOTTOM, TOP, GAP = 2.1, 0.62, 0.55, 0.62, 1.2
"""Inches: side of a panel, room left of the first and below and above each, between panels."""
_CELL, _NARROW = 1.12, 0.08


@styled
def optics_sheet(state: OpticsState) -> Figure:
    """Lamps, pupil, PSF and transfer function of a microscope, side by side, with physical axes."""
    panels = [lamps_panel, mask_panel, *([path_panel] if aberrated(state) else []), psf_panel, otf_panel]
    width = LEFT + len(panels) * SIDE + (len(panels) - 1) * GAP + 0.2
    figure = Figure(figsize=(width, TOP + SIDE + BOTTOM))
    for i, panel in enumerate(panels):
        panel(axes_at(figure, LEFT + i * (SIDE + GAP), BOTTOM, SIDE, SIDE), state)
    return figure


def aberrated(state: OpticsState) -> bool:
    """Whether there is an optical path difference worth drawing: above 1 pm."""
    return bool(np.abs(state.path).max() > 1e-6)


def lamps_panel(axes: Axes, state: OpticsState) -> None:
    shares = state.lamps / state.lamps.sum()
    names = [f"{name}\n{1000 * w:g} nm" for name, w in zip(LAMPS, state.optics.wavelengths, strict=True)]
    axes.bar(names, shares, color=list(LAMPS.values()), width=0.62)
    for i, share in enumerate(shares.tolist()):
        axes.text(i, share + 0.02, percent(share), ha="center", va="bottom", fontsize=8.5)
    axes.axhline(1 / 3, color=SOFT, linewidth=0.9, linestyle=(0, (2, 2)))
    axes.set(ylim=(0, max(0.6, float(shares.max()) + 0.12)), ylabel="share of the light")
    percent_axis(None, axes, digits=0)
    axes.tick_params(axis="x", length=0, labelsize=8)
    _titled(axes, "Illumination", "dashed: equal lamps")


def mask_panel(axes: Axes, state: OpticsState) -> None:
    reach = state.cutoff(0) if state.free else 1.0
    shown = np.where(state.aperture > 0, state.mask if state.free else state.clear, np.nan)
    image = axes.imshow(shown, extent=(-reach, reach, reach, -reach), cmap="viridis", vmin=0,
                        vmax=None if state.free else 1, interpolation="nearest")
    _bar(axes, image, "weight" if state.free else "amplitude")
    if state.free:
        _titled(axes, "Transfer function", "free: no pupil has it")
    else:
        _titled(axes, "Pupil mask", f"lets {percent(state.throughput, 0)} of the light through")
    _square(axes, "cycles / µm" if state.free else "aperture radii")


def path_panel(axes: Axes, state: OpticsState) -> None:
    shown = np.where(state.aperture > 0, 1000 * state.path, np.nan)
    most = float(np.nanmax(np.abs(shown)))
    image = axes.imshow(shown, extent=(-1, 1, 1, -1), cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
    _bar(axes, image, "nm")
    _titled(axes, "Wavefront", "optical path difference")
    _square(axes, "aperture radii")


def psf_panel(axes: Axes, state: OpticsState) -> None:
    """The mean over the lamps, as the fourth root of its size, so that rings are visible."""
    weights = state.lamps / state.lamps.sum() if len(state.psf) > 1 else np.ones(1)
    mean = np.einsum("k,kyx->yx", weights, state.psf)
    root = np.sign(mean) * np.abs(mean / np.abs(mean).max()) ** 0.25
    reach = state.positions[-1] + state.optics.pixel / 2
    low = -1 if root.min() < -0.05 else 0
    image = axes.imshow(root, extent=(-reach, reach, reach, -reach), cmap="RdBu_r" if low else "magma", vmin=low,
                        vmax=1, interpolation="nearest")
    _bar(axes, image, "fourth root")
    span = min(reach, 2.0)
    axes.set(xlim=(-span, span), ylim=(span, -span))
    _square(axes, "µm")
    _titled(axes, "Learned blur" if state.free else "Point spread function",
            "the kernel" if state.free else "under these lamps")


def otf_panel(axes: Axes, state: OpticsState) -> None:
    names = state.names
    for i, name in enumerate(names):
        colour = LAMPS.get(name, INK)
        frequencies, size = state.otf_profile(i)
        axes.plot(frequencies, size, color=colour, label=name)
        if not state.free:
            share = np.minimum(frequencies / state.cutoff(i), 1)
            ideal = 2 / np.pi * (np.arccos(share) - share * np.sqrt(1 - share**2))
            axes.plot(frequencies, ideal, color=colour, linewidth=0.9, linestyle=(0, (2, 2)))
    pixel = state.optics.pool * state.optics.pixel
    axes.axvline(1 / (2 * pixel), color=SOFT, linewidth=0.9)
    axes.text(1 / (2 * pixel), 1.0, f" sensor: {pixel:g} µm", transform=axes.get_xaxis_transform(), va="top",
              fontsize=7.5, color=SOFT)
    axes.set(xlim=(0, 1 / (2 * state.optics.pixel)), xlabel="cycles / µm", ylabel="contrast")
    axes.set_ylim(bottom=0)
    axes.grid(True)
    if len(names) > 1:
        axes.legend(loc="upper right", bbox_to_anchor=(1.0, 0.93), handlelength=1.2)
    _titled(axes, "Transfer", "mean over directions" if state.free else "dashed: an open pupil")


def _square(axes: Axes, unit: str) -> None:
    """The same unit and the same few ticks along both axes, 0 among them."""
    axes.set(xlabel=unit, ylabel=unit)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=4, symmetric=True, steps=[1, 2, 5, 10]))


def _bar(axes: Axes, image: object, label: str) -> None:
    beside = axes.inset_axes((1.04, 0.0, 0.05, 1.0))
    bar = axes.figure.colorbar(image, cax=beside)  # type: ignore[arg-type, union-attr]  # an AxesImage of a Figure
    bar.outline.set_visible(False)  # type: ignore[operator]  # matplotlib's stub takes it for a list
    beside.tick_params(labelsize=7, length=2)
    beside.set_title(label, fontsize=7, fontweight="normal", color=SOFT, pad=7, loc="left")


def _titled(axes: Axes, title: str, remark: str) -> None:
    axes.set_title(title, loc="left", pad=19)
    axes.text(0, 1.035, remark, transform=axes.transAxes, va="bottom", fontsize=7.5, color=SOFT)


@styled
def optics_history(history: pl.DataFrame, *, best_epoch: int | None = None) -> Figure:
    """How the lamps, the pupil and the blur changed: one row of `history` an epoch, the first (epoch 0) the start.

    history: epoch, lamp_red, lamp_green, lamp_blue, ring_1.. (mean amplitude from the centre outwards), psf_radius.
    """
    figure = Figure(figsize=(LEFT + 3 * (SIDE + 0.5) + 2 * GAP, TOP + SIDE + BOTTOM))
    wide = SIDE + 0.35
    lamps, rings, width = (axes_at(figure, LEFT + i * (wide + GAP), BOTTOM, wide, SIDE) for i in range(3))
    epochs = history["epoch"].to_numpy()
    for name, colour in LAMPS.items():
        lamps.plot(epochs, history[f"lamp_{name}"].to_numpy(), color=colour, label=name)
    lamps.legend(loc="upper left", handlelength=1.2, ncols=3, columnspacing=1)
    top = max(float(history.select(pl.max_horizontal(f"lamp_{name}" for name in LAMPS)).to_series().max() or 0), 0.45)  # type: ignore[arg-type]
    lamps.set(ylabel="share of the light", ylim=(0, top + 0.15))
    percent_axis(None, lamps, digits=0)
    lamps.set_title("Lamps", loc="left")
    names = [name for name in history.columns if name.startswith("ring_")]
    table = history.select(names).to_numpy().T
    image = rings.imshow(table, aspect="auto", origin="lower", cmap="viridis", vmin=0, vmax=1, interpolation="nearest",
                         extent=(epochs[0] - 0.5, epochs[-1] + 0.5, 0, 1))
    _bar(rings, image, "amplitude")
    rings.set(ylabel="aperture radii")
    rings.set_title("Mask, centre to edge", loc="left")
    width.plot(epochs, history["psf_radius"].to_numpy(), color=INK)
    width.set(ylabel="radius of the blur in µm")
    width.set_ylim(bottom=0)
    width.set_title("Width of the blur", loc="left")
    for axes in (lamps, rings, width):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        if best_epoch is not None:
            axes.axvline(best_epoch, color="white" if axes is rings else SOFT, linewidth=0.9, linestyle=(0, (2, 2)))
    for axes in (lamps, width):
        axes.grid(True)
    if best_epoch is not None:
        width.text(best_epoch, 0.02, " used ", transform=width.get_xaxis_transform(), fontsize=7.5, color=SOFT,
                   ha="right" if best_epoch > epochs[-1] / 2 else "left")
    return figure


@dataclass(frozen=True, eq=False)
class RecordedCell:
    """One cell through a microscope: its pixels, the image on the sensor, what the sensor reads."""

    label: str
    cell: UInt8[np.ndarray, "h w 3"]
    blurred: Float[np.ndarray, "h w"]
    recorded: Float[np.ndarray, "i j"]


@styled
def recorded_strip(cells: Sequence[RecordedCell]) -> Figure:
    """A column a class: the cell, the image on the sensor, the network's input; grey pictures in their own range."""
    names = short_names([type_name(cell.label, 16) for cell in cells], 16)
    left, head = 1.15, 0.3
    figure = Figure(figsize=(left + len(cells) * (_CELL + _NARROW), head + 3 * (_CELL + _NARROW)))
    rows = (("Original", lambda c: c.cell), ("After the optics", lambda c: c.blurred),
            ("Input of\nthe network", lambda c: c.recorded))
    for r, (title, picture) in enumerate(rows):
        bottom = (2 - r) * (_CELL + _NARROW) + _NARROW
        for i, cell in enumerate(cells):
            axes = axes_at(figure, left + i * (_CELL + _NARROW), bottom, _CELL, _CELL)
            axes.imshow(picture(cell), cmap="gray", interpolation="nearest")
            axes.axis("off")
            if r == 0:
                axes.set_title(plain(names[i]), fontsize=8, fontweight="normal", pad=4, loc="left")
            if i == 0:
                remark = "" if r == 0 else "\n{1} × {0} px".format(*picture(cell).shape)
                axes.text(-0.08, 0.5, title + remark, transform=axes.transAxes, ha="right", va="center", fontsize=8.5)
    return figure


@dataclass(frozen=True)
class Curve:
    """Points of one line: x -> accuracies of its runs (one a repeat)."""

    name: str
    points: Mapping[float, Sequence[float]]


STYLES = {"learned": (BLUE, "-", "o"), "frozen": (VERMILLION, "-", "s"), "learned, free": (SKY, (0, (4, 1.6)), "o"),
          "frozen, free": (ORANGE, (0, (4, 1.6)), "s")}


@styled
def cost_curves(curves: Sequence[Curve], *, title: str, xlabel: str,
                published: Mapping[str, Mapping[float, float]] | None = None) -> Figure:
    """Accuracy against a cost, on a logarithmic axis: a line through the means of repeats, a band from the lowest to
    the highest, a dot a run. published: name -> x -> accuracy of figures from elsewhere, drawn hollow."""
    below = ROW * (len(curves) + len(published or {})) + 0.15
    figure = Figure(figsize=(5.6, 3.95 + below))
    axes = axes_at(figure, 0.72, 0.58 + below, 4.7, 2.85)
    for i, curve in enumerate(curves):
        colour, dashes, marker = STYLES.get(curve.name, ((GREEN, PURPLE, INK)[i % 3], "-", "o"))
        xs = np.array(sorted(curve.points))
        values = [np.asarray(curve.points[x], float) for x in xs]
        axes.plot(xs, [v.mean() for v in values], color=colour, linestyle=dashes, label=plain(curve.name))
        axes.fill_between(xs, [v.min() for v in values], [v.max() for v in values], color=colour, alpha=0.15,
                          linewidth=0)
        for x, v in zip(xs, values, strict=True):
            axes.plot(np.full(len(v), x), v, marker, color=colour, markersize=4, linestyle="none")
    for (name, points), colour in zip((published or {}).items(), (SOFT, PURPLE, INK), strict=False):
        xs = sorted(points)
        axes.plot(xs, [points[x] for x in xs], "D", color=colour, markerfacecolor="white", markersize=5,
                  linestyle=(0, (1, 2)), linewidth=1, label=plain(name))
    axes.set_xscale("log")
    ticks = sorted({x for curve in curves for x in curve.points})
    axes.set_xticks(ticks, [f"{x:,.0f}" for x in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    percent_axis(None, axes)
    axes.set(xlabel=xlabel, ylabel="accuracy")
    axes.set_title(title, loc="left", pad=10)
    axes.grid(True, color=LINE)
    axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.2), borderaxespad=0)
    return figure


PAGE = (8.27, 11.69)
"""A4, in inches."""
_SIDE, _LEFT = 2.45, 0.95


@dataclass(frozen=True)
class OpticsFacts:
    """optics.json: lamps by name, lengths in um and mm as the names say. What needs a pupil is None without one."""

    run: str
    recipe: str
    fold: int
    transfer: str
    relative_currents: Mapping[str, float]
    wavelengths_um: Mapping[str, float]
    pixel_um: float
    sensor_pixel_um: float
    pool: int
    numerical_aperture: float | None = None
    objective_numerical_aperture: float | None = None
    refractive_index: float | None = None
    focal_length_mm: float | None = None
    mask_radius_mm: float | None = None
    mask_sample_mm: float | None = None
    throughput: float | None = None


@styled
def build_sheet(state: OpticsState, facts: OpticsFacts) -> Figure:
    """Lamps, mask, PSF and transfer as drawings, and the numbers of optics.json that they need."""
    figure = Figure(figsize=PAGE, facecolor="white")
    width, height = PAGE

    def text(x: float, y: float, words: str, **style: Any) -> None:
        figure.text(x / width, y / height, words, va="top", **style)

    text(_LEFT - 0.35, height - 0.6, "Learned optics", fontsize=16, fontweight="bold")
    text(_LEFT - 0.35, height - 0.95, f"recipe {plain(facts.recipe, 60)}, fold {facts.fold}, of the run "
         f"{plain(facts.run, 60, head=0.3)}", fontsize=8.5, color=SOFT)
    text(_LEFT - 0.35, height - 1.13, "Leukoscope. For research use only: not a medical device.", fontsize=8.5,
         color=SOFT)
    rows = _rows(state, facts)
    for i, (name, value) in enumerate(rows):
        y = height - 1.55 - 0.24 * i
        text(_LEFT - 0.35, y, name, fontsize=9, color=SOFT)
        text(_LEFT + 2.2, y, value, fontsize=9)
    top = height - 1.55 - 0.24 * len(rows) - 0.85
    right = width - 0.95 - _SIDE
    lower = top - 2 * _SIDE - 1.35
    lamps_panel(axes_at(figure, _LEFT, top - _SIDE, _SIDE, _SIDE), state)
    mask = axes_at(figure, right, top - _SIDE, _SIDE, _SIDE)
    mask_panel(mask, state)
    if (radius := facts.mask_radius_mm) is not None:  # axes in mm, and a ring where the aperture ends
        mask.images[0].set_extent((-radius, radius, radius, -radius))
        mask.set(xlim=(-radius, radius), ylim=(radius, -radius))
        turn = np.linspace(0, 2 * np.pi, 200)
        mask.plot(radius * np.cos(turn), radius * np.sin(turn), color=BLUE, linewidth=0.8)
        mask.spines[:].set_color(LINE)
        _square(mask, "mm")
    psf_panel(axes_at(figure, _LEFT, lower, _SIDE, _SIDE), state)
    otf_panel(axes_at(figure, right, lower, _SIDE, _SIDE), state)
    if aberrated(state):
        path_panel(axes_at(figure, right, 0.4, 0.75 * _SIDE, 0.75 * _SIDE), state)
    pupil = ("pupil.csv and pupil.png: the weights over spatial frequency" if state.free else
             "pupil.csv: amplitude, intensity transmission and path of each sample, with its position in mm\n"
             "pupil.png: intensity transmission; printed at its own resolution it has the right size")
    text(_LEFT - 0.35, max(lower - 0.75, 0.55), f"illumination.csv: the lamps\n{pupil}\n"
         "psf.tif: point spread functions, with their scale in micrometres\noptics.json: the numbers of this page",
         fontsize=8.5, color=SOFT, linespacing=1.5)
    return figure


def _rows(state: OpticsState, facts: OpticsFacts) -> list[tuple[str, str]]:
    currents = ", ".join(f"{name} ({1000 * facts.wavelengths_um[name]:g} nm) {value:.3f}"
                         for name, value in facts.relative_currents.items())
    rows = [("Relative lamp currents", currents),
            ("Sensor pixel, in the plane of the cells", f"{facts.sensor_pixel_um:g} µm ({facts.pool} × "
                                                        f"{facts.pixel_um:g} µm)")]
    if facts.mask_radius_mm is None:
        return [*rows, ("Transfer", "free: no pupil has it; apply it to recorded images")]
    return [*rows,
            ("Objective", f"focal length {facts.focal_length_mm:g} mm, numerical aperture "
                          f"{facts.objective_numerical_aperture:g}"),
            ("Learned for", f"numerical aperture {facts.numerical_aperture:g}, in a medium of index "
                            f"{facts.refractive_index:g}"),
            ("Mask, in the back focal plane", f"{2 * facts.mask_radius_mm:.3f} mm across, {len(state.mask)} samples "
                                              f"of {facts.mask_sample_mm:.4f} mm"),
            ("Light that passes the mask", percent(state.throughput))]
