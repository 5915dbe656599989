"""What was done and what came out, as sentences. Plain text only: the templates escape it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..recipes.recipe import Recipe
from ..recipes.sections import Augment
from ..runs.results import Results
from ..text import count, join, percent, plain, plural

NETWORKS = {"wbcsnet": "WBCsNet", "wbcsnet2": "WBCsNet-2", "lenet5": "LeNet-5", "alexnet": "AlexNet",
            "resnet31": "The 31-layer residual network", "densenet121": "DenseNet-121"}
CROSSES = "\u202f×\u202f"


def network_name(recipe: Recipe) -> str:
    """The network as a reader of papers knows it."""
    return NETWORKS.get(recipe.network.name, recipe.network.name)


def what_was_done(results: Results) -> tuple[str, ...]:
    """Two or three sentences: network, classes, cells, how it was tested."""
    recipe, metrics = results.recipe, results.metrics
    classes = [plain(name) for name in metrics["classes"]]
    named = f"{len(classes)} classes: {join(classes)}" if len(classes) > 2 else join(classes)
    if len(classes) == 1:
        named = f"one class, {named}"
    if recipe is None:
        return (f"{plural(metrics['cells'], 'cell')} were told apart as {named}.",)
    if results.trained_in:
        bundle = results.elsewhere.get("bundle")
        whose = (f"of the bundle “{plain(Path(bundle).name)}”" if bundle else
                 f"trained in the run “{plain(recipe.name)}”")
        return (f"{network_name(recipe)}, {whose}, was tried on "
                f"{plural(metrics['cells'], 'cell')} from elsewhere ({named}).",
                _not_trained_on(results), *_which_cells(results.elsewhere),
                *_which_answers(results))
    return (f"{network_name(recipe)} was trained {_start(recipe)} to tell apart {named}.",
            _tested(results), _kept(recipe))


def _not_trained_on(results: Results) -> str:
    """What is known of it, which for a bundle that keeps no table of its training is nothing."""
    guard = results.guard or {}
    if guard.get("leaks"):
        return "Some of these cells were trained or chosen on."
    if not guard.get("checked"):
        return "Whether it was trained or chosen on some of these cells could not be checked."
    return "Nothing was trained or chosen on these cells."


def _which_cells(elsewhere: Mapping[str, Any]) -> list[str]:
    """Whether the cells are of the laboratory that trained it, where both are known."""
    sources = elsewhere.get("sources") or {}
    there, here = sources.get("trained") or [], sources.get("here") or []
    if not there or not here:
        return []
    trained, tried = join([plain(name) for name in there]), join([plain(name) for name in here])
    if set(there).isdisjoint(here):
        return [f"They are of another laboratory ({tried}) than those of its training ({trained})."]
    new = [plain(name) for name in here if name not in there]
    more = f", and of another laboratory: {join(new)}" if new else ""
    return [f"They are of a source that it was trained on ({trained}){more}."]


def _which_answers(results: Results) -> list[str]:
    """What became of classes that no cell is of."""
    everything = [str(name) for name in results.elsewhere.get("classes") or []]
    if results.elsewhere.get("within_labels"):
        dropped = [plain(name) for name in everything if name not in results.classes]
        return [f"Only classes that stand in the labels could be answers: the probabilities of {join(dropped)} were "
                "dropped, and the others brought to a sum of 1. In use, nobody knows this beforehand."] * bool(dropped)
    absent = [plain(name) for name, found in results.metrics["per_class"].items() if not found["support"]]
    could = "it could" if len(absent) == 1 else "they could"
    said = f"No cell is of class {join(absent, 'or')}; {could} still be an answer, which is then wrong."
    return [said] if absent else []


def _start(recipe: Recipe) -> str:
    network = recipe.network
    if network.start:
        frozen = f", with {join([plain(u) for u in network.frozen])} frozen" if network.frozen else ""
        return f"from the weights of another run{frozen}"
    return "from published weights" if network.pretrained else "from random weights"


def _tested(results: Results) -> str:
    recipe, metrics = results.recipe, results.metrics
    assert recipe is not None
    size, folds = recipe.preprocess.size, len(metrics["folds"])
    on = f"on {plural(metrics['cells'], 'cell')} of {size}{CROSSES}{size} px"
    if recipe.split.kind == "kfold":
        how = f"It was tested by {folds}-fold cross-validation {on}: each cell was in the test part once"
    elif recipe.split.kind == "holdout-kfold":
        how = (f"It was tested {on}, held out from the start; the rest made {recipe.split.folds} folds, each the "
               f"validation part of one network, and the mean of the networks answers")
    else:
        name = "the published test part" if recipe.split.kind == "official" else "a test part held out from the start"
        how = f"It was tested {on}, {name}"
    if recipe.split.by == "image":
        return f"{how}; cells were parted one by one, as the paper did, so cells of one person may stand on both sides."
    kept = _kept_together(results)
    return f"{how}; {kept}." if kept else f"{how}."


def _kept_together(results: Results) -> str:
    """What grouping means for these cells: it is not the same where subjects are known and where they are not."""
    if results.recipe is not None and results.recipe.split.kind == "official":
        return ""
    if results.manifest is None or results.manifest["subject"].null_count() < results.manifest.height:
        return "cells of one subject, and copies of one image, always stayed on the same side"
    return "copies of one image always stayed on the same side"


def _kept(recipe: Recipe) -> str:
    training, split = recipe.training, recipe.split
    length = f"Training ran for {'at most ' if training.patience else ''}{plural(training.epochs, 'epoch')}"
    if split.select_on == "test":
        return f"{length}; the weights kept are those that did best on the test part itself, as the paper did."
    if not split.validation and split.kind not in ("official", "holdout-kfold"):
        return f"{length}; the weights of the last epoch were kept."
    best = "highest accuracy" if training.monitor == "accuracy" else "lowest loss"
    return f"{length}; the weights kept are those with the {best} on the validation part, never on the test part."


def subjects_unknown(results: Results) -> bool:
    """Whether nothing says which cells come from one person."""
    manifest = results.manifest
    return manifest is not None and manifest["subject"].null_count() == manifest.height


def weakest(metrics: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """The class with the lowest sensitivity, and that estimate; None where no class has one."""
    rated = [(c, m["sensitivity"]) for c, m in metrics["per_class"].items() if m["sensitivity"]["value"] is not None]
    return min(rated, key=lambda pair: pair[1]["value"]) if rated else None


def commonest_mistakes(metrics: Mapping[str, Any], most: int = 6) -> list[tuple[str, str, int]]:
    """(true class, predicted class, cells) of the largest entries off the diagonal."""
    classes = metrics["classes"]
    wrong = [(cells, classes[i], classes[j]) for i, row in enumerate(metrics["confusion"])
             for j, cells in enumerate(row) if i != j and cells]
    return [(true, said, cells) for cells, true, said in sorted(wrong, key=lambda w: -w[0])[:most]]


def answer(metrics: Mapping[str, Any]) -> str:
    """The result in words: how many of how many, and what was taken for what most often."""
    right = sum(row[i] for i, row in enumerate(metrics["confusion"]))
    total = sum(sum(row) for row in metrics["confusion"])
    if right == total:
        return f"All {plural(total, 'test cell')} were named rightly."
    text = f"Of {plural(total, 'test cell')}, {count(right)} were named rightly and {count(total - right)} wrongly."
    true, said, cells = commonest_mistakes(metrics, 1)[0]
    often = "once" if cells == 1 else plural(cells, "time")
    return f"{text} The commonest mistake: {plain(true)} taken for {plain(said)}, {often}."


def recipe_facts(recipe: Recipe) -> list[tuple[str, str]]:
    """The recipe as a short table; the whole of it stands at the page's end."""
    training, network = recipe.training, recipe.network
    options = ", ".join(f"{plain(k)} = {plain(v)}" for k, v in network.options.items())
    optimizer = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}[training.optimizer]
    rate = f"{optimizer}, learning rate {training.learning_rate:g}, batches of {training.batch_size}"
    schedule = {"none": "", "plateau": ", lowered when validation stalls", "cosine": ", falling as a cosine"}
    balance = {"none": "none", "weights": "loss weighted by class", "sampler": "every class drawn equally often"}
    return [
        ("Network", network_name(recipe) + (f" ({options})" if options else "")),
        ("Input", _input(recipe)),
        *([("Microscope", _microscope(recipe))] if recipe.optics.simulate else []),
        ("Augmentation", _augmentation(recipe.augment)),
        ("Optimiser", rate + schedule[training.schedule]),
        ("Class balance", balance[training.balance]),
        ("Split", _split(recipe)),
        ("Protocol", "clean" if recipe.protocol == "clean" else "paper: as published, leaks included"),
        ("Seed", str(recipe.seed)),
        *([("Source", plain(recipe.source))] if recipe.source else []),
    ]


