import csv
import io
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from car.errors import InputError
from car.evaluate.bootstrap import ROUNDS, MeanBootstrap, draws, interval
from car.evaluate.compare_referring import ReferringComparison
from car.evaluate.compare_runs import FILES, with_interval
from car.evaluate.compare_video import VideoComparison
from car.evaluate.kinds import check_comparable, comparison_of
from car.evaluate.referring_record import ReferringRecord
from car.evaluate.referring_statistics import ReferringStatistics
from car.evaluate.video_report import VideoReport
from car.evaluate.video_statistics import MAIN, VideoStatistics, j_and_f, said_of
from tests.evaluate.made_films import made_films, video_plan
from tests.evaluate.made_runs import plan_of as semantic_plan
from tests.evaluate.test_referring_statistics import made, plan_of


def shaped(seed, count=12, **how):
    """Random records whose pictures have the same targets whatever the seed."""
    keys, records = made(0, count, **how)
    rng = random.Random(seed)

    def other(answer):
        if answer.union and not answer.flagged:
            return replace(answer, intersection=rng.randint(0, answer.union) if answer.intersection else 0)
        return answer

    changed = [
        replace(
            record,
            targets=tuple(replace(target, answers=tuple(map(other, target.answers))) for target in record.targets),
        )
        for record in records
    ]
    return keys, changed


def counted(seed, count=12, generalized=False, **changes):
    keys, records = shaped(seed, count, generalized=generalized)
    plan = plan_of(keys, **{"benchmark": "grefcoco" if generalized else "refcoco", **changes})
    return ReferringStatistics.of(plan, keys, records)


def films(seed, count=5, **changes):
    keys, records = made_films(seed, count)
    return VideoStatistics.of(video_plan(keys, **changes), keys, records)


def cells_of(page, start):
    """A row of the table of scores, by the titles of its columns."""
    scores = page[page.index("## Scores") :].splitlines()
    rows = [[cell.strip() for cell in line[1:-1].split(" | ")] for line in scores if line.startswith("|")]
    (row,) = [row for row in rows if row[0] == start and len(row) == len(rows[0])]
    return dict(zip(rows[0], row, strict=True))


def values_of(comparison):
    return {tuple(row[key] for key in comparison.labels): row for row in csv.DictReader(io.StringIO(comparison.csv))}


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 5), st.integers(0, 5))
def test_a_difference_is_that_of_brute_force_over_shared_pictures(seed, other_seed, left_out, other_left_out):
    sizes = [random.Random(number).randint(1, 4) for number in range(8)]
    means, scores = [], []
    for number, start in ((seed, left_out), (other_seed, other_left_out)):
        rng = random.Random(number)
        said = {f"{key}": [rng.random() for _ in range(size)] for key, size in enumerate(sizes)}
        scores.append(said)
        means.append(MeanBootstrap())
        for key in list(said)[start:]:
            means[-1].add(key, said[key])
    shared = [str(key) for key in range(max(left_out, other_left_out), 8)]
    drawn = np.array([draws(key) for key in shared])
    rounds = []
    for said in scores:
        sums, whole = np.zeros(ROUNDS), np.zeros(ROUNDS)
        for key, times in zip(shared, drawn, strict=True):
            sums += times * sum(said[key])
            whole += times * len(said[key])
        with np.errstate(invalid="ignore"):
            rounds.append(sums / whole)
    value, ends = means[0].difference(means[1])
    flat = [[score for key in shared for score in said[key]] for said in scores]
    assert value == pytest.approx(np.mean(flat[0]) - np.mean(flat[1]), abs=1e-12)
    assert ends == pytest.approx(interval(rounds[0] - rounds[1]), abs=1e-8)
    back, back_ends = means[1].difference(means[0])
    assert (back, back_ends) == (pytest.approx(-value), pytest.approx((-ends[1], -ends[0])))


