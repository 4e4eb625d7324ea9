import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from car.errors import InputError
from car.metrics.semantic import confusion, semantic_scores
from tests.golden import golden

K = 5
MEANS = ("miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou")
shapes = st.tuples(st.integers(0, 6), st.just(7))
matrices = hnp.arrays(np.int64, (K, K), elements=st.integers(0, 3) | st.integers(0, 10**9))


@st.composite
def images(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(shapes)
    predicted = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, K - 1)))
    truth = draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([*range(K), 255])))
    return predicted, truth


def test_scores_match_the_reference():
    z = golden("metrics")
    pairs = zip(z["sem_pred"], z["sem_gt"], strict=True)
    scores = semantic_scores(sum(confusion(predicted, truth, 21) for predicted, truth in pairs))
    np.testing.assert_allclose(scores.class_iou, z["sem_class_iou"], atol=1e-6)
    expected = [z[name] for name in ("sem_mIoU", "sem_pixel_acc", "sem_mean_acc", "sem_fw_iou")]
    np.testing.assert_allclose([getattr(scores, name) for name in MEANS], expected, atol=1e-6)


@given(images())
def test_counts_are_the_definition_cell_by_cell(image):
    predicted, truth = image
    counts = confusion(predicted, truth, K)
    assert counts.dtype == np.int64
    expected = [[((truth == row) & (predicted == column)).sum() for column in range(K)] for row in range(K)]
    assert np.array_equal(counts, expected)


@given(st.lists(images(), min_size=1, max_size=4))
def test_counts_of_images_add_up_to_those_of_all_pixels(several):
    predicted, truth = (np.concatenate(arrays) for arrays in zip(*several, strict=True))
    assert np.array_equal(sum(confusion(*image, K) for image in several), confusion(predicted, truth, K))


@given(hnp.arrays(np.uint8, (4, 7), elements=st.integers(0, K - 1)))
def test_a_perfect_prediction_scores_one(truth):
    scores = semantic_scores(confusion(truth, truth, K))
    assert [getattr(scores, name) for name in MEANS] == [1.0] * 4
    present = np.isin(np.arange(K), truth)
    assert np.array_equal(scores.class_iou, np.where(present, 1.0, np.nan), equal_nan=True)


@given(matrices, st.permutations(range(K)))
def test_renaming_classes_renames_their_scores(counts, order):
    scores, renamed = semantic_scores(counts), semantic_scores(counts[np.ix_(order, order)])
    assert np.array_equal(renamed.class_iou, scores.class_iou[order], equal_nan=True)
    for name in MEANS:
        np.testing.assert_allclose(getattr(renamed, name), getattr(scores, name), rtol=1e-12)


def test_means_leave_out_classes_without_truth():
    scores = semantic_scores(np.array([[6, 2, 0], [0, 0, 0], [0, 0, 0]]))
    assert np.array_equal(scores.class_iou, [0.75, 0.0, np.nan], equal_nan=True)
    assert [getattr(scores, name) for name in MEANS] == [0.75] * 4


@pytest.mark.filterwarnings("error")
def test_nothing_counted_has_no_score():
    counts = confusion(np.zeros((2, 3), np.uint8), np.full((2, 3), 255, np.uint8), K)
    assert not counts.any()
    scores = semantic_scores(counts)
    assert np.isnan(scores.class_iou).all()
    assert np.isnan([getattr(scores, name) for name in MEANS]).all()


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_large_vocabularies_in_any_dtype(dtype):
    predicted = np.array([[846, 255, 0]], dtype)
    counts = confusion(predicted, np.array([[846, 846, 65535]], np.uint16), 847, ignore=65535)
    assert counts[846, 846] == counts[846, 255] == 1
    assert counts.sum() == 2


def test_signed_truth_may_ignore_a_negative_label():
    counts = confusion(np.array([[0, 1]]), np.array([[-1, 1]]), 2, ignore=-1)
    assert counts.tolist() == [[0, 0], [0, 1]]


@pytest.mark.parametrize(
    ("predicted", "truth", "message"),
    [
        ([[5]], [[0]], r"`predicted` to be in \[0, 5\), but got 5\."),
        ([[-1]], [[0]], r"`predicted` to be in \[0, 5\), but got -1\."),
        ([[255]], [[255]], r"`predicted` to be in \[0, 5\), but got 255\."),
        ([[0]], [[5]], r"`truth` to be in \[0, 5\), but got 5\."),
        ([[0]], [[-1]], r"`truth` to be in \[0, 5\), but got -1\."),
        ([[0, 0]], [[0]], r"shape of `truth`, \(1, 1\), but got \(1, 2\)\."),
        ([[0.0]], [[0]], "`predicted` of an integer dtype, but got float64"),
        ([[0]], [[True]], "`truth` of an integer dtype, but got bool"),
    ],
)
def test_labels_that_cannot_be_counted(predicted, truth, message):
    with pytest.raises(InputError, match=message):
        confusion(np.array(predicted), np.array(truth), K)


@pytest.mark.parametrize(("classes", "ignore", "name"), [(0, 255, "classes"), (847, 255, "ignore"), (5, 0, "ignore")])
def test_arguments_that_contradict_the_labels(classes, ignore, name):
    image = np.zeros((1, 1), np.uint8)
    with pytest.raises(InputError, match=f"`{name}`"):
        confusion(image, image, classes, ignore=ignore)


@pytest.mark.parametrize(
    "counts", [np.zeros((2, 3), int), np.zeros(4, int), np.zeros((0, 0), int), np.eye(2), np.array([[1, 0], [-1, 1]])]
)
def test_matrices_that_count_nothing(counts):
    with pytest.raises(InputError, match="`confusion`"):
        semantic_scores(counts)
