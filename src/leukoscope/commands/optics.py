"""The optics of a run: drawn for its page, exported for building them, applied to an image."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import tifffile
import torch
from matplotlib.backends.backend_pdf import PdfPages
from PIL import Image, PngImagePlugin

from ..errors import LeukoscopeError, RunError, first_line
from ..figures.common import save_png
from ..figures.optics import OpticsFacts, RecordedCell, build_sheet, optics_history, optics_sheet, recorded_strip
from ..figures.svg import figure_style
from ..files import JsonObject, atomic_path, write_json, write_text
from ..finder.frame import shaped
from ..images.resample import resize
from ..optics.microscope import COLOURS, Microscope, microscope_of
from ..optics.state import OpticsState, state_of
from ..runs.network import load_network
from ..runs.run import Run
from ..tables import read_csv
from .example_cells import cell_pixels, first_of_each_class

MASK_PIXELS = 1008
"""Least side in px of the picture of a mask."""


def microscope_in(run: Run, fold: int) -> Microscope:
    """The trained microscope of a fold; RunError where the run has none."""
    if not run.recipe.optics.simulate:
        raise RunError(f"{run.folder}: was trained without a microscope (optics.simulate = false)",
                       "name a run of a recipe with optics, such as dimuro2020")
    microscope = microscope_of(load_network(run, fold)[0])
    assert microscope is not None
    return microscope.eval()


def draw_optics(run: Run, *, fold: int = 0) -> None:
    """Draw, as PNG files in figures/optics, the microscope of a fold, how it changed in training, and a cell of each
    class as it records it."""
    microscope = microscope_in(run, fold)
    out = run.folder / "figures" / "optics"
    save_png(optics_sheet(state_of(microscope)), out / "1_the_microscope_as_it_was_trained.png", dpi=120)
    if run.recipe.optics.learn:
        save_png(optics_history(history_of(run, fold), best_epoch=run.fold(fold)["best_epoch"]),
                 out / "2_how_the_optics_moved.png", dpi=120)
    recorded = [record(microscope, shaped(cell_pixels(run, cell), run.recipe.preprocess), label)
                for label, cell in first_of_each_class(run).items()]
    save_png(recorded_strip(recorded), out / "3_a_cell_of_each_class.png", dpi=120)


def history_of(run: Run, fold: int) -> pl.DataFrame:
    """optics.csv of a fold; before it, as epoch 0, the start that the recipe sets, unless that is another run."""
    path = run.fold_folder(fold) / "optics.csv"
    try:
        rows = read_csv(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RunError(f"{path}: not a readable table ({first_line(error)})", "train the run again") from error
    if run.recipe.network.start:
        return rows
    start = {"epoch": 0, **Microscope(run.recipe.optics).summary()}
    return pl.concat([pl.DataFrame([start]).cast({"epoch": rows.schema["epoch"]}), rows], how="vertical_relaxed")


def record(microscope: Microscope, pixels: np.ndarray, label: str) -> RecordedCell:
    """An image, uint8 (h, w, 3), as a microscope records it."""
    images = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, 0)))[None].float() / 255
    with torch.inference_mode():
        return RecordedCell(label, pixels, microscope.blurred(images)[0, 0].numpy(), microscope(images)[0, 0].numpy())


def simulate(folder: Path, image: str, out: Path, *, fold: int = 0) -> tuple[str, ...]:
    """An image (a file, or a cell_id of the run) as the microscope of a run records it: recorded.tif in units of a
    white field, recorded.png in 16 bits (65535 is a white field under the same lamps), steps.png. Returns lines to
    print.

    The image is brought to the run's scale, as its cells were, and not cropped. LeukoscopeError where it is grey, or
    smaller than the PSF.
    """
    run = Run(folder)
    microscope = microscope_in(run, fold)
    pixels = cell_pixels(run, image)
    if (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all():
        raise LeukoscopeError(f"{image}: is grey, and the lamps need three colours", "give a colour image")
    least = max(microscope.optics.window // 2 + 1, microscope.optics.pool)
    if min(pixels.shape[:2]) * _scale(run, pixels) < least:
        raise LeukoscopeError(f"{image}: {pixels.shape[1]} x {pixels.shape[0]} px, smaller than half the point spread "
                              f"function or a pixel of the sensor ({least} px at the run's scale)",
                              "give a larger image")
    pixels = _at_scale(run, pixels)
    cell = record(microscope, pixels, Path(image).name)
    with torch.no_grad():  # what the sensor reads of a white field without noise
        total = microscope.psf().sum((1, 2))  # 1 each, but for a free transfer function
        white = float((microscope.illumination() * total).sum())
    out.mkdir(parents=True, exist_ok=True)
    side = microscope.optics.pixel * microscope.optics.pool
    _write_tiff(cell.recorded.astype(np.float32), out / "recorded.tif", side)
    with atomic_path(out / "recorded.png") as beside:
        levels = np.rint(np.clip(cell.recorded / white, 0, 1) * 65535).astype(np.uint16)
        Image.fromarray(levels).save(beside, format="PNG")
    save_png(recorded_strip([cell]), out / "steps.png")
    height, width = cell.recorded.shape
    beyond = float((cell.recorded > white).mean())
    remark = [f"{100 * beyond:.1f} % of these pixels are brighter than a white field; they are white in recorded.png"]
    return (f"{image}: {pixels.shape[1]} x {pixels.shape[0]} px become {width} x {height} px of {side:g} um",
            *(remark if beyond else []),
            f"recorded: {out / 'recorded.png'}, {out / 'recorded.tif'}; steps: {out / 'steps.png'}")


def export_optics(folder: Path, out: Path, *, focal_length: float, numerical_aperture: float | None = None,
                  fold: int = 0) -> tuple[tuple[str, ...], JsonObject]:
    """Write what is needed to build a run's optics: currents of the lamps, the mask with its scale in mm for an
    objective of this focal length (mm, 0.1 to 1000), PSFs, and a sheet of one page. Returns lines to print, and
    optics.json.

    numerical_aperture: of the real objective, None for that of the recipe; LeukoscopeError where it is smaller than
    that, or above the refractive index.
    """
    run = Run(folder)
    state = state_of(microscope_in(run, fold))
    if not 0.1 <= focal_length <= 1000:
        raise LeukoscopeError(f"--focal-length {focal_length:g}: expected 0.1 to 1000 millimetres", "a 40x objective "
                              "for a tube lens of 180 mm has 4.5")
    given = state.optics.numerical_aperture if numerical_aperture is None else numerical_aperture
    if not given > 0:
        raise LeukoscopeError(f"--numerical-aperture {given:g}: expected a number above 0",
                              "it is engraved on the objective")
    if given > state.optics.refractive_index and not state.free:
        raise LeukoscopeError(f"--numerical-aperture {given:g}: above the refractive index "
                              f"{state.optics.refractive_index:g} that the mask was learned for",
                              "take an objective for that medium, or train with optics.refractive_index set to its own")
    if given < state.optics.numerical_aperture and not state.free:
        raise LeukoscopeError(f"--numerical-aperture {given:g}: the mask was learned for "
                              f"{state.optics.numerical_aperture:g}, and a smaller objective cuts it off",
                              "take an objective of at least that, or train with optics.numerical_aperture set to it")
    radius = focal_length * state.optics.numerical_aperture
    out.mkdir(parents=True, exist_ok=True)
    lamps = [(name, wavelength, f"{weight:.6g}", f"{weight / state.lamps.max():.6f}") for name, wavelength, weight in
             zip(COLOURS, state.optics.wavelengths, state.lamps.tolist(), strict=True)]
    write_text(out / "illumination.csv", _csv(("lamp", "wavelength_um", "weight", "relative_current"), lamps))
    write_text(out / "pupil.csv", _mask_csv(state, radius))
    _write_mask(state, radius, out / "pupil.png")
    _write_tiff(state.psf.astype(np.float32), out / "psf.tif", state.optics.pixel)
    facts = _facts(run, state, fold, focal_length, given, radius)
    table = {key: value for key, value in asdict(facts).items() if value is not None}
    write_json(out / "optics.json", table)
    with figure_style(), atomic_path(out / "sheet.pdf") as beside, PdfPages(beside) as pages:
        pages.savefig(build_sheet(state, facts))
    currents = ", ".join(f"{name} {value:.3f}" for name, value in facts.relative_currents.items())
    what = ("transfer function, which no pupil makes: a free weighting of the image's spectrum" if state.free else
            f"pupil mask {2 * radius:.3f} mm across, lets {100 * state.throughput:.0f} % of the light through")
    return (f"relative lamp currents: {currents}", what, f"sheet: {out / 'sheet.pdf'}"), table


def _facts(run: Run, state: OpticsState, fold: int, focal_length: float, aperture: float,
           radius: float) -> OpticsFacts:
    optics = state.optics
    facts = OpticsFacts(
        str(run.folder.resolve()), run.recipe.name, fold, optics.transfer,
        relative_currents=dict(zip(COLOURS, (state.lamps / state.lamps.max()).tolist(), strict=True)),
        wavelengths_um=dict(zip(COLOURS, optics.wavelengths, strict=True)),
        pixel_um=optics.pixel, sensor_pixel_um=optics.pixel * optics.pool, pool=optics.pool)
    return facts if state.free else replace(
        facts, numerical_aperture=optics.numerical_aperture, objective_numerical_aperture=aperture,
        refractive_index=optics.refractive_index, focal_length_mm=focal_length, mask_radius_mm=radius,
        mask_sample_mm=2 * radius / len(state.mask), throughput=state.throughput)


def _mask_csv(state: OpticsState, radius: float) -> str:
    """One row a sample inside the aperture; y runs down, as in the picture."""
    along = state.pupil_coordinates.tolist()
    inside = [(y, x) for y in range(len(along)) for x in range(len(along)) if state.aperture[y, x] > 0]
    if state.free:
        reach = state.cutoff(0)
        return _csv(("x_cycles_per_um", "y_cycles_per_um", "weight"), [
            (f"{along[x] * reach:.6f}", f"{along[y] * reach:.6f}", f"{state.mask[y, x]:.6f}") for y, x in inside])
    return _csv(("x_mm", "y_mm", "x_aperture", "y_aperture", "inside", "amplitude", "transmission", "path_um"), [
        (f"{along[x] * radius:.6f}", f"{along[y] * radius:.6f}", f"{along[x]:.6f}", f"{along[y]:.6f}",
         f"{state.aperture[y, x]:.6f}", f"{state.clear[y, x]:.6f}", f"{state.clear[y, x] ** 2:.6f}",
         f"{state.path[y, x]:.6f}") for y, x in inside])


def _csv(names: tuple[str, ...], rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(names)
    table.writerows(rows)
    return text.getvalue()


def _write_mask(state: OpticsState, radius: float, path: Path) -> None:
    """The mask's intensity transmission in 8 bits, white clear, samples as squares; printed at its own resolution it
    has the right size. Of a free transfer function, the weights over the largest."""
    values = state.mask / state.mask.max() if state.free else state.clear**2
    times = -(-MASK_PIXELS // len(values))
    levels = np.kron(np.rint(255 * values).astype(np.uint8), np.ones((times, times), np.uint8))
    about = PngImagePlugin.PngInfo()
    dpi = None
    if not state.free:
        about.add_text("Description", f"intensity transmission of the pupil mask, {2 * radius:.4f} mm across")
        dpi = (len(levels) / (2 * radius / 25.4),) * 2
    with atomic_path(path) as beside:
        Image.fromarray(levels).save(beside, format="PNG", pnginfo=about, **({"dpi": dpi} if dpi else {}))


def _write_tiff(values: np.ndarray, path: Path, pixel: float) -> None:
    """float32, with the pixel's side in micrometres as ImageJ reads it."""
    with atomic_path(path) as beside:
        tifffile.imwrite(beside, values, imagej=True, resolution=(1 / pixel, 1 / pixel), metadata={"unit": "um"})


def _at_scale(run: Run, pixels: np.ndarray) -> np.ndarray:
    """The whole image, with pixels of the same size as in the run's input; where the run's cells were not cropped but
    resized to one size, it is resized to that too."""
    if not run.recipe.preprocess.crop:
        return resize(pixels, run.recipe.preprocess.size)
    share = _scale(run, pixels)
    if share == 1:
        return pixels
    return cv2.resize(pixels, None, fx=share, fy=share, interpolation=cv2.INTER_AREA if share < 1 else cv2.INTER_LINEAR)


def _scale(run: Run, pixels: np.ndarray) -> float:
    """Pixels of the run's input for each pixel of the image, along its shorter side."""
    preprocess = run.recipe.preprocess
    return preprocess.size / (preprocess.crop or min(pixels.shape[:2]))
