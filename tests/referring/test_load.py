import json

import numpy as np
import pytest
from PIL import Image

import car
from car import rle
from car.errors import InputError
from car.referring.load import METHODS
from car.referring.saving import save_referrals
from car.vlm.registry import load_clip


@pytest.mark.parametrize("method", METHODS)
def test_every_method_answers_and_its_answer_can_be_kept(method, tmp_path):
    referrer = car.load_referrer(method)
    assert referrer.method == method
    referral = referrer.refer(car.demo_image(), "the red umbrella")
    assert referral.found
    assert referral.mask.shape == referral.image.shape[:2] == (375, 500)
    assert referral.score == referral.ranking[0].score
    assert [one.score for one in referral.ranking] == sorted((one.score for one in referral.ranking), reverse=True)
    picture = save_referrals([referral], tmp_path, "demo")
    assert Image.open(picture).size[0] == 500
    kept = json.loads((tmp_path / "demo.refer.json").read_text())["referrals"][0]
    assert np.array_equal(rle.decode(kept["segmentation"]), referral.mask)
    assert np.array_equal(np.array(Image.open(tmp_path / "demo.refer.masks/the-red-umbrella.png")) > 0, referral.mask)
    with pytest.raises(InputError, match="exists already"):
        save_referrals([referral], tmp_path, "demo")


def test_the_embedded_sam_proposes_for_the_embedded_clip_alone():
    assert car.load_referrer("hybridgl").proposals.name == "mini"
    assert car.load_referrer("hybridgl", proposals="regions").proposals.name == "regions"
    assert car.load_referrer("hybridgl", load_clip("mini")).proposals.name == "regions"


def test_settings_reach_their_methods(tmp_path):
    (tmp_path / "mine.yaml").write_text("alpha: 0.85\nbeta: 0.25\n")
    settings = car.load_referrer("global-local", config_file=tmp_path / "mine.yaml", beta=1).settings
    assert (settings.alpha, settings.beta) == (0.85, 1)
    assert car.load_referrer("tas").settings.min_area < 1
    assert car.load_referrer("tas", min_area=50).settings.min_area == 50
    assert car.load_referrer("hybridgl", as_released=True).settings.as_released
    config = car.load_referrer("car", theta=0.4).segmenter.config
    assert (config.theta, config.eta, config.templates) == (0.4, 0.5, ("{}",))
    assert car.load_referrer("car", preset="refcoco+").segmenter.config.eta == 0.2


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("hybrid", {}, "No method 'hybrid'. Did you mean 'hybridgl'?"),
        ("tas", {"lamda": 1.0}, "No setting 'lamda'. Did you mean 'lam'?"),
        ("tas", {"lam": "much"}, "Expected argument `lam` to be like 0.7, but got 'much'"),
        ("hybridgl", {"as_released": 1}, "Expected argument `as_released` to be like False"),
        ("hybridgl", {"preset": "refcoco"}, "Presets are of the method 'car'"),
        ("global-local", {"model": "nothing"}, "Model 'nothing' not found"),
        ("global-local", {"parser": "nothing"}, "No parser 'nothing'"),
        ("car", {"eta": 2}, "in [0, 1]"),
    ],
)
def test_what_does_not_exist_is_refused(method, options, message):
    with pytest.raises(InputError) as refused:
        car.load_referrer(method, **options)
    assert message in str(refused.value)
