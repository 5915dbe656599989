"""The sections of a recipe: what can be asked for, as frozen, validated models. `recipe.py` joins and reads them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, lt=1)]
Value = str | bool | int | float


class Section(BaseModel):
    """A part of a recipe: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(Section):
    """Which cells, under which names.

    classes: the labels, in the order of the network's outputs; cells with other labels are left out and counted in
        the report. Empty: every label of the manifest, in alphabetical order.
    merge: label in the manifest -> label in this experiment, applied before `classes`.
    positive: the class that a binary task looks for ("leukemic"); empty for none.
    per_class: at most so many cells a class, drawn by the seed; 0 for all.
    """

    classes: tuple[str, ...] = ()
    merge: dict[str, str] = {}
    positive: str = ""
    per_class: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _consistent(self) -> Data:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: each may stand there once")
        if self.positive and self.classes and self.positive not in self.classes:
            raise ValueError(f"positive: '{self.positive}' is not one of the classes {', '.join(self.classes)}")
        return self


class Preprocess(Section):
    """From a decoded cell to the network's input.

    frame: "image" keeps the image as it is; "light" brings its background to one white; "cell" also
        finds the cell nearest to its middle and brings it to one scale, and its nucleus to one colour, by its own
        pixels (images/frame.py), so that cells of other laboratories look alike.
    crop: side in px of the centred square that is kept before resizing; 0 keeps the whole cell. Not with a cell's
        frame.
    smaller: what happens to a cell that is smaller than the crop: "keep" takes it whole, "refuse" calls it damaged.
    size: side in px of the square input.
    input: what the network sees: "colour", "grey", or "edges" (see Edges); the last two in three equal channels.
    blur: standard deviation in px of a Gaussian over the input; 0 for none.
    normalise: "channel" subtracts the mean and divides by the standard deviation of each channel, fitted on the
        training part (on all cells where `split.fit_on = "all"`); "image" does so with each image's own; "none" leaves
        values in [0, 1].
    """

    frame: Literal["image", "light", "cell"] = "image"
    crop: Annotated[int, Field(ge=0, le=8192)] = 0
    smaller: Literal["keep", "refuse"] = "keep"
    size: Annotated[int, Field(ge=8, le=1024)] = 70
    input: Literal["colour", "grey", "edges"] = "colour"
    blur: Annotated[float, Field(ge=0, le=20)] = 0.0
    normalise: Literal["channel", "image", "none"] = "channel"

    @model_validator(mode="after")
    def _one_cut(self) -> Preprocess:
        if self.frame == "cell" and self.crop:
            raise ValueError("crop: a cell's frame cuts already; set crop = 0, or frame = 'image'")
        return self


class Edges(Section):
    """Oriented edges, where `preprocess.input = "edges"` (Noshad and Fallahi 2021, equations 1 and 2).

    window, wavelength, sigma in px and gamma (aspect) are of the Gabor filters, of so many orientations.
    spikes: true for the first-spike image: responses of a cell are ranked and fire in `steps` equally populated time
        steps, the earliest is the brightest; false for the strongest response, as a share of the cell's strongest.
    """

    window: Annotated[int, Field(ge=2, le=63)] = 5
    wavelength: Annotated[float, Field(gt=0, le=100)] = 2.5
    sigma: Annotated[float, Field(gt=0, le=100)] = 2.0
    gamma: Annotated[float, Field(gt=0, le=10)] = 0.5
    orientations: Annotated[int, Field(ge=1, le=64)] = 4
    spikes: bool = True
    steps: Annotated[int, Field(ge=1, le=254)] = 15


class Components(Section):
    """Principal components that the input is projected on and put together again from, fitted as `split.fit_on` says.

    components: how many; variance: as many as hold this share of the variance. One of the two, or zero for neither.
    """

    components: Annotated[int, Field(ge=0)] = 0
    variance: Fraction = 0.0

    @model_validator(mode="after")
    def _one_of_two(self) -> Components:
        if self.components and self.variance:
            raise ValueError("components and variance: set one of them, and the other to 0")
        return self

    @property
    def used(self) -> bool:
        return bool(self.components or self.variance)