@pytest.mark.parametrize("generalized", [False, True])
def test_a_difference_is_that_of_the_scores_where_the_pictures_are_the_same(generalized):
    one, other = counted(1, 40, generalized), counted(2, 40, generalized, method="car")
    comparison = comparison_of({"one": one, "other": other})
    assert isinstance(comparison, ReferringComparison)
    name = "gIoU" if generalized else "mIoU"
    scores = [comparison.reports[run].figures["scores"][name] for run in ("one", "other")]
    values = values_of(comparison)
    assert float(values[f"{name} difference",]["other"]) == pytest.approx(scores[1] - scores[0], abs=2e-10)
    low, high = (float(values[f"{name} difference {end}",]["other"]) for end in ("low", "high"))
    assert low < scores[1] - scores[0] < high
    whole = [float(values[f"{name} {end}",]["other"]) for end in ("low", "high")]
    assert high - low < whole[1] - whole[0], "pairs are drawn together"
    cells = cells_of(comparison.page, "other")
    assert cells["difference"] == with_interval(scores[1] - scores[0], (low, high), "+")
    assert cells[name] == f"{100 * scores[1]:.2f} [{100 * whole[0]:.1f}, {100 * whole[1]:.1f}]"
    assert cells["images"] == "40 of 40"
    assert cells["answers"] == str(other.answers)
    assert cells["method"] == "car"
    assert cells["proposals"] == "regions"
    assert cells["seconds per answer"] == f"{0.75 * 40 / other.answers:.3f}"
    assert {"cIoU", "N-acc", "T-acc", "Pr@0.7"} <= set(cells) if generalized else {"oIoU", "P@0.5"} <= set(cells)


@given(st.integers(0, 1000), st.booleans())
def test_a_run_does_not_differ_from_itself(seed, generalized):
    comparison = comparison_of({name: counted(seed, 6, generalized) for name in ("one", "other")})
    assert comparison.complete
    assert cells_of(comparison.page, "other")["difference"] == "+0.00 [+0.0, +0.0]"
    assert "The runs have the same plan." in comparison.page
    assert all(row["one"] == row["other"] for row in values_of(comparison).values())


def test_published_scores_are_those_of_the_protocol():
    runs = {name: counted(number) for number, name in enumerate("ab")}
    page = comparison_of(runs).page
    assert cells_of(page, "published HybridGL")["mIoU"] == "53.37"
    assert cells_of(page, "published HybridGL")["oIoU"] == "44.52"
    assert "published CaR" not in page
    keys, records = shaped(1)
    single = [
        replace(record, targets=tuple(replace(target, answers=target.answers[:1]) for target in record.targets))
        for record in records
    ]
    by_object = ReferringStatistics.of(plan_of(keys, protocol="object"), keys, single)
    page = comparison_of({"a": by_object, "b": by_object}).page
    assert cells_of(page, "published CaR")["mIoU"] == "35.36"
    assert "published HybridGL" not in page
    page = comparison_of({name: counted(1, variant="google", split="val") for name in "ab"}).page
    assert "No published scores of zero-shot methods are known" in page


def test_incomplete_runs_are_compared_on_what_they_share():
    keys, records = shaped(1)
    plan = plan_of(keys)
    whole = counted(2)
    part = ReferringStatistics.of(plan, keys, [ReferringRecord(keys[0], error="gone"), *records[3:]])
    comparison = comparison_of({"whole": whole, "part": part})
    assert not comparison.complete
    assert comparison.shared("part") == keys[3:]
    page = comparison.page
    assert "part: **9 of 12 images**" in page
    assert "The difference of part is over 9 of its 9 images, of which the first run has 12" in page
    on_these = ReferringStatistics.of(plan, keys, shaped(2)[1][3:])
    expected = part.scores().miou - on_these.scores().miou
    assert cells_of(page, "part")["difference"].startswith(f"{100 * expected:+.2f} [")
    assert f"the first run {100 * on_these.scores().miou:.2f}." in page
    nothing = comparison_of({"none": ReferringStatistics.of(plan, keys, []), "part": part})
    assert cells_of(nothing.page, "part")["difference"] == "other images"
    assert "part is not comparable: none of its images are those of the first run." in nothing.page
    assert values_of(nothing)["mIoU difference",]["part"] == ""


