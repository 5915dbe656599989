"""The section [optics] of a recipe: what is refused and with which words, and that it goes to a file and back."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from leukoscope.errors import RecipeError
from leukoscope.networks import Units
from leukoscope.recipes import Data, Optics, Recipe, dump_recipe, load_recipe, make_recipe
from leukoscope.runs.network import fresh_network

COUNTED: dict[str, Any] = {"photons": 1000.0, "constraint": "sum"}


def recipe(optics: dict[str, Any] | None = None, **sections: dict[str, Any]) -> Recipe:
    """A recipe with a microscope; `optics` and whole keys of other sections change it."""
    preprocess = {"size": 64, "normalise": "none"} | sections.pop("preprocess", {})
    return make_recipe({"name": "small", "data": {"classes": ["a", "b"]}, "preprocess": preprocess,
                        "optics": {"simulate": True} | (optics or {}), "network": {"name": "lenet5"}} | sections)


@pytest.mark.parametrize(("optics", "said"), [
    ({"numerical_aperture": 1.2}, r"numerical_aperture 1\.2 is above the refractive index 1, which no objective can "
                                  r"reach; set refractive_index to 1\.33 for water or 1\.515 for oil"),
    ({"numerical_aperture": 1.4, "refractive_index": 1.33}, r"numerical_aperture 1\.4 is above the .* index 1\.33"),
    ({"wavelengths": [625, 525, 460]}, r"wavelengths\[0\]: expected micrometres from 0\.2 to 2, got 625; 625 looks "
                                       r"like nanometres, so write 0\.625"),
    ({"wavelengths": [0.625, 525, 0.46]}, r"wavelengths\[1\]: .*525 looks like nanometres, so write 0\.525"),
    ({"wavelengths": [0.625, 0.525, 5.0]}, r"wavelengths\[2\]: expected micrometres from 0\.2 to 2, got 5; docs"),
    ({"wavelengths": [0.625, 0.525]}, r"wavelengths\.2: Field required"),
    ({"pixel": 100}, r"pixel: expected micrometres from 0\.001 to 10, got 100; 100 looks like nanometres, so write "
                     r"0\.1"),
    ({"pixel": 0.0}, r"pixel: expected micrometres from 0\.001 to 10, got 0; docs"),
    ({"pixel": float("nan")}, r"pixel: expected micrometres from 0\.001 to 10, got nan; docs"),
    ({"grid": 64}, r"grid: must be odd, so that one sample is the centre \(got 64\)"),
    ({"window": 32}, r"window: must be odd, so that one sample is the centre \(got 32\)"),
    ({"grid": 15}, r"window = 63: the point spread function of a pupil of 15 samples repeats every 36\.3 px; use a "),
    ({"grid": 61, "transfer": "free"}, r"window = 63: .* a pupil of 61 samples repeats every 61\.0 px"),
    *(({"transfer": "free", **aberration}, "aberrations belong to a pupil, and transfer = 'free' has none; use 'incohe")
      for aberration in ({"defocus": 0.1}, {"spherical": -0.1}, {"astigmatism": 0.1}, {"learn": ["aberration"]})),
    ({"transfer": "free", **COUNTED}, "photons: transfer = 'free' does not conserve light, so photons cannot be"),
    ({"learn": ["aberration"]}, "learn: aberrations cannot be learned when all start at 0, because the gradient"),
    ({"bit_depth": 8}, "bit_depth: a converter has a largest value, which lamps without a limit exceed; set"),
    ({"pixel": 0.2}, r"pixel = 0\.2: too large for the finest detail that a numerical aperture of 0\.95 passes at "
                     r"0\.46; use pixels of wavelength / \(4 NA\) = 0\.1211 or less, or numerical_aperture = 0\.575"),
    ({"photons": 1000.0}, "photons: without a limit, brighter lamps would cost nothing; set constraint to 'sum'"),
    ({"read_noise": 2.0}, "read_noise and full_well are in electrons; set photons to the electrons of a white"),
    ({"full_well": 2e4, "constraint": "sum"}, "read_noise and full_well are in electrons; set photons"),
    ({"learn": ["lens"]}, r"learn\.0: .*'illumination', 'pupil' or 'aberration' \(got 'lens'\)"),
    ({"pool": 0}, r"pool: .*greater than or equal to 1 \(got 0\)"),
    ({"na": 0.9}, "na: no such key; docs/recipes"),
])
def test_a_microscope_that_cannot_be_built_is_refused_in_its_own_words(optics, said):
    with pytest.raises(RecipeError, match=rf"^recipe: optics[.:] ?{said}"):
        recipe(optics)
    with pytest.raises(RecipeError, match=said):  # a wrong key is wrong before the microscope is switched on
        recipe(optics | {"simulate": False})


@pytest.mark.parametrize("optics", [
    {"numerical_aperture": 1.33, "refractive_index": 1.33, "pixel": 0.08}, {"pixel": 0.001},
    {"wavelengths": [2.0, 0.2, 0.2], "pixel": 0.05},
    {"pixel": 10.0, "transfer": "free"}, {"grid": 3, "window": 3},
    {**COUNTED, "read_noise": 2.0, "full_well": 900.0, "bit_depth": 8},
    {"photons": 1e9, "constraint": "power"}, {"bit_depth": 1, "constraint": "sum"}, {"transfer": "free", "learn": []},
])
def test_the_ends_of_every_range_are_in_it(optics):
    assert recipe(optics).optics == Optics(simulate=True, **optics)


COLOUR = "optics: the microscope needs three colour channels, but preprocess.input"
LIGHT = "optics: the microscope needs unchanged pixel values; set preprocess.normalise = 'none'"


@pytest.mark.parametrize(("sections", "said"), [
    ({"preprocess": {"input": "grey"}}, f"{COLOUR} = 'grey'; set it to 'colour'"),
    ({"preprocess": {"input": "edges"}}, f"{COLOUR} = 'edges'"),
    ({"preprocess": {"normalise": "channel"}}, LIGHT),
    ({"preprocess": {"normalise": "image"}}, LIGHT),
    ({"preprocess": {"blur": 1.0}}, LIGHT),
    ({"pca": {"components": 3}}, LIGHT),
    ({"pca": {"variance": 0.9}}, LIGHT),
])
def test_what_comes_before_the_microscope_must_be_light(sections, said):
    with pytest.raises(RecipeError, match=said):
        recipe(**sections)
    assert not recipe({"simulate": False}, **sections).optics.simulate


# The network behind it


def small_network(optics: dict[str, Any], size: int = 64, name: str = "lenet5") -> Units:
    with torch.device("meta"):
        return fresh_network(recipe(optics, preprocess={"size": size}, network={"name": name}))


@pytest.mark.parametrize(("name", "least"), [("lenet5", 16), ("resnet31", 32)])
def test_large_pixels_that_leave_too_few_are_refused_with_a_mend_that_works(name, least):
    with pytest.raises(RecipeError) as caught:
        small_network({"pool": 5}, name=name)
    assert caught.value.what == f"optics.pool = 5: the sensor has 12 of 64 px per side, and {name} needs {least}"
    most = 64 // least
    assert caught.value.hint == f"set optics.pool to {most} or less, or preprocess.size to {5 * least} or more"
    small_network({"pool": most}, name=name)
    small_network({"pool": 5}, size=5 * least, name=name)
    for optics, size in (({"pool": most + 1}, 64), ({"pool": 5}, 5 * least - 1)):
        with pytest.raises(RecipeError, match=r"optics\.pool = "):
            small_network(optics, size=size, name=name)


def test_a_psf_that_does_not_fit_the_input_is_refused_with_a_mend_that_works():
    with pytest.raises(RecipeError, match=r"optics\.window = 63: half of it must be smaller than the input of 31 px; "
                                          r"set optics\.window to 61 or less, or preprocess\.size to more"):
        small_network({}, size=31)
    small_network({"window": 61}, size=31)
    small_network({}, size=32)


def test_the_network_behind_it_has_one_channel_and_the_size_of_the_sensor():
    plain = small_network({"simulate": False}, size=33)
    behind = small_network({"pool": 2, "grid": 15, "window": 15}, size=66)
    assert behind.units == ("microscope", "gain", *plain.units)
    shapes = {name: value.shape for name, value in behind.state_dict().items() if name.partition(".")[0] in plain.units}
    expected = {name: value.shape for name, value in plain.state_dict().items()}
    first = next(name for name, shape in expected.items() if len(shape) == 4)
    assert shapes == expected | {first: (6, 1, 5, 5)}
    assert {name: tuple(value.shape) for name, value in behind.named_parameters() if name.startswith("microscope.")} \
        == {"microscope.lamps": (3,), "microscope.mask": (15, 15), "microscope.wavefront": (3,)}


# To a file and back


@st.composite
def microscopes(draw: st.DrawFn) -> Optics:
    free = draw(st.booleans())
    counted = not free and draw(st.booleans())
    index, aberration = draw(st.floats(1, 2)), st.just(0.0) if free else st.floats(-10, 10)
    odd = st.integers(1, 127).map(lambda n: 2 * n + 1)
    above_zero = st.floats(0, 1, exclude_min=True)
    electrons = st.floats(0, 1e6) if counted else st.just(0.0)
    learned = ["illumination", "pupil"] + ["aberration"] * (not free)
    samples, other = sorted((draw(odd), draw(odd)), reverse=True)
    wavelengths, numerical_aperture = draw(st.tuples(*[st.floats(0.2, 2)] * 3)), index * draw(above_zero)
    learn = draw(st.lists(st.sampled_from(learned), unique=True))
    constraint = draw(st.sampled_from(["sum", "power"] if counted else ["none", "sum", "power"]))
    repeats = samples * min(wavelengths) / max(2 * numerical_aperture * other, 1e-9)
    carried = min(wavelengths) / max(4 * numerical_aperture, 1e-9)
    coarsest = 10.0 if free else min(10.0, 0.999 * repeats, 0.999 * carried)
    return Optics.model_validate({
        "simulate": draw(st.booleans()), "pool": draw(st.integers(1, 64)),
        "learn": learn, "learning_rate": draw(above_zero),
        "transfer": "free" if free else "incoherent", "wavelengths": wavelengths,
        "numerical_aperture": numerical_aperture, "refractive_index": index,
        "pixel": draw(st.floats(0.001, coarsest)), "grid": samples, "window": other,
        "start": draw(st.sampled_from(["open", "disc"])), "disc": draw(above_zero), "defocus": draw(aberration),
        "spherical": draw(aberration) or (0.1 if "aberration" in learn else 0.0), "astigmatism": draw(aberration),
        "light": draw(st.sampled_from(["values", "srgb"])),
        "constraint": constraint,
        "photons": 1e9 * draw(above_zero) if counted else 0.0, "read_noise": draw(electrons),
        "full_well": draw(electrons), "bit_depth": 0 if constraint == "none" else draw(st.integers(0, 16))})


@given(microscopes())
def test_a_dumped_microscope_is_read_back_the_same(optics):
    dumped = recipe().model_copy(update={"optics": optics})
    assert make_recipe(tomllib.loads(dump_recipe(dumped))) == dumped


def test_a_recipe_without_a_microscope_is_what_it_was_and_old_files_still_load(tmp_path):
    old = tmp_path / "recipe.toml"
    sections = dump_recipe(load_recipe("almotairi2020")).split("\n\n")
    before = [section for section in sections if not section.startswith("[optics]")]
    assert len(before) == len(sections) - 1
    lines = "\n\n".join(before).splitlines()
    old.write_text("\n".join(line for line in lines if not line.startswith(("smaller", "repeat"))))
    assert load_recipe(old) == load_recipe("almotairi2020").model_copy(update={"paper": {}, "scale": {}})
    assert load_recipe(old).optics == Optics(simulate=False)


def test_settings_reach_the_microscope():
    optics = load_recipe("dimuro2020", settings=["optics.pool=2", "optics.learn=['pupil']", "optics.start=disc",
                                                 "optics.wavelengths=[0.64, 0.53, 0.45]"]).optics
    assert (optics.pool, optics.learn, optics.start) == (2, ("pupil",), "disc")
    assert optics.wavelengths == (0.64, 0.53, 0.45)
    network = load_recipe("dimuro2020").model_copy(update={"data": Data(classes=("a", "b"))})
    with torch.device("meta"):
        assert fresh_network(network).units == ("microscope", "gain", "stem", "block1", "block2", "block3", "block4",
                                                "last")
