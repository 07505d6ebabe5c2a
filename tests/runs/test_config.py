"""The configuration of a training: recipes, defaults, contradictions, its help and its flags."""

import dataclasses

import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.methods import catalogue
from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.runs.config import TrainConfig
from semicml_tf.runs.recipes import PAPER
from semicml_tf.runs.settings import as_flags, recorded_flags, run_hash

BASELINES = [name for name in catalogue.METHODS if name not in ("supervised", "semi_cml", "prel")]


def config(**options):
    return TrainConfig(dataset="DATASET", output="RUN", **options)


def parsed(*flags):
    return commandline.config("semicml_tf.train", ["--dataset=DATASET", "--output=RUN", *flags])


def test_a_recipe_gives_the_values_that_the_user_does_not():
    made = config(recipe="paper", epochs=(3, 6))
    assert made.epochs == (3, 6) and made.width == PAPER["width"] and made.teacher == "pool"
    assert made == parsed("--recipe=paper", "--epochs=3,6")
    # Also where the user's value is that of the recipe `default`.
    assert config(recipe="paper", width=16).width == parsed("--recipe=paper", "--width=16").width == 16
    assert dataclasses.replace(made, seed=1).epochs == (3, 6)
    assert config().width == 16 and config() == parsed()


def test_the_paper_recipe_names_every_knob_of_its_methods():
    """Else tuning `default` would change `paper` unseen."""
    read = {*catalogue.COMMON, *(knobs for name in ("semi_cml", "prel") for knobs in catalogue.METHODS[name].knobs)}
    assert {field.name for knobs in read for field in dataclasses.fields(knobs)} <= set(PAPER)


def test_a_single_method_gets_the_epochs_of_all_stages():
    assert config(method=("supervised",)).epochs == parsed("--method=supervised").epochs == (18,)
    assert config(recipe="paper", method=("cps",)).epochs == (81,)


def test_a_run_hash_is_that_of_earlier_versions():
    """Where it changes, no run of an earlier version can be resumed."""

    def hash_of(made):
        return run_hash(made.run_settings, made.method_settings, "data", None)

    assert hash_of(config()).startswith("a4735e5a00c0d1a8")
    assert hash_of(config(recipe="paper")).startswith("4fb96bac7697fe5c")
    assert hash_of(config(precision="bfloat16")) != hash_of(config())
    assert hash_of(config(devices=("cpu:0",), resume=True)) == hash_of(config())


def test_the_former_name_of_an_augmentation_is_the_same_run():
    former, now = config(augmentation="standard"), config(augmentation="light")
    assert former == now == config() and parsed("--augmentation=standard").augmentation == "light"
    assert recorded_flags({"settings": {"augmentation": "standard"}}) == {"augmentation": "light"}
    with pytest.raises(UserError, match="expected --augmentation to be one of none, light, strong, got 'weak'"):
        config(augmentation="weak")


def test_incomplete_cases_change_the_hash_only_where_they_train():
    def hash_of(incomplete_cases, incomplete):
        made = config(incomplete_cases=incomplete_cases)
        return run_hash(made.run_settings, made.method_settings, "data", None, incomplete=incomplete)

    former = hash_of("drop", True)
    assert {former} == {hash_of("drop", False), hash_of("use", False)} and hash_of("use", True) != former
    assert former.startswith("a4735e5a00c0d1a8")


def test_a_new_knob_changes_the_hash_only_where_it_is_set():
    """Else whoever adds a method could resume no run."""
    run, knobs = config().run_settings, config().method_settings
    more = dataclasses.make_dataclass("More", [("new_knob", float, 0.5)], bases=(MethodSettings,), frozen=True)
    assert run_hash(run, more(), "data", None) == run_hash(run, knobs, "data", None)
    assert run_hash(run, more(new_knob=1.0), "data", None) != run_hash(run, knobs, "data", None)


def test_the_settings_of_a_run_are_its_flags():
    made = config(recipe="paper", method=("cps",), lr_drop_epochs=(2, 3), mixup_alpha=0.5)
    given = as_flags(made.run_settings, made.method_settings)
    flags = [
        f"--{name}={','.join(map(str, value)) if isinstance(value, list) else value}" for name, value in given.items()
    ]
    assert parsed("--recipe=paper", *flags) == made


def test_the_help_shows_each_method_on_a_line_of_its_own():
    lines = [line.strip() for line in commandline.help_text("semicml_tf.train").splitlines()]
    for name, entry in catalogue.METHODS.items():
        assert f"{name}: {entry.help}" in lines


def test_the_help_begins_with_what_every_run_needs_and_shows_each_flag_once():
    lines = commandline.help_text("semicml_tf.train").splitlines()
    shown = [line.strip()[2:] for line in lines if line.startswith("  --")]
    assert shown[:8] == ["dataset", "output", "devices", "resume", "dry_run", "method", "epochs", "window"]
    assert sorted(shown) == sorted([*TrainConfig.__dataclass_fields__, "flagfile"])


