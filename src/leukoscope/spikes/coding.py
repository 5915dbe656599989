"""First-spike coding of edges: a bank of filters, ranks of the responses, early spikes for strong ones (noshad2021).

From grey images to a latency for each pixel and filter ("map"): the strongest responses of an image fire first, in
`steps` equally populated time steps. Knows nothing of files, labels or networks. No gradient passes.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor
from torch.nn import functional

from ..errors import LeukoscopeError
from . import kernels
from .ranks import latencies_by_counting, latencies_by_sorting

FLOOR = 1e-5
"""Responses below it are 0: rounding gives flat regions about 1e-6. With the default bank a straight edge of one level
of 255 gives at least 40 times as much."""
MOST_STEPS = 254
"""Latencies are uint8, and the value after the last step means "never"."""

_SCALE, _FLOOR = np.float32(1 / 255), np.float32(FLOOR)


def edge_responses(grey: Float32[Tensor, "b h w"], bank: Float32[Tensor, "m window window"], *,
                   absolute: bool = True) -> Float32[Tensor, "b m h w"]:
    """|bank * grey| for grey images in [0, 1], the same size, with border pixels repeated outwards (noshad2021, eq. 2).

    Zeros outside would draw a frame around every image that is not on black. `absolute=False` keeps positive responses
    and sets negative ones to 0 (for dog_bank). As in torch's conv2d the filters are not rotated; one with an even
    window reaches one pixel farther right and down. Responses below FLOOR are 0, so a flat region never fires.

    The image is scaled to grey levels first. If it was level / 255, all sums with the banks of this package are exact
    in any order (see gabor_bank): the result is the same on every device and in ONNX, 0 for flat regions, and unchanged
    when the levels are inverted.

    Raises LeukoscopeError, naming the image, for values outside [0, 1] or NaN; ValueError for wrong shapes or types.
    """
    if grey.dtype != torch.float32 or grey.ndim != 3:
        raise ValueError(f"grey: expected float32 (b, h, w), got {grey.dtype} {tuple(grey.shape)}")
    if _exporting():
        return _responses_torch(grey, bank, absolute)
    _check_bank(bank)
    grey, bank = grey.detach(), bank.detach().to(grey.device)
    if not grey.numel():
        return grey.new_zeros(len(grey), len(bank), *grey.shape[1:])
    low, high = grey.flatten(1).aminmax(dim=1)
    _refuse(~((low >= 0) & (high <= 1)), "grey values outside [0, 1], or NaN",
            "divide 8-bit images by 255, and correct or leave out damaged ones")
    if grey.device.type != "cpu":
        return _responses_torch(grey, bank, absolute)
    # numpy asks for large pages, torch does not: half the time to touch new memory.
    results = np.empty((len(grey), len(bank), *grey.shape[1:]), np.float32)
    images, weights = grey.contiguous().numpy(), bank.contiguous().numpy()
    _in_threads(len(grey), lambda part: kernels.responses(
        images[part], weights, _SCALE, _FLOOR, absolute, results[part]))
    return torch.from_numpy(results)


def first_spike(responses: Float[Tensor, "b m h w"], steps: int = 15, *,
                compatible: bool = False) -> UInt8[Tensor, "b m h w"]:
    """Latencies 0, 1, ..., steps - 1, and `steps` for what never fires: rank-order coding of each image (noshad2021).

    The N positive responses of an image's maps are ranked together; one with r stronger ones fires in step
    floor(r steps / N), so that steps are equally populated and equal responses fire together. Zeros and negative
    responses never fire. Fewer responses than steps leave steps empty; the strongest still fires in step 0.

    compatible: the bins of the published code: each step takes floor(N / steps) responses, the remainder (and
    everything, if N < steps) is silent. Where it would separate equal responses, they fire together with the first.

    float32, float16 or bfloat16, on any device; the result is on the same device. The ranks are exact.
    Raises LeukoscopeError, naming the image, for NaN or infinity, and for steps not in 1..254; ValueError for types.
    """
    _check_steps(steps)
    if responses.dtype not in (torch.float32, torch.float16, torch.bfloat16) or responses.ndim != 4:
        raise ValueError(f"responses: expected float32, float16 or bfloat16 (b, maps, h, w), "
                         f"got {responses.dtype} {tuple(responses.shape)}")
    if _exporting():
        return latencies_by_sorting(responses.float().flatten(1), steps, compatible).view(responses.shape)
    values = responses.detach().float().contiguous()
    if not values.numel():
        return torch.empty(values.shape, dtype=torch.uint8, device=values.device)
    bits = values.view(torch.int32).flatten(1)
    if values.device.type != "cpu":
        _refuse_not_finite(values)
        return latencies_by_counting(bits, steps, compatible).view(responses.shape)
    levels, out, bad = bits.numpy(), np.empty(bits.shape, np.uint8), np.zeros(len(bits), np.uint8)
    _in_threads(len(bits), lambda part: kernels.first_spikes(levels[part], steps, compatible, out[part], bad[part]))
    if bad.any():
        _refuse_not_finite(values)
    return torch.from_numpy(out).view(responses.shape)


def spike_wave(latency: UInt8[Tensor, "b m h w"], steps: int) -> Bool[Tensor, "b {steps} m h w"]:
    """The spike-wave tensor: whether a neuron has fired in this step or before."""
    _check_steps(steps)
    times = torch.arange(steps, dtype=torch.uint8, device=latency.device)
    return latency[:, None] <= times[:, None, None, None]


def first_spike_image(latency: UInt8[Tensor, "b m h w"], steps: int) -> Float32[Tensor, "b h w"]:
    """Brightness (steps - t) / steps of each pixel's earliest spike t over the maps: 1 for step 0, 0 for never."""
    _check_steps(steps)
    return (steps - latency.amin(dim=1).to(torch.float32)) / steps