class Augment(Section):
    """Random changes of the training cells, drawn anew for each cell and epoch. Zero switches a step off.

    Geometry (all in one resampling): rotation, shear in degrees (uniform in +-), shift as a share of the side
    (uniform in +-), zoom as a share (scale uniform in 1 +- zoom), flips with probability one half each.
    Colour: brightness, contrast, saturation as shares (factor uniform in 1 +- value), hue as a share of the circle.
    Stain: the optical density is scaled by 1 +- stain, and its three channels are mixed by a matrix whose diagonal is
        uniform in 1 +- stain_hue and whose other values are in +- half of it.
    eosin: the part of the density that is eosin's is multiplied by 2 to the power of +- eosin.
    Light: each channel is scaled by 1 +- light.
    Camera: half of the cells are blurred by up to `defocus` px (standard deviation of the input), all get noise of up
        to `noise` grey levels, half are compressed as JPEG of a quality from `jpeg` (0: none) to 95.
    surround: with this probability all becomes white outside of a rectangle about the middle, each side of which is
        0.45 to 1 of the image's, as where a cell was cut out narrowly.
    copies: label -> cells of the class after changed copies are added to its cells once and for all (or cells left
        out, drawn by the seed); then nothing is changed anew. `split.copies` says where they may stand.
    anew: true keeps no copies: an epoch shows each cell as often as itself and its copies would, changed anew each
        time.
    """

    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    shear: Annotated[float, Field(ge=0, le=45)] = 0.0
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    zoom: Fraction = 0.0
    flip_horizontal: bool = False
    flip_vertical: bool = False
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    saturation: Fraction = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    stain: Fraction = 0.0
    stain_hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    eosin: Annotated[float, Field(ge=0, le=3)] = 0.0
    light: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    defocus: Annotated[float, Field(ge=0, le=20)] = 0.0
    noise: Annotated[float, Field(ge=0, le=64)] = 0.0
    jpeg: Annotated[int, Field(ge=0, le=95)] = 0
    surround: Annotated[float, Field(ge=0, le=1)] = 0.0
    copies: dict[str, Annotated[int, Field(ge=1)]] = {}
    anew: bool = False

    @property
    def changes(self) -> bool:
        """Whether any step is switched on."""
        return any(value for name, value in self.model_dump().items() if name not in ("copies", "anew"))

    @property
    def relights(self) -> bool:
        """Whether stain, light, camera or surround are changed."""
        return any((self.stain, self.stain_hue, self.eosin, self.light, self.defocus, self.noise, self.jpeg,
                    self.surround))

    @property
    def each_epoch(self) -> bool:
        """Whether cells are changed anew in each epoch."""
        return self.changes and (self.anew or not self.copies)

    @model_validator(mode="after")
    def _copies_differ(self) -> Augment:
        if self.copies and not self.changes:
            raise ValueError("copies: every step of augment is off, so copies would equal their originals")
        if self.copies and self.relights and not self.anew:
            raise ValueError("copies: stain, light and camera are changed anew in each epoch only; set anew = true, or "
                             "these steps to 0")
        return self


