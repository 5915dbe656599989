"""The microscope as a module: what it starts from, what it learns, that it is the same everywhere, what it refuses."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from leukoscope.errors import RecipeError, RunError
from leukoscope.networks import Units
from leukoscope.optics import (
    Microscope,
    StillMicroscope,
    aperture,
    image_pupil,
    incoherent_psf,
    microscope_of,
    sensor_size,
    with_microscope,
)
from leukoscope.optics.microscope import check_microscope, psf_radius, ring_means
from leukoscope.recipes import Optics

NOISY: dict[str, Any] = {"constraint": "sum", "photons": 200.0, "read_noise": 2.0, "full_well": 400.0, "bit_depth": 8}


def optics(**values: Any) -> Optics:
    return Optics(**{"simulate": True, "grid": 15, "window": 15, **values})


def cells(count: int = 3, size: int = 24) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(0)) / 255


def test_it_starts_with_equal_lamps_and_an_open_pupil():
    microscope = Microscope(optics(grid=63, window=31))
    torch.testing.assert_close(microscope.illumination(), torch.full((3,), 1 / 3))
    np.testing.assert_allclose(microscope.amplitude().detach(), aperture(63), atol=1e-6)
    expected = incoherent_psf(image_pupil(torch.from_numpy(aperture(63)), None, 0.46), numerical_aperture=0.95,
                              wavelength=0.46, pixel=0.1, window=31)
    torch.testing.assert_close(microscope.psf()[2].double(), expected, rtol=0, atol=1e-6)
    assert microscope.summary()["throughput"] == pytest.approx(1)


def test_a_disc_is_dim_outside_but_can_be_learned():
    amplitude = Microscope(optics(grid=63, start="disc", disc=0.5)).amplitude().detach().numpy()
    assert amplitude[31, 31] == pytest.approx(1, abs=1e-5)
    assert amplitude[31, 58] == pytest.approx(0.05, abs=1e-3)
    assert amplitude[0, 0] == 0


def test_an_aberration_widens_the_psf_and_can_be_held_or_learned():
    plain, held = (Microscope(optics(grid=31, window=31, defocus=d)) for d in (0.0, 0.15))
    assert held.summary()["psf_radius"] > 1.3 * plain.summary()["psf_radius"]
    assert held.summary()["defocus"] == pytest.approx(0.15)
    assert not held.wavefront.requires_grad
    learned = Microscope(optics(learn=("aberration",), spherical=0.1))
    learned(cells()).square().mean().backward()
    assert learned.wavefront.grad is not None
    assert learned.wavefront.grad[1] != 0
    assert (learned.lamps.grad, learned.mask.grad) == (None, None)


@pytest.mark.parametrize("transfer", ["incoherent", "free"])
def test_what_is_learned_is_what_the_recipe_says(transfer):
    for learn in ((), ("illumination",), ("pupil",), ("illumination", "pupil")):
        microscope = Microscope(optics(learn=learn, transfer=transfer))
        assert microscope.lamps.requires_grad == ("illumination" in learn)
        assert microscope.mask.requires_grad == ("pupil" in learn)
        if learn:
            (microscope(cells()) ** 2).mean().backward()
            for p in microscope.parameters():
                assert (p.grad is not None and bool(p.grad.any())) == p.requires_grad


@pytest.mark.parametrize("more", [{"transfer": "free"}, {}, {"constraint": "sum"}, {"constraint": "power"},
                                  {"learn": ("illumination", "pupil", "aberration"), "defocus": 0.05, "light": "srgb"},
                                  {**NOISY, "bit_depth": 0}])
def test_gradients_of_every_learned_parameter(more):
    microscope = Microscope(optics(grid=5, window=5, pool=2, **more)).double().eval()
    images = cells(2, 8).double()
    names = [name for name, p in microscope.named_parameters() if p.requires_grad]

    def image(*values: torch.Tensor) -> torch.Tensor:
        for name, value in zip(names, values, strict=True):
            delattr(microscope, name)
            setattr(microscope, name, value)
        return microscope.recorded(images)

    with torch.no_grad():  # away from the start, where softplus and the constraints are not special
        values = [(p + 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(2)).double()).requires_grad_()
                  for p in microscope.parameters() if p.requires_grad]
    for name in names:
        del microscope._parameters[name]
        setattr(microscope, name, None)
    assert torch.autograd.gradcheck(image, values)


@pytest.mark.parametrize(("constraint", "total"), [("sum", lambda w: w.sum()), ("power", lambda w: 3 * (w**2).sum())])
def test_constrained_lamps_share_what_there_is(constraint, total):
    microscope = Microscope(optics(constraint=constraint))
    with torch.no_grad():
        microscope.lamps.copy_(torch.tensor([-3.0, 0.5, 9.0]))
    weights = microscope.illumination().detach()
    assert float(total(weights)) == pytest.approx(1, abs=1e-6)
    assert float(weights.min()) > 0


def test_noise_is_new_in_training_and_an_images_own_in_evaluation():
    microscope = Microscope(optics(**NOISY))
    torch.manual_seed(0)
    assert not torch.equal(microscope(cells()), microscope(cells()))
    torch.manual_seed(0)
    first = microscope(cells())
    torch.manual_seed(0)
    assert torch.equal(first, microscope(cells()))
    microscope.eval()
    whole = microscope(cells(5))
    assert torch.equal(whole, microscope(cells(5)))
    torch.testing.assert_close(whole[2:3], microscope(cells(5)[2:3]), rtol=0, atol=1e-6)
    whole = whole.detach()
    assert float(whole.max()) <= 2.05
    levels = (whole + 0.05) * 255 / 2.1  # five times two electrons of 200 below darkness and above the full well
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-3)


def test_a_dark_pupil_costs_light():
    bright, dim = (Microscope(optics(grid=63, start=start, disc=0.5, constraint="sum", photons=1e8)).eval()
                   for start in ("open", "disc"))
    white = torch.ones(1, 3, 24, 24)
    assert bright(white).mean().item() == pytest.approx(1, abs=1e-3)
    assert dim(white).mean().item() == pytest.approx(0.25, abs=0.02)


def test_what_a_fine_mask_scatters_out_of_the_window_is_lost():
    microscope = Microscope(optics(grid=63, window=63, constraint="sum", photons=1e8)).eval()
    with torch.no_grad():
        stripes = (torch.arange(63) // 2 % 2).expand(63, 63)
        microscope.mask.copy_(torch.where(stripes > 0, 1.0, -50.0))  # they send light 4 um and more to both sides
    inside = []
    for wavelength, period in zip(microscope.optics.wavelengths, (207, 173, 153), strict=True):
        pupil = image_pupil(microscope.amplitude().detach(), None, wavelength)
        wide = incoherent_psf(pupil, numerical_aperture=0.95, wavelength=wavelength, pixel=0.1, window=period)
        middle = slice(period // 2 - 31, period // 2 + 32)
        inside.append(wide[middle, middle].sum().item())
    expected = microscope.throughput().item() * np.mean(inside)
    assert microscope.gathered().item() == pytest.approx(expected, rel=0.02)
    assert microscope.gathered().item() < 0.7 * microscope.throughput().item()


def test_a_wavefront_that_came_with_other_weights_is_used():
    microscope = Microscope(optics(grid=31, window=31))
    plain = microscope.summary()["psf_radius"]
    with torch.no_grad():
        microscope.wavefront[0] = 0.2
    assert microscope.summary()["psf_radius"] > 1.3 * plain


@pytest.mark.parametrize("more", [{"pool": 2}, {"transfer": "free"}, {"light": "srgb", "pool": 3},
                                  {k: v for k, v in NOISY.items() if k != "bit_depth"}])
def test_it_is_the_same_when_exported(more, tmp_path):
    microscope = Microscope(optics(**more)).eval()
    with torch.no_grad():
        microscope.mask.add_(torch.randn(15, 15, generator=torch.Generator().manual_seed(4)))
    path = tmp_path / "microscope.onnx"
    batch = torch.export.Dim("batch", min=1, max=64)
    with warnings.catch_warnings():  # the exporter's own: it uses what torch will leave
        warnings.simplefilter("ignore")
        torch.onnx.export(StillMicroscope(microscope), (cells(),), path, dynamo=True, dynamic_shapes=({0: batch},),
                          verbose=False)
    onnx.checker.check_model(onnx.load(path))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {session.get_inputs()[0].name: cells(5).numpy()})
    np.testing.assert_allclose(np.asarray(result), microscope(cells(5)).detach().numpy(), atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("more", [{}, {"transfer": "free"}, {k: v for k, v in NOISY.items() if k != "bit_depth"}])
def test_it_is_the_same_on_a_gpu(more):
    here = Microscope(optics(pool=2, **more)).eval()
    there = copy.deepcopy(here).cuda()
    torch.testing.assert_close(there(cells().cuda()).cpu(), here(cells()), rtol=0, atol=2e-5)


def test_it_stands_in_front_of_a_network_with_a_gain_between():
    network = with_microscope(Units({"last": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 2))}),
                              optics(pool=2))
    assert network.units == ("microscope", "gain", "last")
    assert microscope_of(network) is network.microscope
    assert microscope_of(torch.nn.Linear(1, 1)) is None
    images = network.get_submodule("gain")(network.get_submodule("microscope")(cells(16)))
    assert images.mean().item() == pytest.approx(0, abs=1e-5)
    assert images.std(correction=0).item() == pytest.approx(1, abs=2e-2)
    assert network(cells()).shape == (3, 2)
    assert set(network.state_dict()) >= {"microscope.lamps", "microscope.mask", "microscope.wavefront"}


def test_the_sensor_has_whole_pixels():
    assert sensor_size(optics(pool=6), 200) == 33
    assert sensor_size(optics(pool=4), 200) == 50
    with pytest.raises(RecipeError, match=r"optics.window = 63: half of it must be smaller than the input of 31 px"):
        sensor_size(optics(window=63, grid=63), 31)


@pytest.mark.parametrize(("name", "value", "words"), [
    ("lamps", float("nan"), "lamps holds a value that is not a number"),
    ("mask", float("inf"), "mask holds a value that is not a number"),
    ("wavefront", float("nan"), "wavefront holds a value that is not a number"),
    ("lamps", -1e4, "every weight of microscope.lamps is zero"),
    ("mask", -1e4, "every weight of microscope.mask is zero"),
])
def test_loaded_weights_that_make_no_microscope_are_refused(name, value, words):
    microscope = Microscope(optics())
    check_microscope(microscope, "run")
    with torch.no_grad():
        getattr(microscope, name).fill_(value)
    with pytest.raises(RunError, match=words):
        check_microscope(microscope, "run")


def test_summaries_of_a_pupil_and_a_psf():
    assert ring_means(aperture(63)) == pytest.approx(np.ones(8), abs=1e-12)
    inner = ring_means(aperture(127, 0.5))
    assert inner[:3] == pytest.approx(np.ones(3), abs=1e-12)
    assert inner[5:] == pytest.approx(np.zeros(3), abs=1e-12)
    spot = np.zeros((1, 5, 5))
    spot[0, 2, 0] = spot[0, 2, 4] = 0.5
    assert psf_radius(spot, 0.1) == pytest.approx([0.2])