def rank_intensities(responses: Float[Tensor, "b m h w"]) -> Float32[Tensor, "b m h w"]:
    """Each response replaced by 1 - r / N, where r of the N positive ones of its image are stronger.

    The strongest gets 1, equal ones the same, the weakest 1 / N (if alone); zeros and negative responses get 0. Needs
    a full sort. Raises LeukoscopeError, naming the image, for NaN or infinity.
    """
    values = responses.detach().flatten(1)
    if not values.numel():
        return responses.detach().float()
    _refuse_not_finite(values)
    ordered, places = values.sort(dim=1, descending=True)
    number = torch.arange(ordered.shape[1], device=ordered.device).expand(ordered.shape)
    begins = torch.ones_like(ordered, dtype=torch.bool)
    begins[:, 1:] = ordered[:, 1:] < ordered[:, :-1]
    stronger = torch.where(begins, number, 0).cummax(dim=1).values
    total = (ordered > 0).sum(dim=1, keepdim=True)
    shares = torch.where(ordered > 0, (total - stronger) / total.clamp(min=1), 0).to(torch.float32)
    return torch.empty_like(shares).scatter_(1, places, shares).view(responses.shape)


def first_spike_levels(grey: UInt8[np.ndarray, "n h w"], bank: Float32[Tensor, "m window window"], steps: int = 15, *,
                       compatible: bool = False) -> UInt8[np.ndarray, "n h w"]:
    """Each pixel's earliest step over the maps, `steps` for never, directly from grey levels: for caches, on the CPU.

    The same as edge_responses(grey / 255), first_spike and the least over the maps, bit for bit with the banks of this
    package; steps minus it, over steps, is first_spike_image. Beside the result, memory is one image's maps for each
    thread, so `grey` may be mapped from a file. Raises LeukoscopeError and ValueError as those do.
    """
    _check_steps(steps)
    _check_bank(bank)
    if grey.dtype != np.uint8 or grey.ndim != 3:
        raise ValueError(f"grey: expected uint8 (n, h, w), got {grey.dtype} {grey.shape}")
    out = np.empty(grey.shape, np.uint8)
    weights = bank.detach().cpu().contiguous().numpy()

    def work(part: slice) -> None:
        images = np.require(grey[part], requirements=["C", "W"])
        kernels.first_spike_levels(images, weights, _SCALE, _FLOOR, steps, compatible, out[part])

    if out.size:
        _in_threads(len(out), work)
    return out


def grey_levels(pixels: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "n h w"]:
    """ITU-R BT.601 luma 0.299 R + 0.587 G + 0.114 B of RGB pixels, rounded as Pillow's convert("L") does."""
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3:
        raise ValueError(f"pixels: expected uint8 (n, h, w, 3), got {pixels.dtype} {pixels.shape}")
    out = np.empty(pixels.shape[:-1], np.uint8)

    def work(part: slice) -> None:
        colours = np.require(pixels[part], requirements=["C", "W"])
        kernels.grey_levels(colours.reshape(-1), out[part].reshape(-1))

    if out.size:
        _in_threads(len(out), work)
    return out


def _responses_torch(grey: Tensor, bank: Tensor, absolute: bool) -> Tensor:
    before, after = (bank.shape[1] - 1) // 2, bank.shape[1] // 2
    padded = functional.pad(255 * grey[:, None], (before, after, before, after), mode="replicate")
    if padded.is_cuda and len(bank) > 1:
        # cuDNN may round to TF32 or use an FFT; grouped, float32 runs in torch's own plain kernel.
        sums = functional.conv2d(padded.expand(-1, len(bank), -1, -1).contiguous(), bank[:, None], groups=len(bank))
    else:
        sums = functional.conv2d(padded, bank[:, None])
    values = (sums.abs() if absolute else sums) * float(_SCALE)
    return torch.where(values >= float(_FLOOR), values, 0.0)


def _in_threads(count: int, work: Callable[[slice], None]) -> None:
    """Calls `work`, which must release the GIL, for all parts of 0..count, on as many threads as torch may use."""
    threads = min(torch.get_num_threads(), count)
    if threads < 2:
        work(slice(0, count))
        return
    edges = np.linspace(0, count, max(threads, min(4 * threads, count // 4)) + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, [slice(*pair) for pair in pairwise(edges)]))


def _exporting() -> bool:
    return torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export()


def _check_steps(steps: int) -> None:
    if not 1 <= steps <= MOST_STEPS:
        raise LeukoscopeError(f"steps: expected 1 to {MOST_STEPS} time steps, got {steps}", "give 15, the default")


def _check_bank(bank: Tensor) -> None:
    if bank.dtype != torch.float32 or bank.ndim != 3 or bank.shape[1] != bank.shape[2] or not bank.numel():
        raise ValueError(f"bank: expected float32 (maps, window, window), got {bank.dtype} {tuple(bank.shape)}")
    if not bank.abs().max() < 1e6:  # the loops rely on finite responses
        raise ValueError("bank: the weights are not numbers, or above a million")


def _refuse_not_finite(responses: Tensor) -> None:
    damaged = ~responses.isfinite().flatten(1).all(dim=1)
    _refuse(damaged, "responses that are infinite or NaN", "correct or leave out that image")


def _refuse(damaged: Tensor, what: str, hint: str) -> None:
    if damaged.any():
        raise LeukoscopeError(f"image {int(damaged.nonzero()[0])} of {len(damaged)} (from 0): {what}", hint)
