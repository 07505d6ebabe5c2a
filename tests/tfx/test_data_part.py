"""Deliveries through TFX itself: what they become, what is taken from cache, and what stops."""

import gzip
import json
import pathlib
import shutil

import nibabel
import numpy as np
import pytest

pytest.importorskip("tfx", reason="needs TFX: make test-tfx")

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.types import standard_artifacts

from pipelines import curated_schema
from pipelines.components.case_example_gen import Executor, beam_flags, convert_flags, read_cards
from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.records import case_cards
from semicml_tf.records.case_record import PARTITIONS
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.system import atomic_files
from tests.tfx.runs import CACHED, COMPLETE, FAILED, DataPart

PHANTOM = ("--phantom_size_mm=96,96,48", "--phantom_spacing_mm=4,4,4", "--empty_fraction=0")
FLAGS = ["--layout=hecktor", "--modalities=ct,pet", "--spacing_mm=4,4,4", "--workers=1"]
SPLIT = ("--labelled=6", "--validation=2", "--test=4")
EVERYTHING = {
    "CaseExampleGen", "StatisticsGen", "SchemaGen", "ImportSchemaGen", "ExampleValidator", "DeliveryCheck"
}  # fmt: skip


def phantom(folder, first, cases, *split):
    commandline.call(
        "semicml_tf.phantom", [f"--output={folder}", f"--first_case={first}", f"--cases={cases}", *PHANTOM, *split]
    )
    return pathlib.Path(folder)


def later(folder, first, cases):
    """A delivery without a split of its own."""
    made = phantom(folder, first, cases, "--labelled=0", "--validation=0", "--test=0")
    (made / "split.json").unlink()
    return made


def changed(path, change, affine=None):
    """Changes the values of a NIfTI file."""
    image = nibabel.load(path)
    values = np.asarray(change(image.get_fdata()), np.float32)
    again = nibabel.Nifti1Image(values, image.affine if affine is None else affine)
    path.write_bytes(gzip.compress(again.to_bytes(), mtime=0))


def coarser(factor):
    """The same image on voxels that many times as large."""

    def change(path):
        image = nibabel.load(path)
        changed(path, lambda values: values, image.affine @ np.diag([factor, factor, factor, 1.0]))

    return change


def files_of(folder, case):
    return [*sorted(folder.glob(f"imagesTr/{case}__*.nii.gz")), folder / f"labelsTr/{case}.nii.gz"]


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """Sixteen patients have come; ten more are at hand as ``next``. The schema is made from the first."""
    root = tmp_path_factory.mktemp("tfx")
    deliveries = root / "deliveries"
    phantom(deliveries / "span-1", 0, 16, *SPLIT)
    later(root / "next", 16, 10)
    commandline.call("semicml_tf.convert", [*FLAGS, f"--input={deliveries}", f"--output={root / 'first'}"])
    commandline.call(
        "pipelines.curated_schema", [f"--dataset={root / 'first'}", f"--output={root / 'schema.pbtxt'}", "--widen=2"]
    )
    return DataPart(root, deliveries, FLAGS, root / "schema.pbtxt")


@pytest.fixture(scope="module")
def first(part):
    """The first delivery has gone through."""
    assert part.run() == dict.fromkeys(EVERYTHING, COMPLETE)
    return part


@pytest.fixture(scope="module")
def second(first):
    """Then a sound second one."""
    shutil.copytree(first.root / "next", first.deliveries / "span-2")
    left = first.root / "artefacts/CaseExampleGen/examples/.99.work"  # of a conversion that was killed
    (left / "records").mkdir(parents=True)
    (left / "records/x.json").touch()
    former = {path: path.stat().st_ino for path in (first.root / "artefacts/CaseExampleGen/case_cache").rglob("*.*")}
    states = first.run()
    assert {path: path.stat().st_ino for path in former} == former, "a finished case was made again"
    assert states == {**dict.fromkeys(EVERYTHING, COMPLETE), "ImportSchemaGen": CACHED}
    assert not left.exists()
    return first


def test_the_artefact_is_a_dataset_by_partitions(first):
    artefact = first.newest("CaseExampleGen", "examples")
    info = DatasetInfo.load(artefact.uri)
    assert info.data_hash == artefact.custom_properties["data_hash"].string_value
    assert info.data_hash == DatasetInfo.load(first.root / "first").data_hash
    assert artefact.properties["span"].int_value == 1
    assert json.loads(artefact.properties["split_names"].string_value) == list(PARTITIONS)
    commandline.call("semicml_tf.inspect", [artefact.uri])


