"""Drawing partitions: by patient, from a seed, with lesions of all sizes everywhere if asked."""

import numpy as np
import pytest

from semicml_tf.conversion.splitting import sampling, split
from semicml_tf.errors import UserError
from tests.support.patients import case, numbered, touch

FRACTIONS = {"labelled": 0.1, "validation": 0.1, "test": 0.2}


def test_a_seed_gives_the_split_of_version_0_1(tmp_path):
    """Written down from version 0.1: a seed that stands in a paper must go on meaning the same patients."""
    found = numbered(tmp_path, 20)
    for seed, labelled, validation, test in (
        (0, ("C008", "C015"), ("C003", "C014"), ("C002", "C005", "C010", "C017")),
        (7, ("C014", "C015"), ("C013", "C017"), ("C006", "C010", "C011", "C012")),
    ):
        drawn = sampling.draw(found, seed, FRACTIONS)
        assert (drawn["labelled"], drawn["validation"], drawn["test"]) == (labelled, validation, test)
        assert drawn.seed == seed and drawn.stratify == "" and drawn.folds == ()


def test_a_drawn_split_is_exact_and_complete(tmp_path):
    found = numbered(tmp_path, 35)
    drawn = sampling.draw(found, 7, FRACTIONS)
    # 3.5 is rounded up.
    assert {name: len(names) for name, names in drawn.items()} == {
        "labelled": 4, "unlabelled": 20, "validation": 4, "test": 7, "excluded": 0,
    }  # fmt: skip
    assert sorted(sum(drawn.values(), ())) == [one.case_id for one in found]


def test_a_drawn_split_depends_on_the_seed_alone(tmp_path):
    found = numbered(tmp_path, 40)
    assert sampling.draw(found, 1, FRACTIONS) == sampling.draw(found[::-1], 1, FRACTIONS)
    assert sampling.draw(found, 1, FRACTIONS) != sampling.draw(found, 2, FRACTIONS)
    more = sampling.draw(found, 1, {**FRACTIONS, "labelled": 0.5})
    assert more["test"] == sampling.draw(found, 1, FRACTIONS)["test"]
    assert set(more["labelled"]) > set(sampling.draw(found, 1, FRACTIONS)["labelled"])


def test_labelled_cases_replaces_the_labelled_fraction(tmp_path):
    found = numbered(tmp_path, 40)
    drawn = sampling.draw(found, 1, {**FRACTIONS, "labelled": 0.9}, labelled_cases=4)
    assert drawn == sampling.draw(found, 1, FRACTIONS)
    with pytest.raises(UserError, match="expected 37 patients with a label to draw from, got 30 of 40"):
        sampling.draw(numbered(tmp_path / "more", 40, 10), 1, FRACTIONS, labelled_cases=28)
    with pytest.raises(UserError, match="--labelled_cases of 0 or more"):
        sampling.draw(found, 1, FRACTIONS, labelled_cases=-1)


@pytest.mark.parametrize("labelled", [{}, {"labelled": None}, {"labelled": 1}])
def test_all_labels_are_used_without_a_labelled_fraction(tmp_path, labelled):
    found = numbered(tmp_path, 40, without_label=10)
    found[20].images["pet"].path.unlink()
    drawn = sampling.draw(found, 1, {"validation": 0.1, "test": 0.2, **labelled}, modalities=("ct", "pet"))
    # Fractions are of the 30 patients with a label, not of all 40.
    assert (len(drawn["validation"]), len(drawn["test"])) == (3, 6)
    without = {f"C{number:03d}" for number in range(10)}
    assert set(drawn["unlabelled"]) == without
    fewer = sampling.draw(found, 1, {"validation": 0.1, "test": 0.2, "labelled": 0.2}, modalities=("ct", "pet"))
    assert len(fewer["labelled"]) == 6 and fewer["test"] == drawn["test"]


def test_every_fraction_above_0_gets_a_patient_and_0_none(tmp_path):
    drawn = sampling.draw(numbered(tmp_path, 4), 0, {"labelled": 0.01, "validation": 0.01, "test": 0})
    assert (len(drawn["labelled"]), len(drawn["validation"]), len(drawn["test"])) == (1, 1, 0)


def test_patients_without_a_label_can_only_be_unlabelled(tmp_path):
    for seed in range(20):
        drawn = sampling.draw(numbered(tmp_path, 5, 2), seed, FRACTIONS)
        assert {"C000", "C001"} <= set(drawn["unlabelled"])
    with pytest.raises(
        UserError, match="expected 3 patients with a label to draw from, got 2 of 10. Lower the fractions"
    ):
        sampling.draw(numbered(tmp_path / "few", 10, 8), 0, FRACTIONS)
    with pytest.raises(UserError, match="cases.csv: expected 3 patients.*got 0 of 10. Add label files"):
        sampling.draw(numbered(tmp_path / "none", 10, 10), 0, FRACTIONS, source="cases.csv")


