"""The pipeline on real TFX, run again and again: from cache, after a kill, on a new delivery, with a worse model."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import nibabel
import pytest

pytest.importorskip("tfx", reason="needs the environment of requirements/tfx.lock")

from pipelines import semicml_pipeline
from semicml_tf import commandline
from semicml_tf.errors import UserError
from tests.support.tensorboard_files import logged
from tests.tfx.pipeline_study import Job, of_status

LOOKED_UP = {"LatestBlessed.ct", "LatestBlessed.pet"}
OF_ONE = ("ModalityEvaluator", "ServingCheck", "ModelPublisher")
ON_EACH = {f"{kind}.{name}" for kind in OF_ONE for name in ("ct", "pet")}
PUBLISHERS = {"ModelPublisher.ct", "ModelPublisher.pet"}
MODEL_PART = {"SemiCmlTrainer", "PrelTrainer"} | ON_EACH
DATA_PART = {"CaseExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "DeliveryCheck"}


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A pipeline that has run once. Tests run it on, in their order."""
    job = Job(tmp_path_factory.mktemp("pipeline"))
    job.first = job.run()
    return job


def test_the_first_run_publishes_what_was_trained_last(job):
    assert of_status(job.first, "ran") == MODEL_PART | DATA_PART | {"ImportSchemaGen"}
    assert of_status(job.first, "looked up") == LOOKED_UP
    (run,) = job.artefacts("PrelTrainer", "model")
    body = json.loads((run / "run.json").read_text())
    for name in ("ct", "pet"):
        assert job.versions(name) == ["1"]
        manifest = job.manifest(name, "1")
        assert manifest["run_hash"] == body["run_hash"] and manifest["validation_scores"]["dice"] >= 0
        (blessing,) = job.artefacts(f"ModalityEvaluator.{name}", "blessing")
        assert (blessing / "BLESSED").exists()
        (checked,) = job.artefacts(f"ServingCheck.{name}", "blessing")
        assert (checked / "INFRA_BLESSED").exists()
        assert json.loads((checked / "conformance.json").read_text())["failed"] == []
        (evaluation,) = job.artefacts(f"ModalityEvaluator.{name}", "evaluation")
        assert {entry.name for entry in evaluation.iterdir()} == {"validation", "test", "verdict.json"}
        for partition in ("validation", "test"):
            scored = json.loads((evaluation / partition / "metrics.json").read_text())
            assert scored["partition"] == partition
            rows = scored["rows"]
            assert [row["name"] for row in rows if row["kind"] == "network"] == [name]
    assert not (job.output / "work").exists()


def test_soft_labels_are_an_artefact_with_their_provenance(job):
    (labels,) = job.artefacts("PrelTrainer", "pseudo_labels")
    (teacher,) = job.artefacts("SemiCmlTrainer", "model")
    (student,) = job.artefacts("PrelTrainer", "model")
    body = json.loads((labels / "provenance.json").read_text())
    assert body["teacher"]["run_hash"] == json.loads((teacher / "run.json").read_text())["run_hash"]
    assert body["run"]["run_hash"] == json.loads((student / "run.json").read_text())["run_hash"]
    assert len(body["cases"]) == 2  # all that are unlabelled
    for case in body["cases"]:
        values = nibabel.load(labels / case["file"]).get_fdata()
        assert 0 <= values.min() < values.max() <= 1


def test_the_same_run_again_comes_from_the_cache(job):
    told = job.run()
    assert of_status(told, "from cache") == (MODEL_PART | DATA_PART | {"ImportSchemaGen"}) - PUBLISHERS
    assert of_status(told, "looked up") == LOOKED_UP
    # Who publishes looks at what is served, and finds it there.
    assert of_status(told, "ran") == PUBLISHERS
    assert job.versions("ct") == job.versions("pet") == ["1"]


def test_a_version_that_a_person_removed_is_published_again(job):
    shutil.rmtree(job.output / "models" / "ct" / "1")
    told = job.run()
    assert job.versions("ct") == job.versions("pet") == ["1"]
    assert told["ModelPublisher.ct"]["said"].endswith("models/ct/1")
    assert of_status(told, "ran") == PUBLISHERS