def test_one_shared_picture_has_no_interval():
    keys, records = shaped(1)
    runs = {
        name: ReferringStatistics.of(plan_of(keys), keys, each)
        for name, each in (("a", records[:2]), ("b", records[1:]))
    }
    assert cells_of(comparison_of(runs).page, "b")["difference"] == "+0.00"


def test_pictures_that_are_left_out_are_not_shared():
    """A run that leaves out pictures without proposals is compared with one that counts them on the others."""
    skipping, counting = counted(1, 20, skip_empty=True), counted(1, 20)
    assert 0 < len(skipping.skipped) < 20
    comparison = comparison_of({"counting": counting, "skipping": skipping})
    assert len(comparison.shared("skipping")) == 20 - len(skipping.skipped)
    assert cells_of(comparison.page, "skipping")["difference"] == "+0.00 [+0.0, +0.0]"
    assert "| skip_empty | `False` | `True` |" in comparison.page


def test_settings_of_one_method_alone_are_not_differences():
    runs = {
        "hybrid": counted(1),
        "car": counted(2, method="car", config={"theta": 0.5, "lam": 0.5}),
        "bold": counted(3, method="car", config={"theta": 0.4, "lam": 0.5}),
    }
    page = comparison_of(runs).page
    assert "| method | `hybridgl` | `car` | `car` |" in page
    assert "| config.theta | - | `0.5` | `0.4` |" in page
    assert "config.r" not in page
    assert "config.lam" not in page
    assert "Settings that one method alone has are listed where they differ between its runs." in page


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"split": "testB"}, "its split is testB, not testA"),
        ({"variant": "google"}, "its variant is google, not unc"),
        ({"protocol": "object"}, "its protocol is per object, not per sentence"),
        (
            {"categories": {"source": "mine.txt", "sha256": "0123456789abcdef" * 4}},
            "its list of categories is mine.txt (0123456789ab), not None",
        ),
        ({"reading": {"overlap": "exactly-one"}}, "its rule for overlaps is exactly-one, not union"),
        (
            {"reading": {"overlap": "union", "instances": "merged"}, "split": "val"},
            "its split is val, not testA, its rule for instances is merged, not None",
        ),
    ],
)
def test_other_protocols_are_refused(changes, said):
    with pytest.raises(InputError) as caught:
        check_comparable({"a": plan_of(["x"]), "b": plan_of(["x"], **changes)})
    assert str(caught.value) == f"'b' cannot be compared with 'a': {said}."


@pytest.mark.parametrize("other", [plan_of(["x"], benchmark="refcoco+"), video_plan(["x"]), semantic_plan(["x"])])
def test_other_benchmarks_are_refused(other):
    for pair in ({"a": plan_of(["x"]), "b": other}, {"b": other, "a": plan_of(["x"])}):
        with pytest.raises(InputError, match="only runs of the same benchmark can be compared"):
            check_comparable(pair)


def test_runs_over_other_data_are_refused():
    keys, records = shaped(1)
    target = records[4].targets[0]
    grown = replace(records[4], targets=(*records[4].targets, replace(target, id="more")))
    other = ReferringStatistics.of(plan_of(keys), keys, [grown])
    with pytest.raises(
        InputError, match=r"'b' has \d+ answers for '004', 'a' has \d+: they are runs over different data"
    ):
        comparison_of({"a": counted(1), "b": other})