@pytest.mark.parametrize("bad", [{"labelled": 0.8, "test": 0.5}, {"labelled": -0.1}, {"labelled": float("nan")}])
def test_fractions_outside_0_to_1_are_refused(tmp_path, bad):
    with pytest.raises(UserError, match="fractions"):
        sampling.draw(numbered(tmp_path, 10), 0, bad)


def _studies(root, patients=30):
    """One to three studies a patient."""
    return touch(
        [
            case(f"P{number:02d}-{study}", f"P{number:02d}", root=root)
            for number in range(patients)
            for study in range(1 + number % 3)
        ]
    )


def test_all_studies_of_a_patient_share_a_partition(tmp_path):
    found = _studies(tmp_path)
    drawn = sampling.draw(found, 3, FRACTIONS)
    assert {name: len(names) for name, names in drawn.items()} == {
        "labelled": 3, "unlabelled": 18, "validation": 3, "test": 6, "excluded": 0,
    }  # fmt: skip
    chosen, left_out = split.cases_by_partition(drawn, found, source="here")
    home = {}
    for partition, cases in chosen.items():
        for one in cases:
            assert home.setdefault(one.patient, partition) == partition
    assert not left_out and sum(map(len, chosen.values())) == len(found)


def test_one_study_without_a_label_keeps_its_patient_unlabelled(tmp_path):
    found = _studies(tmp_path)
    next(one for one in found if one.case_id == "P02-1").label.path.unlink()
    for seed in range(10):
        assert "P02" in sampling.draw(found, seed, {"labelled": 0.5, "test": 0.4})["unlabelled"]


def _without(found, modality, numbers):
    """The cases, of which some lack an image."""
    for number in numbers:
        found[number].images[modality].path.unlink()
    return found


def test_patients_who_lack_a_modality_are_drawn_into_every_partition(tmp_path):
    found = _without(numbered(tmp_path, 24), "pet", range(12))
    fractions, half = {"labelled": 0.25, "validation": 0.25, "test": 0.25}, {f"C{number:03d}" for number in range(12)}
    seen = dict.fromkeys((*fractions, "unlabelled"), 0)
    for seed in range(20):
        drawn = sampling.draw(found, seed, fractions, modalities=("ct", "pet"))
        assert [len(drawn[name]) for name in seen] == [6, 6, 6, 6]
        for name in seen:
            seen[name] += len(half & set(drawn[name]))
        assert len(set(drawn["labelled"]) - half) >= 2 and set(drawn["validation"]) - half and set(drawn["test"]) - half
    # Half of each partition of 6 in 20 draws, within three standard deviations.
    assert all(abs(count - 60) < 17 for count in seen.values()), seen


def test_a_draw_keeps_two_labelled_patients_per_modality(tmp_path):
    few = {"labelled": 0.1, "validation": 0.1, "test": 0.2}
    # Four patients with PET are enough for all partitions; two are labelled; of no modality there are all.
    for count, expected in ((4, [2, 1, 1]), (2, [2, 0, 0])):
        found = _without(numbered(tmp_path / str(count), 20), "pet", range(count, 20))
        with_pet = {f"C{number:03d}" for number in range(count)}
        for seed in range(10):
            drawn = sampling.draw(found, seed, few, modalities=("ct", "pet"))
            least = [len(with_pet & set(drawn[name])) for name in ("labelled", "validation", "test")]
            assert all(one >= other for one, other in zip(least, expected)), (seed, least)
    apart = _without(_without(numbered(tmp_path / "apart", 20), "pet", range(10)), "ct", range(10, 20))
    for seed in range(10):
        drawn = sampling.draw(apart, seed, {**few, "labelled": 0.2}, modalities=("ct", "pet"))
        assert sum(name < "C010" for name in drawn["labelled"]) == 2
        assert all({name < "C010" for name in drawn[part]} == {True, False} for part in ("validation", "test"))


def test_patients_who_lack_a_modality_are_unlabelled_if_they_are_not_accepted(tmp_path):
    found = _without(numbered(tmp_path, 12), "pet", range(6))
    how = {"modalities": ("ct", "pet"), "incomplete": False}
    drawn = sampling.draw(found, 0, {"labelled": 0.5, "test": 0.3}, **how)
    assert {f"C{number:03d}" for number in range(6)} <= set(drawn["unlabelled"])
    assert (len(drawn["labelled"]), len(drawn["test"])) == (3, 2)
    with pytest.raises(UserError, match=r"got 6 of 12 \(6 more lack a modality\).*pass --allow_missing_modality"):
        sampling.draw(found, 0, {"test": 0.3}, labelled_cases=5, **how)


