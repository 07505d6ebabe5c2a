"""Every JSON that the package reads, changed at random: an error of our own, or a value that fits the schema."""

import copy
import json
import random
import re
import types

import numpy as np
import pytest

from pipelines import acceptance, lineage, lineage_graph
from semicml_tf.conversion.execution import work_folder as works
from semicml_tf.conversion.privacy import pseudonyms
from semicml_tf.conversion.splitting import split
from semicml_tf.conversion.verification import findings, statistics
from semicml_tf.conversion.verification.statistics import card
from semicml_tf.diagnostics import label_files, relearning_report
from semicml_tf.errors import UserError
from semicml_tf.evaluation import case_images, pooled_report, postprocessing_choice, report
from semicml_tf.experiments import folds, input_record
from semicml_tf.files.layouts import dataset_json, nnunet
from semicml_tf.geometry.grid import Grid
from semicml_tf.networks.spec import NetworkSpec
from semicml_tf.postprocessing.steps import NONE
from semicml_tf.records import case_cards
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.reporting import kept_images, page, run_facts
from semicml_tf.runs import run_folder
from semicml_tf.storage import listing
from semicml_tf.system import atomic_files, json_files
from semicml_tf.training.checkpoint_manager import Keeper
from semicml_tf.training.distributed.cluster import Workers
from semicml_tf.training.trainer import Trainer
from tests.support import experiment_data, report_runs
from tests.support.patients import case

ODD = (None, True, 0, -1, 2**70, 0.5, -1e300, "", "x", "\x1b[2J\n|<b>", "\ud800", [], [1], ["x"], {}, {"x": 1}, [[[]]])


def mutated(body, seed):
    """The body with one or two places replaced, removed, doubled or renamed; now and then text that is no JSON."""
    draw = random.Random(seed)
    text = json.dumps(body)
    if draw.random() < 0.1:
        kind = draw.randrange(4)
        place = draw.randrange(len(text))
        return (
            text[:place],
            text[:place] + draw.choice('[]{}",:\x00é') + text[place:],
            re.sub(r"\d+", draw.choice(("NaN", "1e999", "-Infinity")), text, count=1),
            text[:place] + "[" * 2000,
        )[kind]
    body = [copy.deepcopy(body)]
    for _ in range(draw.choice((1, 1, 2))):
        places = []

        def walk(node, places=places):
            for key in node if isinstance(node, dict) else range(len(node)):
                places.append((node, key))
                if isinstance(node[key], (dict, list)):
                    walk(node[key])

        walk(body)
        node, key = draw.choice(places)
        action = draw.randrange(4)
        if action == 0 and node is not body:
            del node[key]
        elif action == 1 and isinstance(node, list) and node is not body:
            node.append(node[key])
        elif action == 2 and isinstance(node, dict):
            node[draw.choice(("x", "", "\x1b", *node))] = node.pop(key)
        else:
            node[key] = draw.choice(ODD)
    return json.dumps(body[0])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("json")
    dice = {"ct": {"a": 0.5, "b": 0.0}, "pet": {"a": 0.7, "b": 0.6}}
    report_runs.write(root / "run", dice)
    report_runs.write_classes(root / "regions", ["p0", "p1"])
    bins = [{"low": 0.0, "high": 0.1, "count": 9, "mean_label": 0.05, "observed": 0.2}]
    row = {"when": "before", "label": "pet", "patients": 3, "reliability": bins, "ece": 0.1, "brier": 0.2}
    taught = {"report_version": 1, "command": "python", "taught": {"teacher": "pet"}, "calibration": {"rows": [row]}}
    taught["gap"] = [{"when": "before", "dice": {"ct": 0.1, "pet": 0.5}, "gap": 0.4}]
    (root / "run/evaluation/relearning").mkdir()
    (root / "run/evaluation/relearning/report.json").write_text(json.dumps(taught))
    network = {"step": 20, "stage": "prel", "threshold": 0.3}
    choice = {"version": 1, "run_hash": "a" * 64, "modalities": {"ct": {"chosen": "largest", "network": network}}}
    (root / "run/postprocessing.json").write_text(json.dumps(choice))
    experiment_data.write_labelled(root / "data", 2)
    numbers = {"ct/shape/slice": 5.0, "lesion/volume_ml": 2.5}
    cards = [{"case_id": name, "partition": "test", "span": 0, **numbers} for name in "ab"]
    (root / "data/cards.json").write_text(json.dumps(case_cards.as_json(cards)))
    foreign = {"channel_names": {"0": "CT", "1": "PET"}, "file_ending": ".nii.gz", "numTraining": 2}
    foreign["dataset"] = {"a": {"images": ["a.nii.gz", "b.nii.gz"], "label": "c.nii.gz"}}
    (root / "foreign").mkdir()
    (root / "foreign/dataset.json").write_text(json.dumps(foreign))
    drawn = {"labelled": ["a"], "test": ["b"], "validation": ["c"], "folds": [["c"], ["a"]], "fold": 0, "seed": 1}
    (root / "split.json").write_text(json.dumps(drawn))
    (root / "folds.json").write_text(json.dumps([["A", "B"], ["C"], ["D"]]))
    scored = report.load(root / "run/evaluation/test/metrics.json")
    pooled = pooled_report.pool({"../../../run": scored}, command="again", data_hash="d")
    atomic_files.write_json(root / "cv/evaluation/test/metrics.json", pooled)
    pseudonyms.Pseudonyms.open(root / "map.json").rename([case("A"), case("B")])
    (root / "made.json").write_text(json.dumps({"spacing": [3, 3], "modalities": ["ct"]}))
    texts = {"report": _report(), "finished": {"key": "k", "bytes": 9, "entry": {
        "shape": [1, 2, 3], "modalities": ["ct"], "lesion_slices": None, "volume_changed": "", "lesion_lost": False,
    }}}  # fmt: skip
    texts["shard"] = {"key": "s", "keys": {"A": "k"}, "bytes": {"A": 9}}
    texts["failed"] = {"key": "", "error": {"problem": "expected more", "path": None, "remedy": "Give more"}}
    row = {"epoch": 0, "stage": "prel", "step": 2, "loss": 0.5}
    best = {"ct": {"dice": 0.5, "threshold": 0.5, "step": 2, "stage": "prel"}}
    texts["position"] = {"run_hash": "a", "method_state": {"thresholds": {"ct": 0.5}}, "position": {
        "stage": 0, "step": 2, "rows": [row], "best": best, "scores": {"ct": 0.1},
        "means": {"count": 1, "sums": {"loss": 0.5}},
    }}  # fmt: skip
    checks = [{"check": "mean DSC", "value": 0.5, "bound": 0.3, "passed": True}]
    texts["verdict"] = {"checks": checks, "test_dice": 0.5}
    texts["bars"] = {"min_dice": 0.3, "size_bounds_ml": [10.0, 50.0], "min_slice_patients": 3}
    texts["provenance"] = {"label": "pet", "teacher": {"run_hash": "a"}, "cases": [{"case_id": "A", "file": "A.nii"}]}
    for name, body in texts.items():
        (root / f"{name}.json").write_text(json.dumps(body))
    return root


