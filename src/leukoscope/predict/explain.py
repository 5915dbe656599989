"""Which pixels of a cell decided: Grad-CAM and occlusion, both computed by captum. Draws nothing, writes no file.

Both show where a network looks, never why: docs/explanations.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from scipy.stats import rankdata
from torch import Tensor

from ..cells.input_steps import InputSteps
from ..errors import LeukoscopeError
from ..finder.frame import shaped
from ..networks.units import Units
from ..optics.microscope import microscope_of
from ..runs.network import load_network
from ..runs.run import Run

Method = Literal["grad-cam", "occlusion"]
Device = torch.device | str

METHODS: tuple[Method, ...] = ("grad-cam", "occlusion")
WINDOWS = 6
"""Windows side by side that cover a cell in occlusion. Each is moved by half its side: 11 x 11 places."""
AT_ONCE = 16 * 224**2
"""Pixels of covered cells that go through the network together, so that memory stays small at any size."""
_MICROSCOPE = ("microscope", "gain")
"""Units in front of a network that learns its optics: images, not maps."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """What decided on one cell. cell: as packed, before the recipe's steps; target: the class that is explained;
    probabilities: class -> in [0, 1], in the run's order.

    grad_cam (0 or more, without a scale) and occlusion (probability, in [-1, 1]) are high where a place speaks for the
    target; None where it was not asked for, or cannot be computed (`remarks` say why). unit, unit_size: where Grad-CAM
    was taken, and the height and width in px of its maps.
    """

    cell: UInt8[np.ndarray, "size size 3"]
    target: str
    probabilities: dict[str, float]
    grad_cam: Float32[np.ndarray, "size size"] | None
    occlusion: Float32[np.ndarray, "size size"] | None
    unit: str = ""
    unit_size: tuple[int, int] = (0, 0)
    remarks: tuple[str, ...] = ()

    @property
    def predicted(self) -> str:
        """The class of the highest probability."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])


LITTLE_AGREEMENT = 0.2
"""Rank correlation of the two maps below which they are said to contradict each other."""


def agreement_of(explanation: Explanation) -> float | None:
    """Spearman's rank correlation, -1 to 1, of Grad-CAM and occlusion over the cell; None where one is missing or does
    not vary."""
    if explanation.grad_cam is None or explanation.occlusion is None:
        return None
    ranks = [rankdata(values.ravel()) for values in (explanation.grad_cam, explanation.occlusion)]
    if min(float(np.ptp(values)) for values in ranks) == 0:
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def contradiction(explanation: Explanation) -> str:
    """A sentence where the two methods point at different places, else ""."""
    agreement = agreement_of(explanation)
    return "" if agreement is None or agreement >= LITTLE_AGREEMENT else (
        f"Grad-CAM and occlusion point at different places (rank correlation {agreement:.2f}): do not rely on "
        "either for this cell")


def explain(run: Run, fold: int, pixels: UInt8[np.ndarray, "h w 3"], *, target: str | None = None,
            methods: Sequence[Method] = METHODS, device: Device | None = None) -> Explanation:
    """Which pixels of a cell speak for `target` (None: the predicted class) to the network of a fold.

    pixels: the cell as it is in the manifest; it is cropped and resized as in training. Raises LeukoscopeError for a
    class that the run does not know, and RunError for a fold that does not exist or is not done.
    """
    if target is not None and target not in run.classes:
        raise LeukoscopeError(f"{target}: not a class of {run.folder}", f"its classes: {', '.join(run.classes)}")
    for method in methods:
        if method not in METHODS:
            raise LeukoscopeError(f"{method}: not a method of explanation", f"choose from: {', '.join(METHODS)}")
    module, steps = load_network(run, fold)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    module = module.to(device)
    cell = shaped(pixels, run.recipe.preprocess)
    image = network_input(steps, cell[None], device)
    with torch.inference_mode():
        probabilities = torch.softmax(module(image).cpu().double(), 1)[0].numpy()
    index = run.classes.index(target) if target else int(probabilities.argmax())
    unit, unit_size, heat, lost, remarks = "", (0, 0), None, None, []
    if "grad-cam" in methods:
        unit, unit_size = last_maps(module, image)
        if unit:
            heat = grad_cam(module, image, index, unit)
        else:
            remarks.append("no Grad-CAM: the network has no maps of more than one pixel")
    if "occlusion" in methods:
        lost = occlusion(module, steps, cell, index, device=device)
        if run.recipe.optics.simulate and run.recipe.optics.photons:
            remarks.append("occlusion holds noise: the simulated sensor draws its own for each covered cell")
    return Explanation(cell, run.classes[index], dict(zip(run.classes, probabilities.tolist(), strict=True)), heat,
                       lost, unit, unit_size, tuple(remarks))


