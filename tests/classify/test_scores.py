import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from car.classify.scores import Classifier, joined, mask_key, score_matrix
from car.classify.visual_prompts import VisualPrompter
from car.errors import InputError
from car.propose.proposals import Proposals
from car.vlm.model import CLIP
from car.vlm.preprocess import classifier_views
from tests.golden import golden, golden_path
from tests.models import random_vit, unit


def test_scores_match_the_reference():
    z = golden("car")
    clip = CLIP.from_state_dict(torch.load(golden_path("tiny_vit.pt"), weights_only=True))
    images = clip.encode_image(torch.from_numpy(z["images"]), skip_last=True)
    texts = clip.encode_text(torch.from_numpy(z["text_tokens"])).unflatten(0, (2, 3))
    images, texts = (x / x.norm(dim=-1, keepdim=True) for x in (images, texts))
    logits = clip.logit_scale.exp() * images @ texts.mT
    for t in range(2):
        single = score_matrix(logits[t : t + 1], fusion="sum-softmax")
        np.testing.assert_allclose(single, z[f"prob_template{t}"], atol=1e-5)
    np.testing.assert_allclose(logits.softmax(-1).sum(0).softmax(-1), z["prob_two_templates"], atol=1e-5)
    both = score_matrix(logits, fusion="sum-softmax")
    np.testing.assert_allclose(both.diagonal(), z["diag_two_templates"], atol=1e-5)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6))
def test_rows_of_the_matrix_sum_to_one(templates, images, texts):
    logits = 20 * torch.randn(templates, images, texts, generator=torch.Generator().manual_seed(texts))
    scores = score_matrix(logits, fusion="sum-softmax")
    torch.testing.assert_close(scores.sum(-1), torch.ones(images))
    if texts == 1:
        assert (scores == 1).all()


def test_an_unknown_fusion_is_refused():
    with pytest.raises(InputError, match="sum-softmax, mean-embedding"):
        score_matrix(torch.zeros(1, 1, 1), fusion="max")


class Counting:
    """A real classifier that counts the images it is given."""

    def __init__(self) -> None:
        self.clip, self.seen = random_vit(), 0
        self.input_resolution, self.device = self.clip.input_resolution, self.clip.device
        self.logit_scale = self.clip.logit_scale

    def encode_image(self, images, *, skip_last):
        self.seen += len(images)
        return self.clip.encode_image(images, skip_last=skip_last)


def classifier(clip, batch_size=2, background=0):
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    return Classifier(
        clip,
        VisualPrompter(image, ("circle", "blur")),
        unit(2, 4, 24),
        unit(2, background, 24),
        synonyms=[1, 1, 1, 1],
        eta=0.5,
        fusion="sum-softmax",
        view="pad",
        skip_last=False,
        batch_size=batch_size,
    )


def proposals() -> Proposals:
    """Two blobs, one map below the threshold, and the first blob again a little stronger."""
    grid = torch.zeros(4, 5, 6)
    grid[0, 1:3, 1:3] = grid[3, 1:3, 1:3] = 1
    grid[1, 3:, 4:] = 1
    grid[2] = 0.1
    return Proposals(grid, (40, 60))


def test_the_matrix_is_what_one_image_at_a_time_gives():
    clip = random_vit()
    judge = classifier(clip)
    matrix = judge.matrix([0, 1, 2, 3], proposals())
    for i in range(4):
        view = classifier_views([judge.prompter.render(proposals().binary(i, 0.5))], 48, "pad")
        feature = clip.encode_image(view)
        logits = clip.logit_scale.exp() * feature / feature.norm() @ judge.queries.mT
        torch.testing.assert_close(matrix[i], score_matrix(logits, fusion="sum-softmax")[0], atol=1e-5, rtol=1e-4)


def test_a_mask_that_did_not_change_is_not_encoded_again():
    clip = Counting()
    judge = classifier(clip)
    whole = judge.matrix([0, 1, 2, 3], proposals())
    assert clip.seen == 3
    fewer = judge.matrix([0, 2], Proposals(proposals().grid[[0, 2]], (40, 60)))
    assert clip.seen == 3
    assert fewer.shape == (2, 2)
    assert (fewer[0, 0] > whole[0, 0]).all()


def test_background_texts_lower_every_score():
    alone = classifier(random_vit()).matrix([0, 1, 2, 3], proposals())
    against = classifier(random_vit(), background=3).matrix([0, 1, 2, 3], proposals())
    assert against.shape == (4, 7)
    assert (against[:, :4] < alone).all()


def test_masks_too_small_for_a_prompt_are_one_and_the_same():
    empty, dot, two = np.zeros((3, 4, 4), bool)
    dot[1, 1] = True
    two[1, 1:3] = True
    assert mask_key(empty) == mask_key(dot) != mask_key(two)


def test_a_query_has_the_probability_of_its_synonyms():
    logits = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(1))
    both = joined(logits, [1, 3, 2]).softmax(dim=-1)
    each = logits.softmax(dim=-1)
    torch.testing.assert_close(both[..., 1], each[..., 1:4].sum(dim=-1))
    torch.testing.assert_close(both[..., 2], each[..., 4:].sum(dim=-1))
    assert joined(logits, [1] * 6) is logits