def test_runs_over_the_same_categories_can_be_compared():
    keys, records = shaped(1)
    plan = plan_of(keys, categories={"source": "coco-seen.txt", "sha256": "ab" * 32})
    run = ReferringStatistics.of(plan, keys, records)
    page = comparison_of({"a": run, "b": run}).page
    assert page.splitlines()[0] == "# refcoco testA (unc), categories of coco-seen.txt: 2 runs"
    assert {"InstAcc", "ImgAcc"} <= set(cells_of(page, "b"))
    assert "published" not in page
    assert "Published scores are of targets of all categories" in page


def test_one_run_cannot_be_compared():
    with pytest.raises(InputError, match="at least two"):
        comparison_of({"only": counted(1)})


def test_films_are_compared_by_the_main_rule():
    one, other = films(1), films(2, film={"mode": "per-frame"})
    comparison = comparison_of({"one": one, "other": other})
    assert isinstance(comparison, VideoComparison)
    reports = [VideoReport.of(run).figures for run in (one, other)]
    here, there = (report["rules"][MAIN]["j_and_f"] for report in reversed(reports))
    cells = cells_of(comparison.page, "other")
    assert cells["method"] == "car per-frame"
    assert "proposals" not in cells
    assert cells["sequences"] == "5 of 5"
    assert cells["difference"].startswith(f"{100 * (here - there):+.2f} [")
    assert cells["J&F"].startswith(f"{100 * here:.2f} [")
    for rule in ("semi-supervised", "unsupervised"):
        assert cells[f"J&F {rule}"] == f"{100 * reports[1]['rules'][rule]['j_and_f']:.2f}"
    asked = sum(each.asked for film in other.films.values() for each in film.annotators.values())
    seconds = sum(sum(film.seconds.values()) for film in other.films.values())
    assert cells["expressions"] == str(asked)
    assert cells["seconds per expression"] == f"{seconds / asked:.3f}"
    assert cells_of(comparison.page, "published CaR")["J&F"] == "30.34"
    assert "| film.mode | `carried` | `per-frame` |" in comparison.page
    means = [
        {key: np.mean([j_and_f(each) for each in said_of(film, MAIN)]) for key, film in run.films.items()}
        for run in (one, other)
    ]
    for key in means[0]:
        first, second = (100 * each[key] for each in means)
        row = f"| {key} | {first:.1f} | {second:.1f} ({second - first:+.1f}) |"
        assert row in comparison.page
        assert float(values_of(comparison)["J&F", MAIN, key]["other"]) == pytest.approx(means[1][key])
    low, high = (float(values_of(comparison)[f"J&F difference {end}", MAIN, ""]["other"]) for end in ("low", "high"))
    assert low <= here - there <= high


def test_films_that_one_run_lacks_have_no_difference():
    keys, records = made_films(2)
    part = VideoStatistics.of(video_plan(keys), keys, records[1:])
    comparison = comparison_of({"part": part, "whole": films(1)})
    (line,) = [line for line in comparison.page.splitlines() if line.startswith("| film-000")]
    assert line.startswith("| film-000 | - | ")
    assert "(" not in line
    assert "The difference of whole is over 4 of its 5 sequences, of which the first run has 4" in comparison.page
    assert values_of(comparison)["J&F", MAIN, "film-000"]["part"] == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"variant": "semi-supervised"}, "its variant is semi-supervised, not unsupervised"),
        ({"annotators": ["annot1"]}, "its list of annotators is annot1, not annot1, annot2"),
    ],
)
def test_films_of_other_annotations_are_refused(changes, said):
    with pytest.raises(InputError, match=said):
        check_comparable({"a": video_plan(["x"]), "b": video_plan(["x"], **changes)})


@pytest.mark.parametrize("run_of", [counted, films])
def test_the_same_runs_give_the_same_files(tmp_path, run_of):
    for folder in ("one", "other"):
        comparison_of({"a": run_of(1), "b": run_of(2)}).write(tmp_path / folder)
    files = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert set(files) == set(FILES)
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "other").iterdir()}
