import json
import subprocess
import sys

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from car.classify.scores import FUSIONS
from car.classify.visual_prompts import PROMPTS
from car.config import CHOICES, FIELDS, UNIT, Config, list_presets, load_preset, resolve
from car.errors import InputError
from car.propose.proposer import PROPOSERS
from car.vlm.preprocess import VIEWS
from car.wordlists import background_words, read_templates

PUBLISHED = {
    "voc21": (0.4, 0.6, 0.4, {"circle", "blur"}),
    "voc20": (0.4, 0.6, 0.4, {"circle", "blur"}),
    "coco-object": (0.5, 0.3, 0.5, {"blur", "gray"}),
    "context60": (0.6, 0.2, 0.4, {"blur", "circle"}),
    "context59": (0.6, 0.2, 0.4, {"blur", "circle"}),
    "context60-code": (0.6, 0.25, 0.4, {"blur", "circle"}),
    "context59-code": (0.6, 0.25, 0.4, {"blur", "circle"}),
    "ade150": (0.6, 0.25, 0.7, {"gray", "blur"}),
    "ade847": (0.6, 0.25, 0.7, {"gray", "blur"}),
    "pc459": (0.4, 0.25, 0.7, {"gray", "blur"}),
    "refcoco": (0.5, 0.3, 0.5, {"circle", "blur"}),
    "refcoco-code": (0.5, 0.3, 0.5, {"circle"}),
    "refcoco+": (0.2, 0.1, 0.5, {"circle", "blur"}),
    "refcocog": (0.5, 0.1, 0.6, {"circle", "blur"}),
    "gres": (0.5, 0.0, 0.3, {"circle"}),
}


def test_the_choices_are_those_the_parts_know():
    assert set(CHOICES["template_fusion"]) == set(FUSIONS)
    assert set(CHOICES["view"]) == set(VIEWS)
    assert CHOICES["proposer"] == PROPOSERS
    assert set(Config().prompts) <= set(PROMPTS)


def test_the_default_texts_exist():
    assert len(background_words(Config().background)) == 112
    assert len(read_templates(Config().templates)) == 15


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"theta": float("nan")}, r"Expected argument `theta` to be in \[0, 1\], but got nan\."),
        ({"theta": 1.5}, r"Expected argument `theta` to be in \[0, 1\], but got 1\.5\."),
        ({"eta": -0.1}, r"`eta`"),
        ({"eta": True}, r"`eta`.*but got True"),
        ({"eta": None}, r"`eta`.*but got None"),
        ({"lam": float("inf")}, r"`lam`"),
        ({"lam": "much"}, r"`lam`.*but got 'much'"),
        ({"cam_eps": float("inf")}, r"`cam_eps` to be above 0, but got inf"),
        ({"cam_eps": 0}, r"`cam_eps` to be above 0"),
        ({"crf_compat_gaussian": -1}, r"`crf_compat_gaussian` to be at least 0"),
        ({"batch_size": 0}, r"`batch_size` to be a whole number from 1"),
        ({"batch_size": 2.5}, r"`batch_size`"),
        ({"max_side": 0}, r"`max_side` to be a whole number from 1 or null"),
        ({"max_steps": True}, r"`max_steps`"),
        ({"view": "fit"}, r"`view` to be one of squash, crop, pad"),
        ({"crf": None}, r"`crf`"),
        ({"keep_best": 1}, r"`keep_best` to be true or false"),
        ({"prompts": ["cirlce"]}, r"Did you mean 'circle'"),
        ({"prompts": None}, r"`prompts`"),
        ({"background": 3}, r"`background` to be a list of texts"),
        ({"background": [["moss"]]}, r"`background`"),
        ({"templates": {"a": 1}}, r"`templates`"),
        ({"cam_template": "origami"}, r"`cam_template`.*\{\} once"),
        ({"sam": 1}, r"`sam`"),
        ({"thetta": 0.5}, r"No setting 'thetta'\. Did you mean 'theta'\?"),
        ({"lambda": 0.5}, r"No setting 'lambda'\. Did you mean 'lam'\?"),
        ({1: 2}, r"No setting 1\."),
    ],
    ids=str,
)
def test_bad_values_are_refused_in_one_line(values, message):
    with pytest.raises(InputError, match=message) as error:
        Config.from_mapping(values)
    assert "\n" not in str(error.value)


def test_lists_and_numbers_are_read_in_any_usual_form():
    assert Config(prompts="circle + blur").prompts == ("blur", "circle")
    assert Config(prompts=["blur", "circle", "blur"]).prompts == ("blur", "circle")
    assert Config(prompts=()).prompts == ()
    assert Config(background="coco23").background == ("coco23",)
    assert Config(background=[]).background == ()
    assert Config(eta=np.float32(0.5)).eta == 0.5
    assert Config(batch_size=np.int64(3)).batch_size == 3
    # For YAML, 1e-7 is a text.
    assert Config(**yaml.safe_load("cam_eps: 1e-7")).cam_eps == 1e-7


def test_zero_is_a_value():
    config = resolve(preset="voc21", theta=0, eta=0.0)
    assert (config.theta, config.eta) == (0, 0)