def optics_words(recipe: Recipe | None) -> str:
    """What the microscope could learn and what it cost, in two sentences; empty without one."""
    if recipe is None or not recipe.optics.simulate:
        return ""
    optics, held = recipe.optics, "microscope" in recipe.network.frozen
    free = optics.transfer == "free"
    names = {"illumination": "the lamps", "pupil": "the transfer function" if free else "the pupil's mask",
             "aberration": "the wavefront"}
    learn = () if held else optics.learn
    verb = "was" if len(learn) == 1 and learn != ("illumination",) else "were"
    what = (f"{join([names[name] for name in learn])} {verb} learned" if learn else
            "nothing was learned: all was held as it began")
    light = "without noise" if not optics.photons else (
        f"from {count(optics.photons)} photons a pixel, read with {optics.read_noise:g} electrons of noise")
    kind = ("The transfer function is free, as in the paper: no lens can build it" if free else
            f"Light is incoherent, the numerical aperture {optics.numerical_aperture:g}")
    return (f"{what[:1].upper()}{what[1:]}. {kind}; the sensor's pixels are {optics.pool} times as large as the "
            f"input's along each axis ({optics.pool * optics.pixel:g} µm), {light}.")


def _input(recipe: Recipe) -> str:
    prepare = recipe.preprocess
    crop = f"centred square of {prepare.crop} px, " if prepare.crop else ""
    frame = {"image": "", "light": "brought to one light, ", "cell": "brought to one light, azure and scale, "}
    fitted = "all cells" if recipe.split.fit_on == "all" else "the training part"
    seen = {"colour": "RGB", "grey": "grey", "edges": _edges(recipe)}[prepare.input]
    blur = f", blurred by {prepare.blur:g} px" if prepare.blur else ""
    values = {"channel": f"each channel standardised (fitted on {fitted})", "none": "values in [0, 1]",
              "image": "each image standardised by itself"}[prepare.normalise]
    kept = recipe.pca
    rebuilt = "" if not kept.used else ", rebuilt from " + (
        plural(kept.components, "principal component") if kept.components else
        f"the principal components with {percent(kept.variance, 0)} of the variance") + f" (fitted on {fitted})"
    return f"{frame[prepare.frame]}{crop}{prepare.size}{CROSSES}{prepare.size} px {seen}{blur}, {values}{rebuilt}"


