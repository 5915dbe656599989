"""What was done and what came out, as sentences. Plain text only: the templates escape it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..recipes.recipe import Recipe
from ..recipes.sections import Augment
from ..runs.results import Evaluated, Guard, Leak, Metrics, Results
from ..text import count, join, percent, plain, plural, type_name

NETWORKS = {"wbcsnet": "WBCsNet", "wbcsnet2": "WBCsNet-2", "lenet5": "LeNet-5", "alexnet": "AlexNet",
            "resnet31": "The 31-layer residual network", "densenet121": "DenseNet-121"}
CROSSES = "\u202f×\u202f"
LEAKS = {
    "subject": "one subject in two parts", "group": "one group in two parts",
    "identical": "identical images in two parts", "near": "near-identical images in two parts",
    "augmented": "turned or mirrored copies in two parts", "copy": "copies in another part than their original",
    "fitted": "a step fitted on more than the training part", "chosen": "something selected on the test part",
}


@dataclass(frozen=True)
class Verdict:
    """The banner of the leak guard; tone: "good", "warn" or "bad"; leaks: by their kind in words."""

    tone: str
    head: str
    lines: tuple[str, ...]
    checked: tuple[str, ...] = ()
    leaks: Mapping[str, Sequence[Leak]] = field(default_factory=dict)


@dataclass(frozen=True)
class Words:
    """The sentences of a page of a run. errors: (true class, answer, cells), the most common first; setup: (name,
    value) of what the recipe sets."""

    summary: tuple[str, ...]
    answer: str
    errors: list[tuple[str, str, int]]
    verdict: Verdict
    setup: tuple[tuple[str, str], ...]
    optics: str


def describe(results: Results) -> Words:
    """What was done, what came out, and how far it can be trusted."""
    recipe, errors = results.recipe, common_errors(results.metrics)
    return Words(what_was_done(results), answer(results.metrics, errors), errors[:6], verdict(results),
                 recipe_facts(recipe) if recipe else (), optics_facts(recipe) if recipe else "")


def what_was_done(results: Results) -> tuple[str, ...]:
    """Two or three sentences: network, classes, cells, how it was tested."""
    recipe, metrics, evaluated = results.recipe, results.metrics, results.evaluated
    classes, cells = _types(metrics.classes), plural(metrics.cells, "cell")
    types = (f"{len(classes)} classes: {join(classes)}" if len(classes) > 2 else join(classes) if len(classes) == 2 else
             f"one class, {classes[0]}")
    if recipe is None:
        table = f", as the table “{plain(Path(evaluated.table).name)}” says" if evaluated and evaluated.table else ""
        return (f"{cells} were classified as {types}{table}.",)
    network = NETWORKS.get(recipe.network.name, recipe.network.name)
    if evaluated is not None:
        whose = (f"of the bundle “{plain(Path(evaluated.bundle).name)}”" if evaluated.bundle else
                 f"trained in the run “{plain(recipe.name)}”")
        return (f"{network}, {whose}, was evaluated on {cells} outside its own data ({types}).",
                *_which_cells(results.guard or Guard(), evaluated), *_which_answers(metrics, evaluated))
    return f"{network} was trained {_start(recipe)} to distinguish {types}.", _tested(results, recipe), _weights(recipe)


def _types(labels: Iterable[str]) -> list[str]:
    return [plain(type_name(label)) for label in labels]


def _which_cells(guard: Guard, evaluated: Evaluated) -> list[str]:
    """Whether it was trained on them, and whether they come from its laboratories, where that is known."""
    known = ("Some of these cells were used for training or selection." if guard.leaks else
             "None of these cells was used for training or selection." if guard.checked else
             "It could not be checked whether some of these cells were used for training or selection.")
    sources = evaluated.sources
    if not sources.trained or not sources.here:
        return [known]
    trained, here = join(map(plain, sources.trained)), join(map(plain, sources.here))
    if sources.other:
        return [known, f"Their source has another name ({here}) than that of the training cells ({trained}): where it "
                "is another laboratory, they are stained and photographed differently."]
    new = [plain(name) for name in sources.here if name not in sources.trained]
    return [known, f"They come from the source of the training cells ({trained})"
            + (f", and from a source of another name: {join(new)}." if new else ".")]


def _which_answers(metrics: Metrics, evaluated: Evaluated) -> list[str]:
    """What was done about classes that no cell has."""
    if evaluated.within_labels:
        dropped = _types(name for name in evaluated.classes if name not in metrics.classes)
        return [f"Only classes among the labels could be answers: the probabilities of {join(dropped)} were dropped, "
                "and the others scaled to a sum of 1. In use, nobody knows beforehand which classes there are."
                ] * bool(dropped)
    absent = _types(name for name, own in metrics.per_class.items() if not own.support)
    return [f"No cell is of class {join(absent, 'or')}; as an answer {'it is' if len(absent) == 1 else 'they are'} "
            "still possible, and then wrong."] * bool(absent)


_STARTS = {"efficientnet-lite0": "published ImageNet weights"}


def _start(recipe: Recipe) -> str:
    network = recipe.network
    if network.start:
        frozen = f", with {join(map(plain, network.frozen))} frozen" if network.frozen else ""
        return f"from {_STARTS.get(network.start, 'the weights of another run or file')}{frozen}"
    return "from published weights" if network.pretrained else "from random weights"


def _tested(results: Results, recipe: Recipe) -> str:
    """On which cells it was tested, and which cells always stay in one part."""
    metrics, split, size = results.metrics, recipe.split, recipe.preprocess.size
    on = f"on {plural(metrics.cells, 'cell')} of {size}{CROSSES}{size} px"
    how = {
        "kfold": f"It was tested by {len(metrics.folds)}-fold cross-validation {on}: each cell was in the test part "
                 "once",
        "holdout-kfold": f"It was tested {on}, held out from the start; the other cells were divided into "
                         f"{split.folds} folds, each the validation part of one network, and the answer is the mean of "
                         "the networks",
        "laboratory": f"It was tested {on}, each laboratory by a network that was trained on the others only",
        "official": f"It was tested {on}, the published test part",
        "holdout": f"It was tested {on}, a test part held out from the start"}[split.kind]
    if split.by == "image":
        return f"{how}; cells were divided one by one, as in the paper, so cells of one person may be in both parts."
    if split.kind == "official":
        return f"{how}."
    subjects = "" if results.subjects_unknown else "cells of one subject, and "
    return f"{how}; {subjects}copies of one image{',' * bool(subjects)} are always in the same part."


def _weights(recipe: Recipe) -> str:
    """How long it was trained, and which epoch's weights are used."""
    training, split = recipe.training, recipe.split
    length = f"Training ran for {'at most ' if training.patience else ''}{plural(training.epochs, 'epoch')}"
    if split.select_on == "test":
        return f"{length}; the weights used are those that did best on the test part itself, as in the paper."
    if not split.validation and split.kind not in ("official", "holdout-kfold"):
        return f"{length}; the weights used are those of the last epoch."
    best = "highest accuracy" if training.monitor == "accuracy" else "lowest loss"
    return f"{length}; the weights used are those with the {best} on the validation part, never on the test part."


