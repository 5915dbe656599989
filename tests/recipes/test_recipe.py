"""The recipe: what goes in comes out, overrides, errors that name the key, and a page that lists every key."""

from __future__ import annotations

import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from leukoscope.errors import RecipeError
from leukoscope.networks import build_network, network_names, network_options
from leukoscope.recipes import (
    Data,
    Network,
    Recipe,
    Split,
    Training,
    apply_overrides,
    builtin_recipes,
    dump_recipe,
    expand_variants,
    load_recipe,
    make_recipe,
    parse_setting,
)
from leukoscope.recipes.recipe import read_toml, recipe_text
from leukoscope.runs.network import fresh_network

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
SMALL: dict[str, Any] = {"name": "small", "network": {"name": "lenet5"}}

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LABELS = st.lists(TEXT.filter(bool), unique=True, max_size=4)
UNIT = st.floats(0, 1, exclude_max=True)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    options = st.dictionaries(TEXT, TEXT | st.booleans() | st.integers(-2**63, 2**63 - 1) | st.floats(allow_nan=False,
                                                                                                      allow_infinity=False))
    labels = draw(LABELS)
    return Recipe(
        name=draw(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,9}", fullmatch=True)), title=draw(TEXT),
        description=draw(TEXT), seed=draw(st.integers(0, 2**32 - 1)), protocol="paper",
        data=Data(classes=tuple(labels), merge=draw(st.dictionaries(TEXT, TEXT, max_size=3)),
                  positive=draw(st.sampled_from(["", *labels]))),
        network=Network(name=draw(TEXT), options=draw(options), start="run", keep=tuple(draw(LABELS))),
        training=Training(learning_rate=draw(st.floats(0, 10, exclude_min=True)), weight_decay=draw(st.floats(0, 1)),
                          momentum=draw(UNIT)),
        split=Split(by=draw(st.sampled_from(["group", "image"])), test=draw(UNIT)))


@given(recipes())
def test_a_dumped_recipe_is_read_back_the_same(recipe):
    text = dump_recipe(recipe)
    assert make_recipe(tomllib.loads(text)) == recipe
    assert dump_recipe(make_recipe(tomllib.loads(text))) == text


def test_a_dumped_recipe_is_read_back_from_a_file(tmp_path):
    recipe = load_recipe("almotairi2020", protocol="paper", scale="small", settings=["seed=3"])
    (tmp_path / "recipe.toml").write_text(dump_recipe(recipe), encoding="utf-8")
    again = load_recipe(tmp_path / "recipe.toml")
    assert again == recipe.model_copy(update={"paper": {}, "scale": {}, "variants": {}})


def test_a_recipe_that_an_editor_of_windows_has_saved_is_read(tmp_path):
    (tmp_path / "recipe.toml").write_text(recipe_text("demo")[1], encoding="utf-8-sig", newline="\r\n")
    assert load_recipe(tmp_path / "recipe.toml") == load_recipe("demo")


@given(TEXT | st.booleans() | st.integers(-2**63, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False))
def test_any_value_can_be_set(value):
    key, got = parse_setting(f"network.options.x={json.dumps(value, ensure_ascii=False)}")
    if isinstance(value, str) and re.search(r"[\x7f]", value):
        return  # JSON leaves this one bare, TOML does not take it
    assert (key, got, type(got)) == ("network.options.x", value, type(value))


@pytest.mark.parametrize(("setting", "expected"), [
    ("training.epochs=5", ("training.epochs", 5)),
    ("data.classes=['a', 'b']", ("data.classes", ["a", "b"])),
    ("network.start=runs/first = a", ("network.start", "runs/first = a")),
    ("split.kind = holdout", ("split.kind", "holdout")),
    ("title=", ("title", "")),
])
def test_settings_are_toml_and_bare_words_are_text(setting, expected):
    assert parse_setting(setting) == expected


@pytest.mark.parametrize("setting", ["training.epochs", "=5", "", " = 5"])
def test_a_setting_without_key_or_value_is_refused(setting):
    with pytest.raises(RecipeError, match="expected KEY=VALUE; for example --set training"):
        parse_setting(setting)