def _report():
    """What verification found in a case with a lesion."""
    grid, volume = Grid((6, 6, 4), np.eye(4)), np.zeros((6, 6, 4), np.float32)
    volume[1:5, 1:5, 1:3] = 2.0
    images = {"pet": statistics.image_facts(volume, grid, "suv")}
    label = statistics.label_facts(volume[::-1] > 0, grid, {"pet": (volume, grid)})
    odd = findings.Finding.of("tiny_label", "the foreground is a few voxels", case="A")
    return {"key": "k", "report": findings.CaseReport("A", (odd,), images, label, {"pet": "ab"}).to_json()}


def _read_report(root):
    found = findings.CaseReport.from_json(works.read(root / "report.json", works.Report)["report"])
    if found.images.keys() == {"pet"} and (found.label is None or found.label["images"].keys() == {"pet"}):
        card(found, partition="test", span=0, modalities=("pet",))


def _failed(root):
    body = works.read(root / "failed.json", works.Failed)
    assert isinstance(body["error"]["problem"], str)


def _position(root):
    """A checkpoint's JSON as a trainer of one stage of two steps reads it."""
    (root / "checkpoints").mkdir(exist_ok=True)
    np.savez(root / "checkpoints/last.npz", meta=np.array((root / "position.json").read_text()))
    one = Trainer.__new__(Trainer)
    one._keeper, one._train = Keeper(root, "a", True, {}), types.SimpleNamespace(method=("prel",))
    one._stages = types.SimpleNamespace(plan=lambda number: types.SimpleNamespace(steps=2))
    one._info = types.SimpleNamespace(modalities=("ct", "pet"))
    found = one._stored_position()
    assert found is None or (found.stage == 0 and found.step <= 2 and {*found.best, *found.scores} <= {"ct", "pet"})
    for row in found.rows if found else ():
        assert row["epoch"] >= 0 and row["step"] >= 0


def _verdict(root):
    verdict = lineage_graph._json(root / "verdict.json", acceptance.Verdict, "a pipeline's verdict")
    lineage.judged(verdict)


def _bars(root):
    bars = json_files.parse((root / "bars.json").read_bytes(), acceptance.Bars, what="bars")
    acceptance.size_slices([{"truth_ml": 3.0}], bars.size_bounds_ml)


def _page(root):
    page.build(run_facts.load_all([root / "run"], "test"), command="python -m semicml_tf.report RUN")