@pytest.mark.parametrize("name", BASELINES)
def test_settings_that_do_not_suit_a_method_are_refused(name):
    if name in ("mean_teacher", "ua_mt", "ict"):
        with pytest.raises(UserError, match=f"--ema_decay=0.*{name}"):
            config(method=(name,), ema_decay=0.0)
    else:
        config(method=(name,), ema_decay=0.0)
    with pytest.raises(UserError, match="2 unlabelled slices"):
        config(method=(name,), unlabelled_batch=1)


@pytest.mark.parametrize("knob, value", [("confidence", 0.4), ("mixup_alpha", 2.0), ("uncertainty_passes", 0)])
def test_a_knob_out_of_its_range_is_refused(knob, value):
    for make in (lambda: config(**{knob: value}), lambda: parsed(f"--{knob}={value}")):
        with pytest.raises(UserError, match=rf"--{knob} to be .* from .* to .*got '{value}'"):
            make()


def test_all_options_out_of_their_range_are_named_at_once():
    wrong = {"asc_weight": -1.0, "l2": -1e-4, "pool_size": 0, "prel_asc_strong": 1.5, "learning_rate": 0.0}
    with pytest.raises(UserError) as caught:
        config(teacher="pool", **wrong)
    assert all(f"--{name}" in caught.value.line for name in wrong)
    assert "--pool_size to be a whole number of at least 1, got '0'" in caught.value.line


@pytest.mark.parametrize(
    "options, message",
    [
        ({"teacher_noise_low": 1.0}, "--teacher_noise_low up to --teacher_noise_high, got 1.0 and 0.2"),
        ({"teacher_batch_statistics": True}, "--teacher_batch_statistics needs --teacher=pool"),
        ({"epochs": (1, 2, 3)}, "one for each of the stages semi_cml, prel, got 1,2,3"),
        ({"window": 40}, "multiple of 16, got 40"),
        ({"network": "unet3d", "window": (16, 32, 32), "context_slices": 1}, "--context_slices=0 for patches, got 1"),
        ({"context_slices": 17}, "--context_slices to be a whole number from 0 to 16, got '17'"),
        ({"window": (16, 32, 32)}, "--window of 1 number for unet, got 16,32,32"),
        ({"window": (32, 32)}, "or 3 of them separated by commas, got '32,32'"),
        ({"unlabelled_partitions": ()}, "--unlabelled_partitions for semi_cml, prel, got none"),
        (
            {"unlabelled_partitions": ("test",)},
            "--unlabelled_partitions among labelled, unlabelled, got test.*nothing may learn",
        ),
        ({"window": 8192}, "--window to be a whole number from 1 to 4096, or 3 of .* commas, got '8192'"),
        ({"width": 2000}, "--width to be a whole number from 1 to 1024"),
        ({"epochs": (6, 10**9)}, "--epochs to be whole numbers of at most 100000"),
        ({"labelled_batch": 10**6}, "--labelled_batch to be a whole number from 1 to 65536"),
        ({"seed": -1}, "--seed to be a whole number from 0 to 2147483647, got '-1'"),
        ({"learning_rate": float("inf")}, "--learning_rate to be a number above 0, got 'inf'"),
        ({"teacher_noise_low": float("nan")}, "--teacher_noise_low to be a number, got 'nan'"),
        ({"label_sharpness": 0.0}, "--label_sharpness to be a number above 0"),
        ({"label_fusion": "fitted", "teacher": "pool"}, "--label_fusion=fitted needs --teacher=average"),
        ({"label_fusion": "fitted", "recipe": "paper"}, "--label_fusion=fitted needs --teacher=average"),
        ({"method": ("semi_cml",), "epochs": (3, -1)}, "positive --epochs"),
        ({"recipe": "papers"}, "--recipe.*Did you mean --recipe=paper"),
        ({"method": ("semi-cml",)}, "semi_cml, prel.*'semi-cml'.*Did you mean --method=semi_cml"),
        ({"method": ()}, "expected methods among"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        config(**options)


def test_a_modality_that_the_data_lack_is_refused():
    with pytest.raises(UserError, match="--teacher_modality among auto, ct, pet, got 'mr'"):
        config(teacher_modality="mr").check_modalities(("ct", "pet"))
    with pytest.raises(UserError, match="at least 2 modalities for semi_cml, got ct"):
        config().check_modalities(("ct",))
    config(method=("mean_teacher",)).check_modalities(("ct",))
    config().check_modalities(("t1", "t1ce", "t2", "flair"))


def test_a_run_needs_a_folder_and_a_dry_run_does_not():
    with pytest.raises(UserError, match="expected --output, which is missing"):
        TrainConfig(dataset="DATASET")
    assert TrainConfig(dataset="DATASET", dry_run=True).output is None