def test_statistics_are_those_of_the_phantom(first):
    truth = {case["case"]: case["lesion_ml"] for case in json.loads(
        (first.deliveries / "span-1/phantom.json").read_text())["cases"]}  # fmt: skip
    split = json.loads((first.deliveries / "span-1/split.json").read_text())
    uri = pathlib.Path(first.newest("StatisticsGen", "statistics").uri)
    for partition in PARTITIONS:
        told = statistics_pb2.DatasetFeatureStatisticsList.FromString(
            (uri / f"Split-{partition}/FeatureStats.pb").read_bytes()
        ).datasets[0]
        features = {feature.path.step[0]: feature.num_stats for feature in told.features}
        assert told.num_examples == len(split[partition])
        assert [features[f"ct/spacing_mm/{axis}"].mean for axis in case_cards.AXES] == [4, 4, 4]
        assert features["ct/shape/row"].min == features["ct/shape/row"].max == 24
        held = [name for name in features if case_cards.is_of_a_lesion(name)]
        assert bool(held) == (partition != "unlabelled")
        if held:
            volumes = [truth[case] for case in split[partition]]
            lesion = features["lesion/volume_ml"]
            assert lesion.mean == pytest.approx(np.mean(volumes), rel=1e-3)
            assert (lesion.min, lesion.max) == pytest.approx((min(volumes), max(volumes)), rel=1e-3)


def test_the_same_again_is_taken_from_cache(first):
    before = first.newest("CaseExampleGen", "examples").id
    assert first.run(span=1) == dict.fromkeys(EVERYTHING, CACHED)
    assert first.newest("CaseExampleGen", "examples").id == before


def test_an_edited_schema_is_read_again(first, tmp_path):
    strict = curated_schema.read(first.schema)
    (feature,) = [feature for feature in strict.feature if feature.name == "pet/max"]
    feature.float_domain.max = 0.5
    edited, kept = first.root / "edited.pbtxt", first.schema.read_text()
    shutil.copy(first.schema, edited)
    states = first.run(span=1, schema=edited)
    assert states["CaseExampleGen"] == CACHED
    edited.write_text(text_format.MessageToString(strict))
    with pytest.raises(UserError, match=r"16 anomalies of cases PHANTOM_000.* pet/max is .*, expected [\d.]+ to 0.5"):
        first.run(span=1, schema=edited)
    assert first.states["StatisticsGen"] == CACHED and first.states["DeliveryCheck"] == FAILED
    assert first.schema.read_text() == kept


def test_a_new_delivery_moves_nobody(second):
    artefact = second.newest("CaseExampleGen", "examples")
    info = DatasetInfo.load(artefact.uri)
    split = json.loads((second.deliveries / "span-1/split.json").read_text())
    held = {name: {case.case_id for case in info.partitions[name]} for name in PARTITIONS}
    new = {f"PHANTOM_{number:03d}" for number in range(16, 26)}
    assert held == {**{name: set(cases) for name, cases in split.items()}, "labelled": {*split["labelled"], *new}}
    assert artefact.properties["span"].int_value == 2
    # The split that was drawn first is kept even where the deliveries would no longer tell it.
    told = second.deliveries / "span-1/split.json"
    kept = told.read_text()
    told.write_text(json.dumps({**split, "test": split["validation"], "validation": split["test"]}))
    try:
        second.run()
    finally:
        told.write_text(kept)
    again = DatasetInfo.load(second.newest("CaseExampleGen", "examples").uri)
    assert again.data_hash == info.data_hash


def test_the_report_of_a_sound_delivery(second):
    artefact = second.newest("DeliveryCheck", "report")
    report = json.loads((pathlib.Path(artefact.uri) / "delivery.json").read_text())
    assert report["passed"] and artefact.custom_properties["passed"].int_value == 1
    assert (report["span"], report["new"], report["before"]) == (2, 10, 16) and len(report["drift"]) > 20


NAN = (lambda path: changed(path, lambda values: np.where(values > values.mean(), np.nan, values)), "NaN|finite")
COUNTS = (lambda path: changed(path, lambda values: values * 1000), "expected SUV: most likely it is in Bq/ml")


@pytest.mark.parametrize("change,message", [NAN, COUNTS], ids=["nan", "counts"])
def test_a_case_that_conversion_refuses_stops_it(second, change, message):
    bad = later(second.deliveries / "span-3", 26, 4)
    change(bad / "imagesTr/PHANTOM_027__PT.nii.gz")
    before = second.newest("CaseExampleGen", "examples").id
    try:
        with pytest.raises(UserError, match=message) as caught:
            second.run()
    finally:
        shutil.rmtree(bad)
    assert "PHANTOM_027" in caught.value.line and "\n" not in caught.value.line
    assert second.states["CaseExampleGen"] == FAILED and "StatisticsGen" not in second.states
    assert second.newest("CaseExampleGen", "examples").id == before
    assert not list((second.root / "artefacts/CaseExampleGen/examples").glob(".*.work"))