def common_errors(metrics: Metrics) -> list[tuple[str, str, int]]:
    """(true class, predicted class, cells) of the entries beside the diagonal, the largest first."""
    wrong = [(metrics.classes[i], metrics.classes[j], cells) for i, row in enumerate(metrics.confusion)
             for j, cells in enumerate(row) if i != j and cells]
    return sorted(wrong, key=lambda error: -error[2])


def answer(metrics: Metrics, errors: Sequence[tuple[str, str, int]]) -> str:
    """The result in words: how many of how many cells are right, and the most common error."""
    if not errors:
        return f"All {plural(metrics.tested, 'test cell')} were classified correctly."
    true, predicted, cells = errors[0]
    error = " classified as ".join(_types((true, predicted)))
    return (f"Of {plural(metrics.tested, 'test cell')}, {count(metrics.right)} were classified correctly and "
            f"{count(metrics.tested - metrics.right)} wrongly. The most common error: {error}, "
            f"{'once' if cells == 1 else plural(cells, 'time')}.")


def verdict(results: Results) -> Verdict:
    """The banner of the leak guard: headline, lines, and each leak by its text."""
    guard = results.guard
    unknown = ("No subject is known for these cells: it cannot be checked whether cells of one person are in both "
               "parts, so the figures may be too good for new people.",) * results.subjects_unknown
    if guard is None:
        return Verdict("warn", "The result of the leak guard is not in this folder",
                       ("It is not known whether test cells were used for training.", *unknown))
    checked, paper = tuple(map(plain, guard.checked)), guard.protocol == "paper"
    missing = (f"Not checked: {'; '.join(map(plain, guard.not_checked))}.",) if guard.not_checked else ()
    if not guard.leaks:
        head = ("Not checked for leaks" if not checked else "Leaks between people were not checked" if unknown else
                "No leak found") + (", paper's protocol" if paper else "")
        return Verdict("warn" if unknown or not checked else "good", head, (*missing, *unknown), checked)
    why = ("It follows the protocol of the paper, so that its published figures can be compared. For the performance "
           "on new cells, run it under the clean protocol.",) * paper
    leaks: dict[str, list[Leak]] = {}
    for leak in guard.leaks:
        leaks.setdefault(LEAKS.get(leak.kind, plain(leak.kind)), []).append(leak)
    return Verdict("bad", f"This run contains {plural(len(guard.leaks), 'leak')}: its figures are too good",
                   (*why, *missing, *unknown), checked, leaks)