def _microscope(recipe: Recipe) -> str:
    optics = recipe.optics
    learned = f"learns {join(list(optics.learn))} (rate {optics.learning_rate:g})" if optics.learn else "frozen"
    seen = recipe.preprocess.size // optics.pool
    photons = f", {count(optics.photons)} photons a pixel" if optics.photons else ""
    return f"{optics.transfer} transfer, {learned}, sensor of {seen}{CROSSES}{seen} px (N = {optics.pool}){photons}"


def _edges(recipe: Recipe) -> str:
    edges = recipe.edges
    filters = f"{plural(edges.orientations, 'Gabor orientation')} ({edges.window} px)"
    return f"first spikes of {filters} in {plural(edges.steps, 'step')}" if edges.spikes else f"edges by {filters}"


def _augmentation(augment: Augment) -> str:
    parts = [f"rotation ±{augment.rotation:g}°"] if augment.rotation else []
    parts += [f"shear ±{augment.shear:g}°"] if augment.shear else []
    for name in ("shift", "zoom", "brightness", "contrast", "saturation", "hue"):
        value = getattr(augment, name)
        parts += [f"{name} ±{percent(value, 0)}"] if value else []
    flips = [way for way, on in (("horizontal", augment.flip_horizontal), ("vertical", augment.flip_vertical)) if on]
    parts += [f"{join(flips)} flips"] if flips else []
    parts += _relighting(augment)
    classes = [f"{plain(name)} {count(cells)}" for name, cells in augment.copies.items()]
    made = f"; copies made once, cells a class: {', '.join(classes)}" if classes else ""
    return (", ".join(parts) or "none") + made


def _relighting(augment: Augment) -> list[str]:
    """What is changed of stain, light, camera and surround."""
    told = (
        (augment.stain, f"stain ±{percent(augment.stain, 0)}"),
        (augment.stain_hue, f"hue of the stain ±{percent(augment.stain_hue, 0)}"),
        (augment.eosin, f"eosin times or divided by up to {2**augment.eosin:.2g}"),
        (augment.light, f"light ±{percent(augment.light, 0)} a channel"),
        (augment.defocus, f"blur up to {augment.defocus:g} px"),
        (augment.noise, f"noise up to {augment.noise:g} grey levels"),
        (augment.jpeg, f"JPEG down to quality {augment.jpeg}"),
        (augment.surround, f"surround cut for {percent(augment.surround, 0)} of the cells"))
    return [words for value, words in told if value]


def _split(recipe: Recipe) -> str:
    split = recipe.split
    held_out = f"hold-out, {percent(split.test, 0)} test"
    kinds = {"kfold": f"{split.folds} folds", "holdout": held_out, "official": "as published",
             "holdout-kfold": f"{held_out}, {split.folds} folds of the rest, each validated on once"}
    inner = f"{percent(split.validation, 0)} of the rest for validation" if split.validation else "no validation part"
    told = split.kind in ("official", "holdout-kfold")
    by = "by subject, group and duplicates" if split.by == "group" else "by image"
    parts = [kinds[split.kind], *([] if told else [inner]), by, "stratified by class"]
    return ", ".join(parts)
