"""The sections of a recipe: what can be set, as frozen, validated models. docs/recipes.md describes every key.

`recipe.py` reads them and combines them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, lt=1)]
Value = str | bool | int | float


class Section(BaseModel):
    """A part of a recipe: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(Section):
    """Which cells are used, under which labels. The order of `classes` is the order of the network's outputs."""

    classes: tuple[str, ...] = ()
    merge: dict[str, str] = {}
    positive: str = ""
    per_class: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _consistent(self) -> Data:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes must be unique")
        if self.positive and self.classes and self.positive not in self.classes:
            raise ValueError(f"positive: '{self.positive}' is not one of the classes {', '.join(self.classes)}")
        return self


class Preprocess(Section):
    """From a decoded cell to the network's input. crop, size and blur are in px."""

    frame: Literal["image", "light", "cell"] = "image"
    crop: Annotated[int, Field(ge=0, le=8192)] = 0
    smaller: Literal["keep", "refuse"] = "keep"
    size: Annotated[int, Field(ge=8, le=1024)] = 70
    input: Literal["colour", "grey", "edges"] = "colour"
    blur: Annotated[float, Field(ge=0, le=20)] = 0.0
    normalise: Literal["channel", "image", "none"] = "channel"

    @model_validator(mode="after")
    def _one_crop(self) -> Preprocess:
        if self.frame == "cell" and self.crop:
            raise ValueError("crop: frame = 'cell' crops already; set crop = 0, or frame = 'image'")
        return self

    @property
    def channels(self) -> int:
        """Channels that differ: three of colour; grey values and edges are repeated three times."""
        return 3 if self.input == "colour" else 1


class Edges(Section):
    """Oriented edges, for `preprocess.input = "edges"` (Noshad and Fallahi 2021, equations 1 and 2).

    window, wavelength and sigma of the Gabor filters are in px; gamma is their aspect ratio.
    """

    window: Annotated[int, Field(ge=2, le=63)] = 5
    wavelength: Annotated[float, Field(gt=0, le=100)] = 2.5
    sigma: Annotated[float, Field(gt=0, le=100)] = 2.0
    gamma: Annotated[float, Field(gt=0, le=10)] = 0.5
    orientations: Annotated[int, Field(ge=1, le=64)] = 4
    spikes: bool = True
    steps: Annotated[int, Field(ge=1, le=254)] = 15