# One modality goes its way without the other, which halves the time.
CT_ALONE = "--modalities=ct"
OF_CT = {f"{kind}.ct" for kind in OF_ONE}
CRIPPLED = (CT_ALONE, "--train_flag=--steps_per_epoch=1", "--train_flag=--learning_rate=1e-9", "--max_loss=0")


def test_a_worse_network_is_not_blessed_and_the_served_one_stays(job):
    told = job.run(*CRIPPLED)
    assert of_status(told, "ran") == {"SemiCmlTrainer", "PrelTrainer"} | OF_CT
    assert of_status(told, "from cache") == DATA_PART | {"ImportSchemaGen"}
    evaluation = job.artefacts("ModalityEvaluator.ct", "evaluation")[-1]
    verdict = json.loads((evaluation / "verdict.json").read_text())
    failed = [check["check"] for check in verdict["checks"] if not check["passed"]]
    assert failed == ["mean DSC beside the latest blessed network"]
    assert "not published: not blessed: mean DSC beside" in told["ModelPublisher.ct"]["said"]
    assert job.versions("ct") == job.versions("pet") == ["1"]


def test_exports_gate_holds_back_what_was_blessed_without_a_comparison(job):
    told = job.run(*CRIPPLED, "--nobaseline", "--gate_margin=0")
    # Verdicts are new artefacts, so that who publishes looks at them; nothing is trained or served for that.
    assert of_status(told, "ran") == {"ModalityEvaluator.ct", "ModelPublisher.ct"}
    assert told["ModalityEvaluator.ct"]["said"] == "blessed"
    assert told["ModelPublisher.ct"]["said"].startswith("not published: held back by the gate: validation DSC")
    assert job.versions("ct") == ["1"]


def _wait_for(found, process, seconds=1200):  # ends a test that would wait for ever; other work may take the cores
    deadline = time.monotonic() + seconds
    while not found():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_new_delivery_survives_a_kill_and_is_published_by_the_next_run(job, capsys):
    commandline.call(
        "semicml_tf.phantom",
        [
            f"--flagfile={job.root / 'study.flags'}",
            f"--output={job.output / 'deliveries' / 'span-2'}",
            "--first_case=100",
            "--cases=2",
            "--labelled=1",
            "--validation=0",
            "--test=0",
        ],
    )
    more = (CT_ALONE, "--max_loss=1", "--gate_margin=1", "--prel_epochs=4")
    work = job.output / "work"
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.local_runner", *job.arguments(*more)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        _wait_for(lambda: list(work.glob("PrelTrainer-*/run.json")), process)
        # At this very time, another run on the same store is refused, and touches nothing.
        with pytest.raises(UserError, match=rf"another run \(process {process.pid} on "):
            job.run(*more)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    (waiting,) = work.glob("PrelTrainer-*")
    done = json.loads((waiting / "run.json").read_text())["epochs_done"]
    assert 1 <= done < 4, "the kill came too late to prove anything"
    capsys.readouterr()
    told = job.run(*more)
    # What was finished before the kill comes from the cache; the trainer goes on instead of beginning anew.
    assert {"CaseExampleGen", "SemiCmlTrainer"} <= of_status(told, "from cache")
    assert {"PrelTrainer"} | OF_CT == of_status(told, "ran")
    assert "epoch 1/4" not in capsys.readouterr().err
    run = job.artefacts("PrelTrainer", "model")[-1]
    body = json.loads((run / "run.json").read_text())
    steps = [step for step, tag in logged(run) if tag == "loss"]
    # Each once, whichever of them the kill has kept from being written in time.
    assert body["epochs_done"] == 4 == len(steps) == len(set(steps))
    assert job.versions("ct") == ["1", "2"] and job.versions("pet") == ["1"]
    assert job.manifest("ct", "2")["run_hash"] == body["run_hash"]
    assert not work.exists()