class Optics(Section):
    """A simulated microscope in front of the network, whose settings may be learned with it (dimuro2020;
    optics/propagation.py).

    Lengths in micrometres. Needs `preprocess.input = "colour"` and `normalise = "none"`: values are light.

    simulate: whether there is one.
    pool: the sensor's pixels are so many times as large as the input's, along each axis (N in the paper).
    learn: what is learned, of "illumination", "pupil" and "aberration"; empty freezes all.
    learning_rate: of the optics; it is lowered in step with that of the network.
    transfer: "incoherent" for what light does, PSF = |FT(pupil)|^2; "free" for the paper's weights on the spectrum of
        the image itself, which no lens can build.
    wavelengths: of the red, green and blue lamp.
    numerical_aperture, refractive_index: of the objective and of what is in front of it.
    pixel: side of an input pixel in the plane of the cells, after crop and resizing.
    grid: samples of the pupil along its diameter, odd. window: px of the PSF along a side, odd.
    start: pupil to start from: "open", or "disc", whose radius is `disc` apertures.
    defocus, spherical, astigmatism: aberrations to start from, root mean square path difference.
    light: "values" takes pixel values as light, as the paper does; "srgb" undoes the gamma of sRGB first.
    constraint: of the lamps: the "sum" of the weights is 1, or their "power" (the sum of squares) that of three equal
        ones which share 1; or "none".
    photons: electrons that a sensor pixel gathers from a white field behind an open pupil; 0 for no noise at all.
    read_noise, full_well: in electrons. bit_depth: of the converter. 0 for none.
    """

    simulate: bool = False
    pool: Annotated[int, Field(ge=1, le=64)] = 1
    learn: tuple[Literal["illumination", "pupil", "aberration"], ...] = ("illumination", "pupil")
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.01
    transfer: Literal["incoherent", "free"] = "incoherent"
    wavelengths: tuple[float, float, float] = (0.625, 0.525, 0.46)
    numerical_aperture: Annotated[float, Field(gt=0, le=2)] = 0.95
    refractive_index: Annotated[float, Field(ge=1, le=2)] = 1.0
    pixel: float = 0.1
    grid: Annotated[int, Field(ge=3, le=255)] = 63
    window: Annotated[int, Field(ge=3, le=511)] = 63
    start: Literal["open", "disc"] = "open"
    disc: Annotated[float, Field(gt=0, le=1)] = 0.5
    defocus: Annotated[float, Field(ge=-10, le=10)] = 0.0
    spherical: Annotated[float, Field(ge=-10, le=10)] = 0.0
    astigmatism: Annotated[float, Field(ge=-10, le=10)] = 0.0
    light: Literal["values", "srgb"] = "values"
    constraint: Literal["none", "sum", "power"] = "none"
    photons: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    read_noise: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    full_well: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    bit_depth: Annotated[int, Field(ge=0, le=16)] = 0

    @model_validator(mode="after")
    def _can_be_built(self) -> Optics:
        for name, value in (*((f"wavelengths[{i}]", w) for i, w in enumerate(self.wavelengths)), ("pixel", self.pixel)):
            _check_micrometres(name, value, *((0.2, 2.0) if "wave" in name else (0.001, 10.0)))
        if self.numerical_aperture > self.refractive_index:
            raise ValueError(f"numerical_aperture {self.numerical_aperture:g} is above the refractive index "
                             f"{self.refractive_index:g}: no light leaves a cell at more than 90 degrees; set "
                             "refractive_index to 1.33 for water or 1.515 for oil, or lower the aperture")
        for name in ("grid", "window"):
            if getattr(self, name) % 2 == 0:
                raise ValueError(f"{name}: must be odd, so that one sample is the centre (got {getattr(self, name)})")
        coarsest = min(self.wavelengths) / (4 * self.numerical_aperture)
        if self.transfer == "incoherent" and self.pixel > coarsest * (1 + 1e-9):
            raise ValueError(f"pixel = {self.pixel:g}: cannot carry what a numerical aperture of "
                             f"{self.numerical_aperture:g} passes at {min(self.wavelengths):g}; take pixels of "
                             f"wavelength / (4 NA) = {coarsest:.4g} or less, or numerical_aperture = "
                             f"{min(self.wavelengths) / (4 * self.pixel):.4g}")
        # Pixels for each sample of the grid after which the point spread function repeats, upside down.
        finer = 1.0 if self.transfer == "free" else 2 * self.numerical_aperture * self.pixel / min(self.wavelengths)
        if self.window * finer > self.grid * (1 + 1e-9):
            raise ValueError(f"window = {self.window}: a pupil of {self.grid} samples repeats its point spread "
                             f"function every {self.grid / finer:.1f} px; take a window of no more, or a finer grid")
        return self

    @model_validator(mode="after")
    def _light_is_counted(self) -> Optics:
        aberrated = self.defocus or self.spherical or self.astigmatism or "aberration" in self.learn
        if self.transfer == "free" and aberrated:
            raise ValueError("aberrations are of a pupil, and transfer = 'free' has none; take 'incoherent'")
        if "aberration" in self.learn and not (self.defocus or self.spherical or self.astigmatism):
            raise ValueError("learn: aberrations cannot be learned from none, where either sign blurs alike and there "
                             "is no slope; set defocus, spherical or astigmatism to a start such as 0.05")
        if self.photons and self.transfer == "free":
            raise ValueError("photons: transfer = 'free' can make light out of nothing, so light has no price; take "
                             "'incoherent'")
        if self.bit_depth and self.constraint == "none":
            raise ValueError("bit_depth: a converter has a top, and lamps without limit pass it; set constraint to "
                             "'sum' or 'power'")
        if self.photons and self.constraint == "none":
            raise ValueError("photons: brighter lamps would cost nothing; set constraint to 'sum' or 'power'")
        if not self.photons and (self.read_noise or self.full_well):
            raise ValueError("read_noise and full_well are in electrons; set photons to what a white field gives")
        return self