def _choice(root):
    best = {"ct": {"dice": 0.7, "step": 20, "stage": "prel", "threshold": 0.3}}
    run = run_folder.Run(root / "run", "data", "d", "a" * 64, ("ct",), NetworkSpec(window=16, width=1), best)
    assert postprocessing_choice.load(run)["ct"] != NONE


def _nnunet(root):
    folder = root / "foreign"
    nnunet.detect(folder)
    names = nnunet.modalities(folder)
    dataset_json.oddities(folder, nnunet.find(folder, names), "")


def _listing(root):
    listing.parse((root / "data/dataset.json").read_bytes(), path="dataset.json", remedy="")


def _metrics_of_classes(root):
    body = report.load(root / "regions/evaluation/test/metrics.json")
    for target in (None, *report.targets(body)):
        report.networks(body, target)


# File, what reads it, and how many changes.
READERS = {
    "dataset": ("data/dataset.json", lambda root: DatasetInfo.load(root / "data"), 60),
    "listing": ("data/dataset.json", _listing, 40),
    "cards": ("data/cards.json", lambda root: case_cards.table(case_cards.load(root / "data")), 60),
    "foreign": ("foreign/dataset.json", _nnunet, 60),
    "split": ("split.json", lambda root: split.read(root / "split.json").to_json(), 60),
    "folds": ("folds.json", lambda root: folds.read(root / "folds.json"), 40),
    "pooled": ("cv/evaluation/test/metrics.json", lambda root: run_facts.load_all([root / "cv"], "test"), 60),
    "map": ("map.json", lambda root: pseudonyms.Pseudonyms.open(root / "map.json").names(), 40),
    "run": ("run/run.json", lambda root: run_folder.read_record(root / "run"), 60),
    "metrics": ("run/evaluation/test/metrics.json", lambda r: report.load(r / "run/evaluation/test/metrics.json"), 60),
    "index": ("run/evaluation/test/cases/index.json", lambda r: case_images.read_index(r / "run/evaluation/test"), 60),
    "metrics of classes": ("regions/evaluation/test/metrics.json", _metrics_of_classes, 90),
    "index of classes": (
        "regions/evaluation/test/cases/index.json",
        lambda r: kept_images.of_run(run_facts.load(r / "regions", "test", "run0", "r"))
        or case_images.read_index(r / "regions/evaluation/test"),
        60,
    ),
    "taught": (
        "run/evaluation/relearning/report.json",
        lambda root: relearning_report.read(root / "run/evaluation/relearning"),
        40,
    ),
    "choice": ("run/postprocessing.json", _choice, 40),
    "report": ("report.json", _read_report, 60),
    "finished": ("finished.json", lambda root: works.read(root / "finished.json", works.Finished), 30),
    "shard": ("shard.json", lambda root: works.read(root / "shard.json", works.Shard), 30),
    "failed": ("failed.json", _failed, 30),
    "position": ("position.json", _position, 60),
    "verdict": ("verdict.json", _verdict, 40),
    "bars": ("bars.json", _bars, 40),
    "provenance": ("provenance.json", lambda root: label_files.read(root), 30),
    "made": (
        "made.json",
        lambda r: input_record.check_or_note(r / "made.json", r / "split.json", {"spacing": [3, 3]}),
        30,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_a_changed_file_is_refused_or_read(root, name):
    file, read, count = READERS[name]
    path, refused = root / file, 0
    original = path.read_text()
    for seed in range(count):
        path.write_text(mutated(json.loads(original), seed), encoding="utf-8")
        try:
            read(root)
        except UserError as error:
            refused += 1
            assert len(error.line) < 1500 and "\x1b" not in error.line, seed
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}\n{path.read_text()[:3000]}") from error
        finally:
            path.write_text(original)
    assert refused > count // 8
    if name != "made":
        read(root)


@pytest.mark.parametrize("name", ["run", "metrics", "index", "taught"])
def test_the_page_of_a_run_with_a_changed_file_is_made_or_refused(root, name):
    path = root / READERS[name][0]
    original = path.read_text()
    for seed in range(3):
        path.write_text(mutated(json.loads(original), 100 + seed), encoding="utf-8")
        try:
            _page(root)
        except UserError:
            pass
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}\n{path.read_text()[:3000]}") from error
        finally:
            path.write_text(original)


def test_a_changed_cluster_is_refused_or_read():
    body = {"cluster": {"chief": ["a:1"], "worker": ["b:2", "c:3"]}, "task": {"type": "worker", "index": 1}}
    for seed in range(60):
        text = mutated(body, seed)
        try:
            Workers.from_environment({"TF_CONFIG": text})
        except UserError:
            pass
        except Exception as error:
            raise AssertionError(f"{type(error).__name__}: {error}\n{text[:500]}") from error