class Components(Section):
    """Principal components: a number of them, or as many as hold a share of the variance; both 0 for none."""

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
    """Random changes of the training cells, drawn anew for each cell and epoch. 0 or false switches a step off.

    rotation and shear in degrees, defocus in px (standard deviation), noise in grey levels, jpeg as quality, eosin in
    powers of two; all other steps are shares. copies: label -> number of cells of the class, copies included.
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
    def moves(self) -> bool:
        """Whether geometry is changed."""
        return any((self.rotation, self.shear, self.shift, self.zoom, self.flip_horizontal, self.flip_vertical))

    @property
    def recolours(self) -> bool:
        """Whether brightness, contrast, saturation or hue are changed."""
        return any((self.brightness, self.contrast, self.saturation, self.hue))

    @property
    def relights(self) -> bool:
        """Whether stain, light, camera or surround are changed."""
        return any((self.stain, self.stain_hue, self.eosin, self.light, self.defocus, self.noise, self.jpeg,
                    self.surround))

    @property
    def changes(self) -> bool:
        """Whether any step is switched on."""
        return self.moves or self.recolours or self.relights

    @property
    def each_epoch(self) -> bool:
        """Whether cells are changed anew in each epoch."""
        return self.changes and (self.anew or not self.copies)

    @model_validator(mode="after")
    def _copies_differ(self) -> Augment:
        if self.copies and not self.changes:
            raise ValueError("copies: every step of augment is off, so copies would equal their originals")
        if self.copies and self.relights and not self.anew:
            raise ValueError("copies: stain, light and camera can only be changed anew in each epoch; set anew = true, "
                             "or set these steps to 0")
        return self


class Optics(Section):
    """A simulated microscope in front of the network; its settings may be learned (dimuro2020; optics/propagation.py).

    wavelengths, pixel, defocus, spherical and astigmatism are in micrometres (the last three as root mean square path
    difference); grid in samples; window in px; photons, read_noise and full_well in electrons; bit_depth in bits.
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
        for i, wavelength in enumerate(self.wavelengths):
            _check_micrometres(f"wavelengths[{i}]", wavelength, 0.2, 2.0)
        _check_micrometres("pixel", self.pixel, 0.001, 10.0)
        if self.numerical_aperture > self.refractive_index:
            raise ValueError(f"numerical_aperture {self.numerical_aperture:g} is above the refractive index "
                             f"{self.refractive_index:g}, which no objective can reach; set refractive_index to 1.33 "
                             "for water or 1.515 for oil, or lower the aperture")
        for name in ("grid", "window"):
            if getattr(self, name) % 2 == 0:
                raise ValueError(f"{name}: must be odd, so that one sample is the centre (got {getattr(self, name)})")
        shortest = min(self.wavelengths)
        coarsest = shortest / (4 * self.numerical_aperture)
        if self.transfer == "incoherent" and self.pixel > coarsest * (1 + 1e-9):
            raise ValueError(f"pixel = {self.pixel:g}: too large for the finest detail that a numerical aperture of "
                             f"{self.numerical_aperture:g} passes at {shortest:g}; use pixels of wavelength / (4 NA) = "
                             f"{coarsest:.4g} or less, or numerical_aperture = {shortest / (4 * self.pixel):.4g}")
        # Pixels for each sample of the grid after which the point spread function repeats, upside down.
        finer = 1.0 if self.transfer == "free" else 2 * self.numerical_aperture * self.pixel / shortest
        if self.window * finer > self.grid * (1 + 1e-9):
            raise ValueError(f"window = {self.window}: the point spread function of a pupil of {self.grid} samples "
                             f"repeats every {self.grid / finer:.1f} px; use a window of at most this size, or a finer "
                             "grid")
        return self

    @model_validator(mode="after")
    def _light_is_counted(self) -> Optics:
        aberrated = self.defocus or self.spherical or self.astigmatism
        for wrong, message in (
            (self.transfer == "free" and (aberrated or "aberration" in self.learn),
             "aberrations belong to a pupil, and transfer = 'free' has none; use 'incoherent'"),
            ("aberration" in self.learn and not aberrated,
             "learn: aberrations cannot be learned when all start at 0, because the gradient is 0 there; set defocus, "
             "spherical or astigmatism to a start such as 0.05"),
            (self.photons and self.transfer == "free",
             "photons: transfer = 'free' does not conserve light, so photons cannot be counted; use 'incoherent'"),
            (self.bit_depth and self.constraint == "none",
             "bit_depth: a converter has a largest value, which lamps without a limit exceed; set constraint to 'sum' "
             "or 'power'"),
            (self.photons and self.constraint == "none",
             "photons: without a limit, brighter lamps would cost nothing; set constraint to 'sum' or 'power'"),
            (not self.photons and (self.read_noise or self.full_well),
             "read_noise and full_well are in electrons; set photons to the electrons of a white field"),
        ):
            if wrong:
                raise ValueError(message)
        return self


def _check_micrometres(name: str, value: float, low: float, high: float) -> None:
    if low <= value <= high:
        return
    unit = f"; {value:g} looks like nanometres, so write {value / 1000:g}" if low <= value / 1000 <= high else ""
    raise ValueError(f"{name}: expected micrometres from {low:g} to {high:g}, got {value:g}{unit}")


class Network(Section):
    """A network by name (ours, torchvision's or timm's), its options, and the weights that it starts from."""

    name: str
    pretrained: bool = False
    start: str = ""
    names: dict[str, str] = {}
    keep: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    options: dict[str, Value] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Network:
        if self.names and not self.start:
            raise ValueError("names: needs start, the file whose tensors are renamed")
        if self.keep and not self.start:
            raise ValueError("keep: needs start, the run whose weights are kept")
        if self.frozen and not (self.start or self.pretrained):
            raise ValueError("frozen: needs start or pretrained; otherwise random weights would be frozen")
        return self


class Training(Section):
    """How the weights are trained. factor, plateau and patience are in epochs or shares, as docs/recipes.md says."""

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
    balance: Literal["none", "weights", "sampler", "laboratory"] = "none"
    label_smoothing: Fraction = 0.0
    precision: Literal["auto", "32", "bf16"] = "auto"
    repeat: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class Split(Section):
    """How cells are split into training, validation and test part, and what each part may be used for.

    test is a share of all cells, validation a share of the rest. With kind "laboratory", `folds` is set to the number
    of laboratories of the manifest.
    """

    kind: Literal["kfold", "holdout", "holdout-kfold", "official", "laboratory"] = "kfold"
    folds: Annotated[int, Field(ge=2, le=1000)] = 10
    test: Fraction = 0.2
    validation: Fraction = 0.1
    by: Literal["group", "image"] = "group"
    copies: Literal["after", "before"] = "after"
    fit_on: Literal["train", "all"] = "train"
    select_on: Literal["validation", "test"] = "validation"

    @property
    def fold_count(self) -> int:
        """Folds that are trained."""
        return self.folds if self.kind in ("kfold", "holdout-kfold", "laboratory") else 1