def _check_micrometres(name: str, value: float, low: float, high: float) -> None:
    if low <= value <= high:
        return
    unit = f"; {value:g} looks like nanometres, so write {value / 1000:g}" if low <= value / 1000 <= high else ""
    raise ValueError(f"{name}: expected micrometres from {low:g} to {high:g}, got {value:g}{unit}")


class Network(Section):
    """A network by name (ours, torchvision's, timm's) and its options, such as `residual_unit = "1"` for WBCsNet-2.

    start: a run folder whose weights are the start (transfer); empty for none.
    keep: units whose weights are taken from `start`; empty takes all but the last layer.
    frozen: units that are not trained.
    """

    name: str
    pretrained: bool = False
    start: str = ""
    keep: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    options: dict[str, Value] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Network:
        if self.keep and not self.start:
            raise ValueError("keep: needs start, the run whose weights are kept")
        if self.frozen and not (self.start or self.pretrained):
            raise ValueError("frozen: needs start or pretrained, else random weights would be frozen")
        return self


class Training(Section):
    """How the weights are found.

    schedule: "plateau" multiplies the rate by `factor` after `plateau` epochs without a better validation score;
        "cosine" falls to zero over the epochs.
    patience: stop after so many epochs without a better validation score; 0 never stops early.
    monitor: the score on the selecting part that chooses the best weights.
    balance: "weights" weighs the loss by 1 / class share, "sampler" draws every class equally often.
    precision: "auto" takes bfloat16 where the device is fast at it, else "32".
    repeat: number of a repeated training: other weights to start from and another order of cells, on the same split.
    """

    epochs: Annotated[int, Field(ge=1, le=10_000)] = 40
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 32
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.001
    momentum: Fraction = 0.9
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    schedule: Literal["none", "plateau", "cosine"] = "none"
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.3
    plateau: Annotated[int, Field(ge=1)] = 3
    patience: Annotated[int, Field(ge=0)] = 0
    monitor: Literal["accuracy", "loss"] = "accuracy"
    balance: Literal["none", "weights", "sampler"] = "none"
    label_smoothing: Fraction = 0.0
    precision: Literal["auto", "32", "bf16"] = "auto"
    repeat: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class Split(Section):
    """How cells are parted, and what may see what.

    kind: "kfold" (each fold is the test part once), "holdout" (one test part), "holdout-kfold" (one test part; each
        fold of the rest is the validation part once, and the networks' mean probability is the answer), "official"
        (the manifest's `split` column: train, validation, test).
    folds, test, validation: number of folds; share of all cells for the test part (hold-out); share of the rest for
        the validation part, 0 for none (then the weights of the last epoch are taken).
    by: "group" keeps subjects, groups and duplicates in one part; "image" parts cell by cell, as papers do.
    copies: "after" makes changed copies of cells that are not tested, and tests none; under `by = "group"` they serve
        training alone. "before" makes them of all cells and parts them as cells of their own, as papers do.
    fit_on: what fitted steps (normalisation, PCA) may see. select_on: what may choose weights and the epoch.
    """

    kind: Literal["kfold", "holdout", "holdout-kfold", "official"] = "kfold"
    folds: Annotated[int, Field(ge=2, le=1000)] = 10
    test: Fraction = 0.2
    validation: Fraction = 0.1
    by: Literal["group", "image"] = "group"
    copies: Literal["after", "before"] = "after"
    fit_on: Literal["train", "all"] = "train"
    select_on: Literal["validation", "test"] = "validation"