def test_the_lineage_leads_from_a_version_to_its_data_and_teacher(job, tmp_path, capsys):
    spans = {}
    for version in ("1", "2"):
        commandline.call(
            "pipelines.lineage", [str(job.output / "models" / "ct" / version), f"--output={tmp_path / 'answer.json'}"]
        )
        body = json.loads((tmp_path / "answer.json").read_text())
        assert body["run"]["run_hash"] == body["model"]["run_hash"] == job.manifest("ct", version)["run_hash"]
        teacher = json.loads((job.output / body["teacher"]["folder"] / "run.json").read_text())
        assert body["teacher"]["run_hash"] == teacher["run_hash"] == body["pseudo_labels"]["teacher_run_hash"]
        assert body["data"]["data_hash"] == body["model"]["data_hash"] == teacher["data_hash"]
        checks = {one["component"]: one for one in body["data"]["checks"]}
        assert {"StatisticsGen", "ExampleValidator", "DeliveryCheck"} <= set(checks)
        assert body["evaluation"]["verdict"]["blessed"] and body["serving_check"]["passed"]
        spans[version] = body["data"]["span"]
    assert spans == {"1": 1, "2": 2}
    # The second was compared with the first, and not with the one that was held back.
    first = job.manifest("ct", "1")["run_hash"]
    assert body["evaluation"]["compared_with"]["run_hash"] == first
    said = capsys.readouterr().out
    for expected in (body["teacher"]["run_hash"][:12], body["data"]["data_hash"][:12], "PrelTrainer", "span 2"):
        assert expected in said


def test_a_model_that_no_pipeline_published_has_no_lineage(job, tmp_path, models):
    with pytest.raises(UserError, match="has published this model"):
        commandline.call("pipelines.lineage", [str(models / "ct"), f"--metadata={job.output / 'metadata.sqlite'}"])
    with pytest.raises(UserError, match="there is none"):
        commandline.call("pipelines.lineage", [str(job.output / "models" / "ct"), f"--metadata={tmp_path / 'no'}"])


def test_a_folder_that_cannot_be_written_to_is_one_line(job, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write here") as caught:
        commandline.call(
            "pipelines.local_runner",
            [f"--study={job.root / 'study.flags'}", f"--output={tmp_path / 'file' / 'out'}"],
        )
    assert "\n" not in caught.value.line
    with pytest.raises(UserError, match="cannot write here"):
        job.run(f"--models={tmp_path / 'file'}")
    # The same where a component comes upon it, hours later: its name, the folder, and the others' work is kept.
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "ct").write_text("")
    with pytest.raises(UserError, match="component ModelPublisher.ct failed: .*ct") as caught:
        job.run(CT_ALONE, "--max_loss=1", "--gate_margin=1", "--prel_epochs=4", f"--models={tmp_path / 'models'}")
    assert "\n" not in caught.value.line
    told = job.told()
    assert told["ModelPublisher.ct"]["status"] == "failed"
    assert {"PrelTrainer", "ModalityEvaluator.ct"} <= of_status(told, "from cache")
    assert job.versions("ct") == ["1", "2"]


def test_a_delivery_that_is_not_there_fails_the_component_that_looks_for_it(job):
    with pytest.raises(UserError, match="component CaseExampleGen failed: .*span"):
        job.run("--span=9")
    told = job.told()
    assert of_status(told, "failed") == {"CaseExampleGen"}
    assert MODEL_PART <= of_status(told, "not reached")


def test_a_blessed_run_whose_folder_is_gone_is_told_and_can_be_left_out(job):
    blessed = job.artefacts("PrelTrainer", "model")[-1]
    assert json.loads((blessed / "run.json").read_text())["run_hash"] == job.manifest("ct", "2")["run_hash"]
    blessed.rename(blessed.with_name("moved"))
    # The first run again, from the cache but for what it is compared with.
    (job.output / "deliveries" / "span-2").rename(job.root / "span-2")
    said = job.run(CT_ALONE)["ModalityEvaluator.ct"]["said"]
    assert "but it is missing" in said and "--nobaseline" in said
    assert job.run(CT_ALONE, "--nobaseline")["ModalityEvaluator.ct"]["said"] == "blessed"


def test_without_the_cache_nothing_left_unfinished_is_gone_on_with(job, monkeypatch):
    left = [job.output / "work" / "PrelTrainer-1" / "run.json"]
    left.append(job.output / "root" / "CaseExampleGen" / "case_cache" / "left")
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")

    def stops(*args, **settings):
        raise UserError("enough")

    monkeypatch.setattr(semicml_pipeline, "create_pipeline", stops)
    for further, stay in (((), True), (("--nocache",), False)):
        with pytest.raises(UserError, match="enough"):
            job.run(*further)
        assert [path.exists() for path in left] == [stay, stay]