def test_overrides_leave_the_original_alone_and_make_tables():
    raw = {"training": {"epochs": 1}}
    assert apply_overrides(raw, {"training.epochs": 2, "data.merge.a": "b"}, "here") \
        == {"training": {"epochs": 2}, "data": {"merge": {"a": "b"}}}
    assert raw == {"training": {"epochs": 1}}
    with pytest.raises(RecipeError, match=r"here: name\.x: 'name' is a value, not a table"):
        apply_overrides({"name": "n"}, {"name.x": 1}, "here")


def test_scale_then_paper_then_settings(tmp_path):
    file = tmp_path / "r.toml"
    file.write_text('name = "r"\n[network]\nname = "lenet5"\n[training]\nepochs = 1\nbatch_size = 1\npatience = 1\n'
                    '[scale.small]\n"training.epochs" = 2\n"training.batch_size" = 2\n"training.patience" = 2\n'
                    '[paper]\n"training.batch_size" = 3\n"training.patience" = 3\n"split.by" = "image"\n')
    training = load_recipe(file, scale="small", protocol="paper", settings=["training.patience=4"]).training
    assert (training.epochs, training.batch_size, training.patience) == (2, 3, 4)
    assert load_recipe(file).split.by == "group"


@pytest.mark.parametrize(("change", "said"), [
    ({"training": {"epoch": 5}}, r"training\.epoch: no such key; did you mean training\.epochs\? docs/recipes"),
    ({"training": {"epochs": 0}}, r"training\.epochs: .*greater than or equal to 1 \(got 0\)"),
    ({"training": {"optimizer": "sdg"}}, r"training\.optimizer: .*'sgd', 'adam' or 'adamw' \(got 'sdg'\)"),
    ({"training": {"learning_rate": "fast"}}, r"training\.learning_rate: .*\(got 'fast'\)"),
    ({"training": {"learning_rate": math.nan}}, r"training\.learning_rate: "),
    ({"split": {"validation": 1.0}}, r"split\.validation: .*less than 1"),
    ({"name": "No Good"}, r"name: .*pattern"),
    ({"network": {}}, r"network\.name: Field required"),
    ({"data": {"classes": ["a", "a"]}}, "data: classes must be unique"),
    ({"data": {"classes": ["a", "b"], "positive": "c"}}, "data: positive: 'c' is not one of the classes a, b"),
    ({"network": {"name": "lenet5", "keep": ["unit1"]}}, "network: keep: needs start"),
    ({"network": {"name": "lenet5", "frozen": ["unit1"]}}, "network: frozen: needs start or pretrained"),
    ({"split": {"by": "image"}}, r"split\.by = 'image': a leak, which protocol = 'clean' does not allow"),
    ({"split": {"fit_on": "all", "select_on": "test"}}, r"split\.fit_on = 'all', split\.select_on = 'test': a leak"),
    ({"colour": 1, "shape": 2}, r"colour: no such key \(and 1 more\)"),
])
def test_errors_name_the_key_and_what_is_allowed(change, said):
    with pytest.raises(RecipeError, match=said):
        make_recipe(SMALL | change)


@pytest.mark.parametrize(("text", "said"), [
    ("name = ", "not valid TOML"),
    ("", "name: Field required"),
    ("\x00", "not valid TOML"),
])
def test_a_file_that_is_no_recipe_is_named(text, said, tmp_path):
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=f"wrong.toml: .*{said}|wrong.toml: {said}"):
        load_recipe(file)


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(RecipeError, match=r"latin\.toml: cannot be read"):
        load_recipe(tmp_path / "latin.toml")
    (tmp_path / "long.toml").write_text(f'base = "{"a" * 5000}.toml"')
    with pytest.raises(RecipeError, match=r"^a{200}\.\.\.: cannot be read \(File name too long\); "):
        load_recipe(tmp_path / "long.toml")
    with pytest.raises(RecipeError, match="nothing: neither a file nor a built-in recipe; built in: almotairi2020, "):
        load_recipe("nothing")
    with pytest.raises(RecipeError, match="no scale 'tiny'; it has: full, small"):
        load_recipe("almotairi2020", scale="tiny")


def test_a_recipe_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        make_recipe(SMALL).seed = 1  # type: ignore[misc]  # that is the point


# The recipes that come with the package


