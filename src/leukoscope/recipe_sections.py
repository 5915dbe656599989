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

    crop: side in px of the centred square that is kept before resizing; 0 keeps the whole cell.
    size: side in px of the square input.
    input: what the network sees: "colour", "grey", or "edges" (see Edges); the last two in three equal channels.
    blur: standard deviation in px of a Gaussian over the input; 0 for none.
    normalise: "channel" subtracts the mean and divides by the standard deviation of each channel, fitted on the
        training part (on all cells where `split.fit_on = "all"`); "image" does so with each image's own; "none" leaves
        values in [0, 1].
    """

    crop: Annotated[int, Field(ge=0, le=8192)] = 0
    size: Annotated[int, Field(ge=8, le=1024)] = 70
    input: Literal["colour", "grey", "edges"] = "colour"
    blur: Annotated[float, Field(ge=0, le=20)] = 0.0
    normalise: Literal["channel", "image", "none"] = "channel"


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
    copies: label -> cells of the class after changed copies are added to its cells once and for all (or cells left
        out, drawn by the seed); then nothing is changed anew. Copies are made of cells that are not tested, and never
        tested themselves. Under `split.by = "group"` they serve training alone.
    anew: true makes no copies, but changes the cells anew all the same; `copies` then only says which are left out.
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
    copies: dict[str, Annotated[int, Field(ge=1)]] = {}
    anew: bool = False

    @property
    def changes(self) -> bool:
        """Whether any step is switched on."""
        return any(value for name, value in self.model_dump().items() if name not in ("copies", "anew"))

    @property
    def each_epoch(self) -> bool:
        """Whether cells are changed anew in each epoch."""
        return self.changes and (self.anew or not self.copies)

    @model_validator(mode="after")
    def _copies_differ(self) -> Augment:
        if self.copies and not self.changes:
            raise ValueError("copies: every step of augment is off, so copies would equal their originals")
        return self


class Network(Section):
    """A network of the registry and its options, such as `residual_unit = "1"` for WBCsNet-2.

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


class Split(Section):
    """How cells are parted, and what may see what.

    kind: "kfold" (each fold is the test part once), "holdout" (one test part), "holdout-kfold" (one test part; each
        fold of the rest is the validation part once, and the networks' mean probability is the answer), "official"
        (the manifest's `split` column: train, validation, test).
    folds, test, validation: number of folds; share of all cells for the test part (hold-out); share of the rest for
        the validation part, 0 for none (then the weights of the last epoch are taken).
    by: "group" keeps subjects, groups and duplicates in one part; "image" parts cell by cell, as papers do.
    fit_on: what fitted steps (normalisation, PCA) may see. select_on: what may choose weights and the epoch.
    """

    kind: Literal["kfold", "holdout", "holdout-kfold", "official"] = "kfold"
    folds: Annotated[int, Field(ge=2, le=1000)] = 10
    test: Fraction = 0.2
    validation: Fraction = 0.1
    by: Literal["group", "image"] = "group"
    fit_on: Literal["train", "all"] = "train"
    select_on: Literal["validation", "test"] = "validation"