def test_pseudonyms_do_not_change_the_draw(tmp_path):
    found = numbered(tmp_path, 20)
    secret = {one.case_id: f"P{number * 7919 % 10007:08X}" for number, one in enumerate(found)}
    renamed = [case(secret[one.case_id], root=tmp_path / "p") for one in found]
    touch(renamed)
    original = {pseudonym: name for name, pseudonym in secret.items()}
    plain = sampling.draw(found, 5, FRACTIONS)
    hidden = sampling.draw(renamed, 5, FRACTIONS, key=original.__getitem__)
    assert {name: {original[one] for one in held} for name, held in hidden.items()} == {
        name: set(held) for name, held in plain.items()
    }


# Stratified.


def _sizes(names, seed=0):
    """Lognormal volumes, a fifth of them 0: as lesions are."""
    rng = np.random.default_rng(seed)
    return {
        name: float(ml) if rng.random() > 0.2 else 0.0 for name, ml in zip(names, rng.lognormal(2, 1.5, len(names)))
    }


def _worst_gap(part, everybody):
    """Kolmogorov-Smirnov distance of the two samples."""
    part, everybody = np.sort(part), np.sort(everybody)
    return max(abs((part <= cut).mean() - (everybody <= cut).mean()) for cut in everybody)


def test_stratifying_keeps_the_members_of_the_pool(tmp_path):
    found = numbered(tmp_path, 60)
    fractions = {"labelled": 0.3, "validation": 0.2, "test": 0.2}
    pool = sampling.draw_pool(found, 1, fractions, stratify="lesion_size")
    plain = sampling.draw(found, 1, fractions)
    stratified = sampling.assign(pool, _sizes(pool.candidates))
    assert set(pool.candidates) == {*plain["labelled"], *plain["validation"], *plain["test"]}
    assert stratified["unlabelled"] == plain["unlabelled"] and stratified.stratify == "lesion_size"
    assert {name: len(held) for name, held in stratified.items()} == {name: len(held) for name, held in plain.items()}


def test_stratified_partitions_have_similar_lesion_volumes(tmp_path):
    found = numbered(tmp_path, 80)
    fractions = {"labelled": 0.4, "validation": 0.2, "test": 0.2}
    worst = {"stratified": 0.0, "plain": 0.0}
    for seed in range(10):
        pool = sampling.draw_pool(found, seed, fractions, stratify="lesion_size")
        ml = _sizes(pool.candidates, seed)
        for kind, drawn in (("stratified", sampling.assign(pool, ml)), ("plain", sampling.assign(pool))):
            gaps = [_worst_gap([ml[name] for name in drawn[part]], [*ml.values()]) for part in fractions]
            worst[kind] = max(worst[kind], *gaps)
    # One of a partition of 16 in each sixteenth of the patients by size: off by one of them at most.
    assert worst["stratified"] <= 1 / 16 + 1e-9 < worst["plain"]


def test_a_stratified_draw_depends_on_the_seed_and_not_on_the_order(tmp_path):
    found = numbered(tmp_path, 40)
    fractions = {"labelled": 0.3, "validation": 0.2, "test": 0.2}
    ml = _sizes([one.case_id for one in found])

    def drawn(cases, seed):
        pool = sampling.draw_pool(cases, seed, fractions, stratify="lesion_size")
        return sampling.assign(pool, {name: ml[name] for name in sorted(pool.candidates)})

    assert drawn(found, 1) == drawn(found[::-1], 1) and drawn(found, 1) != drawn(found, 2)


def test_stratifying_keeps_two_labelled_patients_per_modality(tmp_path):
    found = _without(numbered(tmp_path, 20), "ct", range(16))
    fractions = {"labelled": 0.2, "validation": 0.2, "test": 0.3}
    for seed in range(10):
        pool = sampling.draw_pool(found, seed, fractions, stratify="lesion_size", modalities=("ct", "pet"))
        drawn = sampling.assign(pool, _sizes(pool.candidates, seed))
        assert [len(drawn[name]) for name in fractions] == [4, 4, 6]
        assert [sum(name >= "C016" for name in drawn[part]) for part in fractions] == [2, 1, 1]


def test_volumes_of_other_patients_are_refused_and_a_missing_volume_is_not(tmp_path):
    pool = sampling.draw_pool(numbered(tmp_path, 20), 0, FRACTIONS, stratify="lesion_size")
    with pytest.raises(ValueError, match="pool's candidates"):
        sampling.assign(pool, {"somebody": 1.0})
    known = _sizes(pool.candidates)
    unread = {**known, pool.candidates[0]: 0.0}
    assert sampling.assign(
        pool, {name: ml for name, ml in known.items() if name != pool.candidates[0]}
    ) == sampling.assign(pool, unread)


def test_a_patients_lesion_volume_is_that_of_the_largest_study():
    cases = [case("A-1", "A"), case("A-2", "A"), case("B"), case("C")]
    assert sampling.lesion_ml_by_patient(cases, {"A-1": 2.0, "A-2": 5.0, "B": 1.0}) == {"A": 5.0, "B": 1.0}