@pytest.mark.parametrize("protocol", ["clean", "paper"])
@pytest.mark.parametrize("name", builtin_recipes())
def test_built_in_recipes_build_their_networks_at_every_scale(name, protocol):
    import torch

    built = set()  # many variants have the same network, and some take a second to build
    for scale in ("full", *load_recipe(name).scale):
        for variant in expand_variants(load_recipe(name, protocol=protocol, scale=scale)).values():
            optics = variant.optics
            what = variant.network.model_dump_json(), variant.preprocess.size, optics.simulate, optics.pool
            if what not in built:
                built.add(what)
                with torch.device("meta"):
                    fresh_network(variant.model_copy(update={"data": Data(classes=("a", "b"))}))
            assert variant.name.startswith(name)
            assert variant.title
            assert variant.description


def test_almotairi2020_is_what_the_paper_says():
    recipe = load_recipe("almotairi2020", protocol="paper")
    training = recipe.training
    assert (training.optimizer, training.learning_rate, training.batch_size, training.epochs) == ("sgd", 0.001, 32, 40)
    assert (recipe.split.kind, recipe.split.folds, recipe.split.by) == ("kfold", 10, "image")
    assert recipe.preprocess.size == 70
    assert recipe.data.classes == ("neutrophil", "eosinophil", "basophil", "lymphocyte", "monocyte")
    assert recipe.augment == make_recipe(SMALL).augment
    assert load_recipe("almotairi2020").split == Split(kind="kfold", folds=10, by="group", validation=0.1)


def test_the_ablation_changes_the_residual_unit_and_nothing_else():
    variants = expand_variants(load_recipe("almotairi2020-ablation"))
    assert {name: v.network.options["residual_unit"] for name, v in variants.items()} \
        == {"unit1": "1", "unit2": "2", "unit3": "3", "none": "none"}
    same = {"name": "", "network": Network(name="x")}
    assert len({variant.model_copy(update=same).model_dump_json() for variant in variants.values()}) == 1


@pytest.mark.parametrize("name", [n for n in builtin_recipes() if n.startswith("almotairi2020-")])
def test_comparators_differ_from_almotairi2020_only_where_they_must(name):
    base, other = load_recipe("almotairi2020"), load_recipe(name)
    assert other.data.classes == base.data.classes
    assert other.training == base.training
    if "transfer" not in name:
        assert other.split == base.split
        assert other.preprocess.crop == base.preprocess.crop


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_dimuro2020_learns_or_freezes_the_same_optics_at_every_size_of_pixel(protocol):
    recipe = load_recipe("dimuro2020", protocol=protocol)
    variants = expand_variants(recipe)
    assert set(variants) == {f"{free}{how}-{pool}" for free in ("", "free-") for how in ("frozen", "learned")
                             for pool in (1, 2, 4, 5, 6)}
    for name, variant in variants.items():
        assert variant.optics == recipe.optics.model_copy(update={
            "pool": int(name[-1]), "learn": () if "frozen" in name else ("illumination", "pupil"),
            "transfer": "free" if name.startswith("free-") else "incoherent"})
    same = {"name": "", "optics": recipe.optics}
    assert len({variant.model_copy(update=same).model_dump_json() for variant in variants.values()}) == 1
    assert (recipe.preprocess.crop, recipe.preprocess.size, recipe.augment.rotation) == (200, 200, 25)
    assert (recipe.augment.flip_horizontal, recipe.augment.flip_vertical) == (True, True)
    assert (recipe.network.name, recipe.training.optimizer, recipe.training.patience) == ("densenet121", "adam", 10)
    assert recipe.split.select_on == {"clean": "validation", "paper": "test"}[protocol]
    small = expand_variants(load_recipe("dimuro2020", protocol=protocol, scale="small"))
    assert set(small) == {name for name in variants if name[-1] in "46"} | {"frozen-1", "learned-1"}


# The page


def leaves(model: type[BaseModel], path: str = "") -> dict[str, Any]:
    """Dotted key -> default, of every key of a model that is not itself a section."""
    found = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= leaves(kind, f"{path}{name}.")
        else:
            found[f"{path}{name}"] = field.default
    return found


def listed() -> dict[str, str]:
    """Dotted key -> default, as the page's tables give them."""
    rows = re.findall(r"^\| `([\w.]+)` \| .+? \| (required|`[^`]*`) \| .*\|$", PAGE, re.MULTILINE)
    assert len({key for key, _ in rows}) == len(rows)
    return dict(rows)