numbers = st.floats(0, 1)
configs = st.builds(
    Config,
    **dict.fromkeys(UNIT, numbers),
    prompts=st.lists(st.sampled_from(PROMPTS)),
    templates=st.one_of(st.just("car15"), st.lists(st.just("a {}"))),
    max_side=st.one_of(st.none(), st.integers(1, 9999)),
    view=st.sampled_from(CHOICES["view"]),
    keep_best=st.booleans(),
)


@given(configs)
def test_settings_survive_json_and_yaml(config):
    assert Config.from_mapping(json.loads(json.dumps(config.to_dict()))) == config
    assert Config.from_mapping(yaml.safe_load(yaml.safe_dump(config.to_dict()))) == config


def test_a_copy_changes_what_is_named_and_nothing_else():
    changed = Config().replace(theta=0.1)
    assert changed.theta == 0.1
    assert changed.replace(theta=0.6) == Config()
    with pytest.raises(InputError, match="'theta'"):
        Config().replace(thetta=1)


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_hold_the_published_settings(name):
    eta, theta, lam, prompts = PUBLISHED[name]
    config = resolve(preset=name)
    assert (config.eta, config.theta, config.lam, set(config.prompts)) == (eta, theta, lam, prompts)


@pytest.mark.parametrize("name", list_presets())
def test_every_preset_reproduces_what_was_published(name):
    preset, config = load_preset(name), resolve(preset=name)
    released = name.endswith("-code") or name in ("ade150", "ade847", "pc459", "gres")
    assert (config.keep_best, config.against_background) == (True, False)
    assert (config.view, config.max_side, config.template_fusion) == ("crop", None, "sum-softmax")
    assert config.classifier_skip_last == released
    assert config.background == (("coco23",) if released else ("terrestrial", "aquatic", "manmade"))
    assert preset.description.endswith("(released)" if released else "(paper)")
    assert all(isinstance(value, float) for value in preset.about["published"].values())
    assert preset.about["models"] == ("openai-b16" if name.startswith("refcoco") else "openai")
    if preset.classes:
        assert len(preset.queries) > 0
        assert len(read_templates(config.templates)) == 15
    else:
        assert preset.about["referring"]
        assert read_templates(config.templates) == ["{}"]


def test_released_presets_stand_beside_those_of_the_paper():
    names = set(list_presets())
    assert set(PUBLISHED) <= names
    assert all(name.removesuffix("-code") in names for name in names)
    assert load_preset("voc21").about["published"] == {"mIoU": 67.6, "mIoU with SAM": 70.2}
    assert load_preset("voc20").queries[0] == "aeroplane"


def test_later_layers_win(tmp_path):
    (tmp_path / "mine.yaml").write_text("description: mine\neta: 0.3\nlam: 0.3\nmax_side: null\n")
    layers = {"model_defaults": {"theta": 0.11, "eta": 0.11, "lam": 0.11, "batch_size": 11}, "preset": "voc21"}
    config = resolve(**layers, config_file=tmp_path / "mine.yaml", lam=0.2, theta=None)
    assert (config.batch_size, config.theta, config.eta, config.lam) == (11, 0.6, 0.3, 0.2)
    assert resolve(config_file=tmp_path / "mine.yaml").max_side is None
    assert resolve() == Config()


def test_a_preset_can_be_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    (tmp_path / "words.txt").write_text("cat\ndog\n")
    path.write_text(yaml.safe_dump({**Config(theta=0.2).to_dict(), "classes": str(tmp_path / "words.txt")}))
    assert resolve(preset=path) == Config(theta=0.2)
    assert load_preset(path).queries == ["cat", "dog"]
    assert load_preset(path).about == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("theta: [", r"mine\.yaml' is not YAML \(line 1\)"),
        ("a: b: c", r"mine\.yaml' is not YAML"),
        ("- theta", "to hold settings"),
        ("", "to hold settings"),
        ("thetta: 0.5", "Did you mean 'theta'"),
        ("theta: 2", "`theta`"),
        ("eta: !!python/object/apply:os.system ['echo no']", "not YAML"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as error:
        resolve(config_file=path)
    assert "\n" not in str(error.value)


def test_an_unknown_preset_is_answered_with_the_closest():
    with pytest.raises(InputError, match=r"No preset 'voc12'\. Did you mean 'voc2[01]'\?.*refcoco\+"):
        load_preset("voc12")


def test_presets_are_listed_without_loading_torch():
    code = "import car.config as c, sys; [c.resolve(preset=p) for p in c.list_presets()]; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"


def test_every_setting_is_documented():
    for name in FIELDS:
        assert name in Config.__doc__


def test_settings_of_segment_anything_are_checked_where_they_are_given():
    config = Config(sam_settings={"points_per_side": 8})
    assert Config.from_mapping(config.to_dict()) == config
    for bad, message in (
        ({"points": 8}, "points_per_side"),
        ({"points_per_side": 0}, "from 1"),
        ({"points_per_side": "many"}, "from 1"),
        (3, "a mapping"),
    ):
        with pytest.raises(InputError, match=message):
            Config(sam_settings=bad)