def recipe_facts(recipe: Recipe) -> tuple[tuple[str, str], ...]:
    """The recipe as a short table; the end of the page has all of it."""
    training, network, split = recipe.training, recipe.network, recipe.split
    options = ", ".join(f"{plain(k)} = {plain(v)}" for k, v in network.options.items())
    optimizer = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}[training.optimizer]
    schedule = {"none": "", "plateau": ", lowered when validation stops improving", "cosine": ", cosine schedule"}
    balance = {"none": "none", "weights": "loss weighted by class", "sampler": "every class drawn equally often",
               "laboratory": "classes drawn equally often, laboratories within them evenly"}
    held_out = f"hold-out, {percent(split.test, 0)} test"
    kinds = {"kfold": f"{split.folds} folds", "holdout": held_out, "official": "as published",
             "laboratory": f"{split.folds} laboratories, each tested by a network of the others",
             "holdout-kfold": f"{held_out}, {split.folds} folds of the rest for validation"}
    inner = f"{percent(split.validation, 0)} of the rest for validation" if split.validation else "no validation part"
    return (
        ("Network", NETWORKS.get(network.name, network.name) + (f" ({options})" if options else "")),
        ("Input", _input(recipe)),
        *([("Microscope", _microscope(recipe))] if recipe.optics.simulate else []),
        ("Augmentation", _augmentation(recipe.augment)),
        ("Optimiser", f"{optimizer}, learning rate {training.learning_rate:g}, batches of {training.batch_size}"
                      + schedule[training.schedule]),
        ("Class balance", balance[training.balance]),
        ("Split", ", ".join([kinds[split.kind], *([] if split.kind in ("official", "holdout-kfold") else [inner]),
                             "by subject, group and duplicates" if split.by == "group" else "by image",
                             "stratified by class"])),
        ("Protocol", "clean" if recipe.protocol == "clean" else "paper: as published, leaks included"),
        ("Seed", str(recipe.seed)),
        *([("Source", plain(recipe.source))] if recipe.source else []),
    )


