"""Components of the pipeline called alone, on folders made by hand: what a whole run does not come upon."""

import contextlib
import json

import pytest

pytest.importorskip("tfx", reason="needs the environment of requirements/tfx.lock")

from tfx.types.standard_artifacts import Examples, InfraBlessing, Model, ModelBlessing, ModelEvaluation, PushedModel

from pipelines.acceptance import Bars
from pipelines.components import modality_evaluator, serving_check
from pipelines.components.model_publisher import ModelPublisher
from tests.support.evaluation_data import ball, oblique_grid, patient, write_dataset, write_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run and its data, which have validation patients and no test patients."""
    root = tmp_path_factory.mktemp("components")
    native = oblique_grid()
    cases = {name: [patient(name, ball(native, (14, 12, 7), 6.5), native)] for name in ("labelled", "validation")}
    write_run(root / "run", write_dataset(root / "data", cases))
    return root


def _artefact(kind, folder, number=1):
    made = kind()
    made.uri, made.id = str(folder), number
    return made


def _body(dice):
    cases = [{"case_id": f"p{number}", "dice": dice, "truth_ml": 20.0} for number in range(3)]
    return {"rows": [{"name": "ct", "kind": "network", "modality": "ct", "cases": cases}]}


@pytest.fixture
def evaluate(made, tmp_path, monkeypatch):
    """Calls ModalityEvaluator; returns its verdict, the blessing, and which run was scored on which partition."""
    scored = []

    def scores(run, dataset, output, modality, *further):
        (partition,) = (flag.partition("=")[2] for flag in further if flag.startswith("--partition="))
        scored.append((run.name, output.name, partition))
        return _body({"validation": 0.6, "test": 0.1}[partition])

    monkeypatch.setattr(modality_evaluator, "_scores", scores)

    def call(data="data", **baseline):
        blessing = _artefact(ModelBlessing, tmp_path / "blessing")
        modality_evaluator.ModalityEvaluator.test_call(
            examples=_artefact(Examples, made / data),
            model=_artefact(Model, made / "run"),
            evaluation=_artefact(ModelEvaluation, tmp_path / "evaluation"),
            blessing=blessing,
            modality="ct",
            bars=json.dumps(vars(Bars())),
            flags="",
            **baseline,
        )
        return json.loads((tmp_path / "evaluation" / "verdict.json").read_text()), blessing, scored

    return call


def test_a_study_without_test_patients_is_judged_all_the_same(evaluate):
    verdict, blessing, scored = evaluate()
    assert scored == [("run", "validation", "validation")]
    assert verdict["blessed"] and verdict["test_dice"] is None
    assert blessing.get_int_custom_property("blessed") == 1


def test_verdicts_rest_on_validation_patients_alone(made, evaluate):
    native = oblique_grid()
    cases = {name: [patient(name, ball(native, (14, 12, 7), 6.5), native)] for name in ("validation", "test")}
    write_dataset(made / "with_test", cases)
    verdict, _, scored = evaluate("with_test", baseline=_artefact(Model, made / "run", 2))
    places = [("validation", "validation"), ("baseline", "validation"), ("test", "test")]
    assert scored == [("run", *one) for one in places]
    assert verdict["blessed"] and verdict["test_dice"] == pytest.approx(0.1)


def test_a_blessed_run_that_was_deleted_blesses_nothing_and_stops_nothing(made, evaluate, tmp_path):
    gone = _artefact(Model, tmp_path / "gone", 2)
    verdict, blessing, scored = evaluate(baseline=gone)
    assert not verdict["blessed"] and [name for _, name, _ in scored] == ["validation"]
    why = blessing.get_string_custom_property("blessing_message")
    assert "but it is missing" in why and gone.uri in why and "--nobaseline" in why
    assert (tmp_path / "blessing" / "NOT_BLESSED").read_text() == why


@pytest.mark.parametrize("result", ["passed", "failed"])
def test_a_network_that_a_server_does_not_answer_rightly_is_told_and_not_published(made, tmp_path, monkeypatch, result):
    checks = [{"check": "labels", "result": "passed"}, {"check": "raw", "result": result}]
    monkeypatch.setattr(serving_check, "export", lambda config: None)
    monkeypatch.setattr(serving_check.command, "served", lambda models: contextlib.nullcontext("an address"))
    monkeypatch.setattr(serving_check.suite, "examine", lambda *args, **options: checks)
    examples, model = _artefact(Examples, made / "data"), _artefact(Model, made / "run")
    infra = _artefact(InfraBlessing, tmp_path / "infra")
    serving_check.ServingCheck.test_call(examples=examples, model=model, blessing=infra, modality="ct")
    failed = ["raw"] if result == "failed" else []
    assert json.loads((tmp_path / "infra" / "conformance.json").read_text())["failed"] == failed
    assert (tmp_path / "infra" / ("INFRA_NOT_BLESSED" if failed else "INFRA_BLESSED")).read_text() == "; ".join(failed)

    blessing, pushed = _artefact(ModelBlessing, tmp_path), _artefact(PushedModel, tmp_path / "pushed")
    blessing.set_int_custom_property("blessed", 1)
    (tmp_path / "evaluation" / "validation").mkdir(parents=True)
    ModelPublisher.test_call(
        examples=examples,
        model=model,
        evaluation=_artefact(ModelEvaluation, tmp_path / "evaluation"),
        blessing=blessing,
        infra_blessing=infra,
        pushed_model=pushed,
        modality="ct",
        models=str(tmp_path / "models"),
        keep=0,
        gate_margin=0.02,
    )
    assert (tmp_path / "models" / "ct").exists() == bool(pushed.get_int_custom_property("pushed")) == (not failed)
    assert pushed.get_string_custom_property("reason") == ("cannot be served: raw" if failed else "")