def test_the_page_lists_every_key_with_its_default():
    def shown(default: Any) -> str:
        if default is PydanticUndefined:
            return "required"
        return f"`{json.dumps(default)}`"

    assert listed() == {key: shown(default) for key, default in leaves(Recipe).items()}


def bounds(field: FieldInfo) -> dict[str, float]:
    """The bounds of a key by name: ge, gt, le, lt."""
    return {name: getattr(held, name) for held in field.metadata for name in ("ge", "gt", "le", "lt")
            if getattr(held, name, None) is not None}


def shown_bounds(text: str) -> dict[str, float]:
    """The same, as the column "value" gives them."""
    found = re.match(r"(above )?(-?[\d.]+) (?:to (below )?(-?[\d.]+)|or more)", text)
    assert found, text
    low = {"gt" if found[1] else "ge": float(found[2])}
    return low | ({"lt" if found[3] else "le": float(found[4])} if found[4] else {})


def fields(model: type[BaseModel], path: str = "") -> dict[str, FieldInfo]:
    """Dotted key -> field, of every key of a model that is not itself a section."""
    found = {}
    for name, field in model.model_fields.items():
        inner = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        found |= fields(field.annotation, f"{path}{name}.") if inner else {f"{path}{name}": field}  # type: ignore[arg-type]  # a model, as inner says
    return found