def _input(recipe: Recipe) -> str:
    prepare, edges, pca = recipe.preprocess, recipe.edges, recipe.pca
    fitted = f"fitted on {'all cells' if recipe.split.fit_on == 'all' else 'the training part'}"
    filters = f"{plural(edges.orientations, 'Gabor orientation')} ({edges.window} px)"
    spikes = f"first spikes of {filters} in {plural(edges.steps, 'step')}" if edges.spikes else f"edges by {filters}"
    values = {"colour": "RGB", "grey": "grey", "edges": spikes}[prepare.input]
    components = plural(pca.components, "principal component") if pca.components else (
        f"the principal components with {percent(pca.variance, 0)} of the variance")
    return ({"image": "", "light": "equal light, ", "cell": "equal light, depth of stain and size, "}[prepare.frame]
            + (f"centred square of {prepare.crop} px, " if prepare.crop else "")
            + f"{prepare.size}{CROSSES}{prepare.size} px {values}"
            + (f", blurred by {prepare.blur:g} px" if prepare.blur else "")
            + {"channel": f", each channel standardised ({fitted})", "none": ", values in [0, 1]",
               "image": ", each image standardised by itself"}[prepare.normalise]
            + (f", rebuilt from {components} ({fitted})" if pca.used else ""))


def _microscope(recipe: Recipe) -> str:
    optics = recipe.optics
    learned = f"learns {join(optics.learn)} (rate {optics.learning_rate:g})" if optics.learn else "frozen"
    side = recipe.preprocess.size // optics.pool
    photons = f", {count(optics.photons)} photons a pixel" if optics.photons else ""
    return f"{optics.transfer} transfer, {learned}, sensor of {side}{CROSSES}{side} px (N = {optics.pool}){photons}"


def optics_facts(recipe: Recipe) -> str:
    """Which parts of the microscope were learned and what the sensor records, in two sentences; empty without one."""
    optics, free = recipe.optics, recipe.optics.transfer == "free"
    if not optics.simulate:
        return ""
    parts = {"illumination": "the lamps", "pupil": "the transfer function" if free else "the pupil's mask",
             "aberration": "the wavefront"}
    learned = [] if "microscope" in recipe.network.frozen else [parts[name] for name in optics.learn]
    verb = "was" if len(learned) == 1 and learned != ["the lamps"] else "were"
    what = f"{join(learned)} {verb} learned" if learned else "nothing was learned: all parts stayed as at the start"
    kind = ("The transfer function is free, as in the paper: no lens has it" if free else
            f"Light is incoherent, the numerical aperture {optics.numerical_aperture:g}")
    light = f"with {count(optics.photons)} photons a pixel and a read noise of {optics.read_noise:g} electrons"
    return (f"{what[:1].upper()}{what[1:]}. {kind}; the sensor's pixels are {optics.pool} times as large as the "
            f"input's along each axis ({optics.pool * optics.pixel:g} µm), "
            f"{light if optics.photons else 'without noise'}.")


def _augmentation(augment: Augment) -> str:
    """What is changed of the training cells: geometry, then stain, light and camera; and copies."""
    shares = [(getattr(augment, name), f"{name} ±{percent(getattr(augment, name), 0)}")
              for name in ("shift", "zoom", "brightness", "contrast", "saturation", "hue")]
    flips = [way for way, on in (("horizontal", augment.flip_horizontal), ("vertical", augment.flip_vertical)) if on]
    parts = [text for value, text in (
        (augment.rotation, f"rotation ±{augment.rotation:g}°"), (augment.shear, f"shear ±{augment.shear:g}°"), *shares,
        (flips, f"{join(flips)} flips"), (augment.stain, f"stain ±{percent(augment.stain, 0)}"),
        (augment.stain_hue, f"hue of the stain ±{percent(augment.stain_hue, 0)}"),
        (augment.eosin, f"eosin multiplied or divided by up to {2**augment.eosin:.2g}"),
        (augment.light, f"light ±{percent(augment.light, 0)} in each channel"),
        (augment.defocus, f"blur up to {augment.defocus:g} px"), (augment.noise, f"noise up to {augment.noise:g} grey "
                                                                                "levels"),
        (augment.jpeg, f"JPEG down to quality {augment.jpeg}"),
        (augment.surround, f"surroundings cut off for {percent(augment.surround, 0)} of the cells")) if value]
    copies = ", ".join(f"{plain(type_name(name))} {count(cells)}" for name, cells in augment.copies.items())
    return (", ".join(parts) or "none") + (f"; with copies made before training, cells a class: {copies}" if copies else
                                             "")