def network_input(steps: InputSteps, cells: UInt8[np.ndarray, "cells size size 3"],
                  device: Device = "cpu") -> Float32[Tensor, "cells 3 size size"]:
    """The network's input of packed cells, as in prediction."""
    levels = torch.from_numpy(np.array(steps.levels(cells)))  # a copy: a decoded image may be read-only
    return steps.encode(levels.to(device)).contiguous(memory_format=torch.channels_last)


def last_maps(module: Units, image: Float32[Tensor, "1 3 size size"]) -> tuple[str, tuple[int, int]]:
    """The last unit whose maps have more than one pixel, and their height and width; "" where there is none.

    Maps of one pixel, which global pooling leaves and some networks convolve once more, locate nothing.
    """
    with torch.inference_mode():
        sizes = {unit: (values.shape[2], values.shape[3]) for unit, values in module.unit_maps(image).items()}
    if microscope_of(module) is not None:
        sizes = {unit: size for unit, size in sizes.items() if unit not in _MICROSCOPE}
    return next(((unit, size) for unit, size in reversed(sizes.items()) if size != (1, 1)), ("", (0, 0)))


def grad_cam(module: Units, image: Float32[Tensor, "1 3 size size"], target: int,
             unit: str) -> Float32[np.ndarray, "size size"]:
    """Grad-CAM (Selvaraju et al. 2017, equations 1 and 2) of one class at one unit, upsampled bilinearly.

    Each map is weighted by the mean, over its pixels, of the gradient of the class's logit; the sum of the weighted
    maps is cut off below 0. The maps are stretched over the whole cell. Convolutions without padding shrink maps from
    the border inwards, which shifts the heat by up to half of what they take away.
    """
    from captum.attr import LayerAttribution, LayerGradCam  # here: it takes a second

    # A copy, so that no hook stays behind; and nothing in place, which could write over the maps that hooks keep.
    own = deepcopy(module)
    for part in own.modules():
        if getattr(part, "inplace", False) is True:
            part.inplace = False  # type: ignore[assignment]  # a bool, whatever nn.Module's stub says
    maps = LayerGradCam(own, own.get_submodule(unit)).attribute(
        image.detach().clone().requires_grad_(), target=target, relu_attributions=True)
    assert isinstance(maps, Tensor)
    heat = LayerAttribution.interpolate(maps.detach(), tuple(image.shape[2:]), interpolate_mode="bilinear")
    return heat[0, 0].float().cpu().numpy()


def occlusion(module: Units, steps: InputSteps, cell: UInt8[np.ndarray, "size size 3"], target: int, *,
              device: Device = "cpu") -> Float32[np.ndarray, "size size"]:
    """The probability that one class loses when a place is covered (Zeiler and Fergus 2014): negative where it gains.

    A square of a sixth of the side, in the cell's background colour, covers the packed cell at 11 x 11 places half a
    square apart, and each covered cell goes through all steps of the recipe. A pixel's value is the mean of p(cell) -
    p(covered cell) over the squares that hold it (captum's division by overlaps): four squares, away from the border.
    Values below about 1e-6 are rounding.
    """
    from captum.attr import Occlusion  # here: it takes a second

    def answer(images: Tensor) -> Tensor:
        cells = images.round().to(torch.uint8).movedim(1, -1).numpy()
        return torch.softmax(module(network_input(steps, cells, device)).cpu().double(), 1)[:, target]

    window = max(1, round(len(cell) / WINDOWS))
    stride = (window + 1) // 2
    image = torch.from_numpy(np.ascontiguousarray(np.moveaxis(cell, -1, 0)))[None].float()
    cover = torch.from_numpy(background(cell)).float()[None, :, None, None].expand_as(image)
    lost = Occlusion(answer).attribute(image, (3, window, window), strides=(3, stride, stride), baselines=cover,
                                       perturbations_per_eval=max(1, AT_ONCE // len(cell)**2))
    assert isinstance(lost, Tensor)
    return lost[0, 0].float().numpy()


def background(cell: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, " 3"]:
    """The median colour of the outermost pixels: what surrounds a cell that was cut out with room to spare."""
    border = np.concatenate([cell[0], cell[-1], cell[1:-1, 0], cell[1:-1, -1]])
    return np.rint(np.median(border, axis=0)).astype(np.uint8)
