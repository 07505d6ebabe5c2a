"""A job's result is taken for what it is the result of, whenever the job before it was killed."""

import dataclasses

import pytest

from semicml_tf.conversion.execution import dataset_writer, tasks
from semicml_tf.conversion.execution import work_folder as works
from semicml_tf.conversion.settings import Settings
from semicml_tf.conversion.verification.findings import Finding
from semicml_tf.files.dicom.labels import DicomLabel
from semicml_tf.files.layouts.hecktor import HECKTOR
from tests.support import image_folders

COARSE, FINE = (6.0, 8.0, 8.0), (3.0, 4.0, 4.0)


def settings(spacing_mm):
    return Settings.parse(
        modalities=["ct", "pet"],
        reference_modality="",
        spacing_mm=spacing_mm,
        normalisation=[],
        label_values=[1],
        background_values=[0],
        allow_empty_labels=False,
    )


class Killed(BaseException):
    """What SIGKILL is to a process, as far as the files are concerned."""


@pytest.fixture
def folder(tmp_path):
    """A work folder, and the jobs of its two cases under given settings."""
    root = image_folders.hecktor(tmp_path / "source", ["P00", "P01"])
    cases = {"labelled": HECKTOR.find(root, ["ct", "pet"])}
    with works.opened(tmp_path / "out") as work:
        yield work, lambda spacing_mm: dataset_writer.jobs_of(cases, settings(spacing_mm), work, cases_per_shard=8)


def shard(work, made):
    """What making the cases and their shard leaves."""
    tasks.assemble((made[0].shard, [job for job in made if tasks.make(job)]), {made[0].shard: len(made)})
    return (work.dataset / made[0].shard).read_bytes()


def killed_before_saving(monkeypatch, step):
    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(works, "save", killed)
        with pytest.raises(Killed):
            step()


def test_killed_with_other_settings_between_a_record_and_its_note(folder, monkeypatch):
    work, jobs_of = folder
    fine, coarse = jobs_of(FINE), jobs_of(COARSE)
    assert tasks.make(fine[0])
    expected = work.record("P00").read_bytes()
    killed_before_saving(monkeypatch, lambda: tasks.make(coarse[0]))
    assert work.record("P00").read_bytes() != expected
    assert tasks.make(fine[0])
    assert work.record("P00").read_bytes() == expected


def test_killed_with_other_settings_between_a_shard_and_its_note(folder, monkeypatch):
    work, jobs_of = folder
    expected = shard(work, jobs_of(FINE))
    coarse = jobs_of(COARSE)
    group = (coarse[0].shard, [job for job in coarse if tasks.make(job)])
    killed_before_saving(monkeypatch, lambda: tasks.assemble(group, {coarse[0].shard: 2}))
    assert (work.dataset / coarse[0].shard).read_bytes() != expected
    assert shard(work, jobs_of(FINE)) == expected


def test_a_shard_that_is_gone_is_made_again(folder):
    work, jobs_of = folder
    expected = shard(work, jobs_of(FINE))
    (work.dataset / jobs_of(FINE)[0].shard).unlink()
    assert shard(work, jobs_of(FINE)) == expected


def test_an_error_is_looked_for_again_and_a_sound_case_is_not(folder, monkeypatch):
    work, jobs_of = folder
    job, looked, error = jobs_of(FINE)[0], [], [Finding.of("unreadable_image", "a library is missing")]
    examine = tasks.examine

    def counted(case, *args, **named):
        looked.append(case.case_id)
        return dataclasses.replace(examine(case, *args, **named), findings=tuple(error))

    monkeypatch.setattr(tasks, "examine", counted)
    tasks.look(job)
    error.clear()  # installed
    tasks.look(job)
    assert works.read(work.report("P00"), works.Report)["report"]["findings"] == []
    tasks.look(job)
    assert looked == ["P00", "P00"]


def test_what_is_meant_of_a_file_is_part_of_the_key(folder):
    _, jobs_of = folder
    job = jobs_of(FINE)[0]
    digests = works.digests(job.case, with_label=True)

    def key(case):
        return works.key(case, job.settings, digests)

    def with_roi(roi):
        return dataclasses.replace(job.case, label=DicomLabel((job.case.label.path,), None, roi))

    assert key(with_roi("tumour")) == key(with_roi("tumour")) != key(with_roi("node"))
    # Findings tell of names that are nearly right.
    assert key(job.case) != key(dataclasses.replace(job.case, near_matches={"label": job.case.label.path}))