def test_the_page_gives_the_range_of_every_number_and_the_words_of_every_choice():
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.+?) \| (?:required|`[^`]*`) \| .*\|$", PAGE, re.MULTILINE))
    checked = []
    for key, field in fields(Recipe).items():
        words, held = get_args(field.annotation), bounds(field)
        if get_origin(field.annotation) is Literal:
            assert re.findall(r"`([^`]+)`", rows[key]) == list(words), key
        elif held:
            if "lt" in held and field.annotation is int:
                held["le"] = held.pop("lt") - 1
            assert shown_bounds(rows[key]) == held, key
            checked.append(key)
    assert {"seed", "preprocess.crop", "pca.variance", "optics.pool", "optics.window", "training.repeat"} <= {*checked}


def test_the_page_lists_every_network_with_its_units_and_options():
    import torch

    rows = {row[0]: row[1:] for row in re.findall(
        r"^\| `(\w+)` \| (\d+) px \| (no|ImageNet) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)}
    assert set(rows) == set(network_names())
    for name, (smallest, _, units, options) in rows.items():
        with torch.device("meta"):
            network = build_network(Network(name=name), classes=5, size=int(smallest))
        assert re.findall(r"`(\w+)`", units) == list(network.units)
        with pytest.raises(RecipeError):
            build_network(Network(name=name), classes=5, size=int(smallest) - 1)
        given = dict(re.findall(r"`(\w+)` = `?([\w.]+)`?", options))
        assert given == {key: str(field.default) for key, field in network_options(name).model_fields.items()}


def test_the_example_on_the_page_is_a_recipe():
    example = re.search(r"```toml\n(.+?)```", PAGE, re.DOTALL)
    assert example
    recipe = make_recipe(tomllib.loads(example[1]))
    assert (recipe.network.name, recipe.split.kind) == ("wbcsnet2", "holdout")


@pytest.mark.parametrize(("text", "options", "message"), [
    ("scale = 3", {"scale": "small"}, "no scale 'small'; it has: full"),
    ("scale.small = 5", {"scale": "small"}, "expected a table of keys and values to override, got 5"),
    ("paper = 3", {"protocol": "paper"}, "expected a table of keys and values to override, got 3"),
])
def test_overrides_that_are_no_table_are_refused(text, options, message, tmp_path):
    (tmp_path / "r.toml").write_text(f'name = "r"\n{text}\n[network]\nname = "lenet5"\n')
    with pytest.raises(RecipeError, match=message):
        load_recipe(tmp_path / "r.toml", **options)


def test_a_recipe_takes_from_its_base_what_it_does_not_say(tmp_path):
    (tmp_path / "below.toml").write_text('base = "almotairi2020"\nname = "below"\n[training]\nepochs = 3\n'
                                         '[scale.small]\n"training.epochs" = 2\n')
    (tmp_path / "above.toml").write_text(f'base = "{tmp_path / "below.toml"}"\nname = "above"\n[data]\npositive = '
                                         '"basophil"\n')
    found = load_recipe(tmp_path / "above.toml")
    original = load_recipe("almotairi2020")
    assert (found.name, found.training.epochs, found.data.positive) == ("above", 3, "basophil")
    assert found.data.classes == original.data.classes
    assert found.training.model_copy(update={"epochs": 40}) == original.training
    (tmp_path / "table.toml").write_text('base = "noshad2021-cnmc"\nname = "t"\n[augment]\ncopies = { a = 3 }\n')
    assert load_recipe(tmp_path / "table.toml").augment.copies == {"a": 3}  # a table of labels is replaced whole
    assert load_recipe(tmp_path / "table.toml").augment.rotation == 30
    small = load_recipe(tmp_path / "above.toml", scale="small", protocol="paper")
    assert (small.training.epochs, small.preprocess.size, small.split.by) == (2, 32, "image")


@pytest.mark.parametrize("base", ['"ring.toml"', "3", '["a"]'])
def test_a_base_that_leads_back_or_is_no_name_is_refused(tmp_path, monkeypatch, base):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ring.toml").write_text(f'base = {base}\nname = "ring"\n')
    with pytest.raises(RecipeError, match=r"ring\.toml: base = .*expected another recipe"):
        load_recipe("ring.toml")


def test_copies_need_a_step_that_changes_them():
    with pytest.raises(RecipeError, match=r"augment: copies: every step of augment is off"):
        make_recipe({**SMALL, "augment": {"copies": {"a": 3}}})
    with pytest.raises(RecipeError, match=r"pca: components and variance: set one"):
        make_recipe({**SMALL, "pca": {"components": 3, "variance": 0.5}})


class TestHostile:
    """A recipe may come from a stranger: whatever it holds is refused in one short line."""

    @pytest.mark.parametrize(("text", "says"), [
        ("a = " + "[" * 50_000 + "]" * 50_000, "nested more than 12 deep"),
        ("a = " + "{a=" * 50_000 + "1" + "}" * 50_000, "nested more than 12 deep"),
        ("[" + "a." * 50_000 + "a]\nb = 1", "a key has more than 20 parts"),
        ("a." * 50_000 + "a = 1", "a key has more than 20 parts"),
        ('name = "x"\n[network]\nname = "a"\n[variants.v]\nx = ' + "[" * 20 + "]" * 20, "nested more than 12 deep"),
        ("seed = " + "9" * 5_000, "a number has too many digits"),
        ('name = "x"\nseed = 0x' + "f" * 5_000 + '\n[network]\nname = "lenet5"', "got a number of too many digits"),
        ('name = "' + "x" * 100_000 + '!"\n[network]\nname = "lenet5"', "name: String should match"),
        ('name = "x"\n' + "k" * 100_000 + ' = 1\n[network]\nname = "lenet5"', "no such key"),
        ('name = "x"\nseed = 1e999\n[network]\nname = "lenet5"', "seed"),
        ('name = "x"\nbase = ' + "[" * 9 + "]" * 9, "expected another recipe"),
        ("name = \x00", "not valid TOML")])
    def test_a_hostile_recipe_is_refused_in_a_short_line(self, tmp_path, text, says):
        (tmp_path / "r.toml").write_text(text)
        with pytest.raises(RecipeError, match=says) as error:
            load_recipe(tmp_path / "r.toml")
        assert len(str(error.value)) < 500 + len(str(tmp_path))

    @pytest.mark.parametrize(("setting", "says"), [
        ("seed=" + "9" * 5_000, "a number has too many digits"), ("a=" + "[" * 50_000, "nested more than 12 deep"),
        ("a." * 50_000 + "a=1", "nested more than 12 deep"), ("data.positive=\udce9", "not text in UTF-8"),
        ("a=" + "x" * 100_000, "no such key")])
    def test_a_hostile_setting_too(self, setting, says):
        with pytest.raises(RecipeError, match=says) as error:
            load_recipe("almotairi2020", settings=[setting])
        assert len(str(error.value)) < 600

    def test_the_depth_that_recipes_use_is_allowed(self, tmp_path):
        deep = "[" * 8 + "1" + "]" * 8
        assert read_toml(f"a = {deep}")["a"]