def test_a_case_out_of_bounds_is_named_and_stops_training_alone(second):
    bad = later(second.deliveries / "span-3", 26, 4)
    for path in files_of(bad, "PHANTOM_027"):
        coarser(3.5)(path)
    try:
        with pytest.raises(UserError, match="case PHANTOM_027 of delivery 3: ct/spacing_mm/") as caught:
            second.run()
        assert "is 14, expected " in caught.value.line and "\n" not in caught.value.line
        # What the message names is there, though TFX has removed the component's outputs.
        report = json.loads(pathlib.Path(caught.value.path).read_text())
        assert {one["case"] for one in report["anomalies"]} == {"PHANTOM_027"}
        assert second.states["ExampleValidator"] == COMPLETE and second.states["DeliveryCheck"] == FAILED
        states = second.run(on_anomaly="warn")
        assert states == {**dict.fromkeys(EVERYTHING, CACHED), "DeliveryCheck": COMPLETE}
        assert second.newest("DeliveryCheck", "report").custom_properties["passed"].int_value == 0
    finally:
        shutil.rmtree(bad)


def test_beams_arguments_reach_the_converter_and_no_driver_is_needed(second, tmp_path):
    given = ["--runner=FlinkRunner", "--flink_master=HOST:1", "--labels", "a=b"]
    assert beam_flags(given) == [given[0], *(f"--beam_flag={argument}" for argument in given[1:])]
    assert beam_flags([]) == beam_flags(["--runner=DirectRunner", "--labels=a"]) == []
    assert beam_flags(["--direct_running_mode=multi_processing", "--direct_num_workers=2"]) == ["--workers=2"]
    # As Kubeflow starts it: without its driver, which would have found out the span and the split.
    args = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    context = Executor.Context(tmp_dir=str(tmp_path / "tmp"), unique_id="1", beam_pipeline_args=args)
    examples, cards = standard_artifacts.Examples(), standard_artifacts.Examples()
    for artefact, name in ((examples, "examples"), (cards, "cards")):
        artefact.uri = str(tmp_path / "CaseExampleGen" / name / "1")
        pathlib.Path(artefact.uri).mkdir(parents=True)
    made = second.newest("CaseExampleGen", "examples", span=2)
    # The flags say what the driver would have found: the split that earlier deliveries were given.
    told = convert_flags([*FLAGS, f"--keep_split={made.uri}/split.json"])
    properties = {"deliveries": str(second.deliveries), "convert_flags": json.dumps(told)}
    Executor(context).Do({}, {"examples": [examples], "cards": [cards]}, properties)
    assert DatasetInfo.load(examples.uri).data_hash == made.custom_properties["data_hash"].string_value
    assert examples.span == cards.span == 2 and cards.splits == list(PARTITIONS)


def test_a_bad_case_that_is_passed_over_keeps_its_place_and_makes_no_second_run(second):
    bad = later(second.deliveries / "span-3", 26, 4)
    path = bad / "imagesTr/PHANTOM_027__PT.nii.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    flags, second.flags = second.flags, [*FLAGS, "--skip_bad_cases"]
    try:
        assert second.run(on_anomaly="warn")["CaseExampleGen"] == COMPLETE
        assert second.run(on_anomaly="warn")["CaseExampleGen"] == CACHED
        path.write_bytes(whole)
        assert second.run(on_anomaly="warn")["CaseExampleGen"] == COMPLETE
        info = DatasetInfo.load(second.newest("CaseExampleGen", "examples").uri)
        assert "PHANTOM_027" in {case.case_id for case in info.partitions["labelled"]}, "mended, it has come"
    finally:
        second.flags = flags
        shutil.rmtree(bad)


def test_cards_of_the_artefact_are_those_of_the_dataset(second):
    cards, examples = (second.newest("CaseExampleGen", key).uri for key in ("cards", "examples"))
    known = {card["case_id"]: card for card in case_cards.load(examples)}
    for card in read_cards(cards):
        assert card == {
            name: float(np.float32(value)) if isinstance(value, float) else value
            for name, value in known.pop(card["case_id"]).items()
        }
    assert not known


def test_a_study_that_meddles_with_the_pipeline(part, tmp_path):
    with pytest.raises(UserError, match="--split is set by the pipeline"):
        DataPart(tmp_path, part.deliveries, [*FLAGS, "--split=x"], part.schema).run()
    with pytest.raises(UserError, match="the curated schema cannot be read"):
        DataPart(tmp_path, part.deliveries, FLAGS, tmp_path / "none.pbtxt").run()
    atomic_files.write_text(tmp_path / "study.flags", "--modalities=ct,pet\n--epochs=7\n")
    assert convert_flags(str(tmp_path / "study.flags")) == ["--modalities=ct,pet"]
