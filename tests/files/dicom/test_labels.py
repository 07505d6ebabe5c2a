"""DICOM-SEG and RTSTRUCT as label maps."""

import pathlib
import pickle

import highdicom
import numpy as np
import pydicom
import pytest

from semicml_tf.errors import UserError
from semicml_tf.files.dicom.labels import DicomLabel
from semicml_tf.files.dicom.series import open_series
from semicml_tf.files.source import limited
from tests.support import dicom_files as files

SHAPE = (6, 12, 10)  # slices, rows, columns
TILTED = files.axes((np.cos(0.3), np.sin(0.3), 0), (-np.sin(0.3), np.cos(0.3), 0))


def blob(seed=0, shape=SHAPE):
    mask = np.zeros(shape, np.uint8)
    mask[1:4, 3:9, 2:7] = 1
    mask[2, 5:7, 4] = 0  # a hole
    mask[1, 10, 8] = 1  # a single voxel
    return np.roll(mask, seed, axis=1)


def images(folder, **tags):
    """A CT series, and its datasets by slice."""
    paths = files.write_series(folder, files.numbers(SHAPE), **tags)
    return [pydicom.dcmread(path) for path in paths]


def code(value, meaning):
    return highdicom.sr.coding.CodedConcept(value, "SCT", meaning)


def write_seg(path, datasets, masks, kind="BINARY", **options):
    """Masks (slices, rows, columns) by label, as a DICOM-SEG."""
    segments = [
        highdicom.seg.SegmentDescription(
            number, name, code("49755003", "Abnormal"), code("108369006", "Neoplasm"), "MANUAL"
        )
        for number, name in enumerate(masks, start=1)
    ]
    made = highdicom.seg.Segmentation(
        source_images=datasets,
        pixel_array=np.stack(list(masks.values()), axis=-1),
        segmentation_type=kind,
        segment_descriptions=segments,
        series_instance_uid="1.2.3.77",
        series_number=77,
        sop_instance_uid="1.2.3.77.1",
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="1",
        device_serial_number="1",
        **options,
    )
    return files.save(made, path)


def item(**tags):
    made = pydicom.Dataset()
    files.put(made, **tags)
    return made


def write_rtstruct(path, structures, kind="CLOSED_PLANAR"):
    """Contours ((n, 3) mm, DICOM's axes) by name, as an RTSTRUCT that refers to series 1."""
    made = files.dataset("RTSTRUCT", series="9")
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = pydicom.uid.RTStructureSetStorage
    made.StructureSetROISequence = [item(ROINumber=n, ROIName=name) for n, name in enumerate(structures, start=5)]
    made.ROIContourSequence = [
        item(
            ReferencedROINumber=n,
            ContourSequence=[
                item(
                    ContourGeometricType=kind,
                    NumberOfContourPoints=len(points),
                    ContourData=[f"{x:.7g}" for x in np.ravel(points)],
                )
                for points in contours
            ],
        )
        for n, contours in enumerate(structures.values(), start=5)
    ]
    series = item(SeriesInstanceUID="1.2.3.1")
    made.ReferencedFrameOfReferenceSequence = [
        item(FrameOfReferenceUID="1.2.3.9", RTReferencedStudySequence=[item(RTReferencedSeriesSequence=[series])])
    ]
    return files.save(made, path)


def corners(columns, rows, height, spacing=(1.5, 2.0), origin=(-20.0, 31.5, 100.0)):
    """A polygon by column and row indices, in mm, on an axial series of `files.write_series`."""
    return [
        (origin[0] + c * spacing[1], origin[1] + r * spacing[0], origin[2] + 3 * height) for c, r in zip(columns, rows)
    ]


def box(c0, c1, r0, r1, height):
    return corners((c0, c1, c1, c0), (r0, r0, r1, r1), height)


@pytest.mark.parametrize("orientation", [files.AXIAL, TILTED, files.axes((1, 0, 0), (0, 0, -1))])
@pytest.mark.parametrize("omit", [True, False])
def test_seg_round_trip_is_exact(tmp_path, orientation, omit):
    datasets = images(tmp_path / "ct", orientation=orientation)
    path = write_seg(tmp_path / "seg.dcm", datasets, {"GTV": blob()}, omit_empty_frames=omit)
    series = open_series(tmp_path / "ct")
    source = DicomLabel((path,), series)
    values, grid = source.read_label()
    assert values.dtype == np.int32
    np.testing.assert_array_equal(values, blob().transpose(2, 1, 0))
    assert grid.is_close(series.read_grid(), 1e-6) and source.read_grid().is_close(grid, 1e-6)
    assert source.missing() is None and pickle.loads(pickle.dumps(source)) == source and len(source.digest()) == 64


def _no_declared_distance(seg):
    del seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices


def _declared(distance):
    return lambda seg: setattr(
        seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0], "SpacingBetweenSlices", distance
    )


def _thickness_alone(thickness):
    def change(seg):
        _no_declared_distance(seg)
        seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness = thickness

    return change


def _no_segment_dimension(seg):
    del seg.DimensionIndexSequence[0]
    for frame in seg.PerFrameFunctionalGroupsSequence:
        del frame.FrameContentSequence[0].DimensionIndexValues


def _no_segment_number(seg):
    for groups in (*seg.SharedFunctionalGroupsSequence, *seg.PerFrameFunctionalGroupsSequence):
        groups.pop("SegmentIdentificationSequence", None)


def _no_positions(seg):
    for frame in seg.PerFrameFunctionalGroupsSequence:
        del frame.PlanePositionSequence


def _names_no_image(seg):
    seg.pop("ReferencedSeriesSequence", None)
    for frame in seg.PerFrameFunctionalGroupsSequence:
        frame.pop("DerivationImageSequence", None)


def change_seg(path, *changes, target=None):
    """The object again, its declared distance of slices first set to what other writers store."""
    made = pydicom.dcmread(path)
    measures = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices, measures.SliceThickness = 3, 3
    for change in changes:
        change(made)
    return files.save(made, target or path)


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    """A CT's folder, and by the slices with foreground a DICOM-SEG that stores only these, with its mask."""
    folder = tmp_path_factory.mktemp("sparse")
    datasets, objects = images(folder / "ct"), {}
    for slices in ((1, 4), (0, 2, 3), (5,)):
        mask = np.zeros(SHAPE, np.uint8)
        mask[list(slices), 3:9, 2:7] = 1
        objects[slices] = write_seg(folder / f"{slices}.dcm", datasets, {"GTV": mask}, omit_empty_frames=True), mask
    return folder / "ct", objects


@pytest.mark.parametrize(
    "changes",
    [
        (),
        (_no_declared_distance,),
        (_no_declared_distance, _names_no_image),
        (_declared(3.02),),
        (_declared(1),),
        (_thickness_alone(1),),
        (_no_segment_dimension,),
        (_no_segment_number,),
        (_no_positions, _no_declared_distance),
    ],
)
def test_sparse_frames_lie_on_the_slices_of_the_images(sparse, tmp_path, changes):
    """Frames 9 mm apart are no slices of 9 mm, and one frame is a whole slice, whatever the object says."""
    folder, objects = sparse
    series = open_series(folder)
    for path, mask in objects.values():
        label = DicomLabel((change_seg(path, *changes, target=tmp_path / "seg.dcm"),), series)
        values, grid, warnings = label.read_label_with_warnings()
        np.testing.assert_array_equal(values, mask.transpose(2, 1, 0))
        assert not warnings and grid.is_close(series.read_grid(), 1e-6)


@pytest.mark.parametrize(
    "changes,slices",
    [
        ((), 4),
        ((_no_declared_distance,), 4),
        ((_declared(3.02),), 4),
        ((_declared(9),), 2),
        ((_thickness_alone(9),), 2),
    ],
)
def test_sparse_frames_without_images_keep_their_own_distance(sparse, tmp_path, changes, slices):
    path, _ = sparse[1][1, 4]
    values, grid = DicomLabel((change_seg(path, *changes, target=tmp_path / "seg.dcm"),)).read_label()
    assert values.sum() == 60 and values.shape[2] == slices and grid.spacing_mm[2] == pytest.approx(9 / (slices - 1))


def test_frames_thicker_than_the_slices_cover_several_of_them(tmp_path):
    """A DICOM-SEG of 6 mm slices, on every second slice of the images: all of them are covered."""
    thick = files.write_series(tmp_path / "thick", files.numbers((3, 12, 10)), series="2", thickness=6.0)
    mask = np.zeros((3, 12, 10), np.uint8)
    mask[1:, 3:9, 2:7] = 1
    path = write_seg(tmp_path / "seg.dcm", [pydicom.dcmread(one) for one in thick], {"GTV": mask})
    images(tmp_path / "ct")
    for changes in ((_declared(6),), (_thickness_alone(6),)):
        label = DicomLabel((change_seg(path, *changes),), open_series(tmp_path / "ct"))
        values, _, warnings = label.read_label_with_warnings()
        assert not warnings and values.sum() == pytest.approx(120, abs=30)
        assert values.any(axis=(0, 1)).tolist() in ([0, 0, 1, 1, 1, 1], [0, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 1])


def test_a_label_that_resampling_changes_grossly(tmp_path):
    """Frames partly outside the images cause a warning; frames fully outside are refused."""
    path = write_seg(tmp_path / "seg.dcm", images(tmp_path / "ct"), {"GTV": blob()})

    def away(mm):
        def change(seg):
            for frame in seg.PerFrameFunctionalGroupsSequence:
                frame.PlanePositionSequence[0].ImagePositionPatient[2] += mm

        return change

    series = open_series(tmp_path / "ct")
    _, _, (warning,) = DicomLabel((change_seg(path, away(13)),), series).read_label_with_warnings()
    assert warning.code == "label_volume_changed" and "ml became" in warning.problem
    with pytest.raises(UserError, match="label is empty after resampling to the grid of its images: .* became 0 ml"):
        DicomLabel((change_seg(path, away(500)),), series).read_label()


def test_inconsistent_seg_is_refused(tmp_path):
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:3, 3:9, 2:7], mask[2, 3, 2] = 1, 0
    path = write_seg(tmp_path / "seg.dcm", images(tmp_path / "ct"), {"GTV": mask})
    series = open_series(tmp_path / "ct")

    def refused(message, change):
        content = path.read_bytes()
        with pytest.raises(UserError, match=message):
            DicomLabel((change_seg(path, change),), series).read_label()
        path.write_bytes(content)

    def same_place(seg):
        for frame in seg.PerFrameFunctionalGroupsSequence:
            frame.PlanePositionSequence[0].ImagePositionPatient[2] = 103

    def fewer_items(seg):
        seg.PerFrameFunctionalGroupsSequence = seg.PerFrameFunctionalGroupsSequence[:1]

    def renumber(seg, number):
        seg.SegmentSequence[0].SegmentNumber = number

    refused("two different frames of segment 1 lie on one slice", same_place)
    refused(r"expected \d+ items in PerFrameFunctionalGroupsSequence", fewer_items)
    refused("frame 1 is of segment 1, which .* does not describe", lambda seg: renumber(seg, 2))
    refused("expected the tag SegmentationType|expected SegmentationType", lambda seg: seg.pop("SegmentationType"))


def test_seg_of_reversed_slices(tmp_path):
    datasets = images(tmp_path / "ct", step=(0, 0, -3))
    path = write_seg(tmp_path / "seg.dcm", datasets, {"GTV": blob()})
    values, _ = DicomLabel((path,), open_series(tmp_path / "ct")).read_label()
    np.testing.assert_array_equal(values, blob()[::-1].transpose(2, 1, 0))


def test_seg_without_images_has_the_grid_of_its_frames(tmp_path):
    datasets = images(tmp_path / "ct")
    path = write_seg(tmp_path / "seg.dcm", datasets, {"GTV": blob()})
    values, grid = DicomLabel((path,)).read_label()
    whole = open_series(tmp_path / "ct").read_grid()
    inverse = np.linalg.inv(whole.affine) @ grid.affine
    places = (inverse @ [*np.argwhere(values)[0], 1])[:3]
    assert np.round(places, 3).tolist() in np.argwhere(blob().transpose(2, 1, 0)).tolist()
    assert values.sum() == blob().sum() and grid.spacing_mm == pytest.approx(whole.spacing_mm)


def test_seg_on_another_grid_is_resampled_to_the_images(tmp_path):
    """Drawn on slices of half the pixels: every voxel whose centre it covers."""
    coarse = files.write_series(
        tmp_path / "coarse", files.numbers((6, 6, 5)), spacing=(3, 4), origin=(-19, 32.25, 100), series="2"
    )
    mask = np.zeros((6, 6, 5), np.uint8)
    mask[2:4, 1:4, 2:4] = 1
    path = write_seg(tmp_path / "seg.dcm", [pydicom.dcmread(one) for one in coarse], {"GTV": mask})
    images(tmp_path / "ct")
    values, _ = DicomLabel((path,), open_series(tmp_path / "ct")).read_label()
    np.testing.assert_array_equal(values, mask.repeat(2, axis=1).repeat(2, axis=2).transpose(2, 1, 0))


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_segments_by_name(tmp_path, kind):
    masks = {"Tumour GTVp": blob(), "Node GTVn": blob(seed=1) * (1 - blob()), "liver": np.zeros_like(blob())}
    masks["liver"][5] = 1
    path = write_seg(tmp_path / "seg.dcm", images(tmp_path / "ct"), masks, kind)
    series = open_series(tmp_path / "ct")

    def read(roi):
        return DicomLabel((path,), series, roi).read_label()[0].transpose(2, 1, 0)

    np.testing.assert_array_equal(read("gtvp$"), masks["Tumour GTVp"])
    np.testing.assert_array_equal(read("GTV[pn]"), masks["Tumour GTVp"] | masks["Node GTVn"])
    with pytest.raises(UserError, match=r"expected one among .*got 'Tumour GTVp', 'Node GTVn', 'liver'.*--label_roi"):
        read("")
    with pytest.raises(UserError, match="a match of --label_roi"):
        read("^GTV")


def test_fractional_seg_is_thresholded_at_one_half(tmp_path):
    fractions = blob() * np.linspace(0.1, 0.9, SHAPE[2])
    path = write_seg(tmp_path / "seg.dcm", images(tmp_path / "ct"), {"GTV": fractions}, "FRACTIONAL")
    values, _ = DicomLabel((path,), open_series(tmp_path / "ct")).read_label()
    np.testing.assert_array_equal(values.transpose(2, 1, 0), fractions >= 0.5)


def test_empty_seg_is_an_empty_label(tmp_path):
    path = write_seg(tmp_path / "seg.dcm", images(tmp_path / "ct"), {"GTV": np.zeros_like(blob())})
    assert not DicomLabel((path,), open_series(tmp_path / "ct")).read_label()[0].any()


def test_structures_by_name_and_over_several_objects(tmp_path):
    images(tmp_path / "ct")
    series = open_series(tmp_path / "ct")
    first = write_rtstruct(tmp_path / "a", {"BODY": [box(0.5, 8.5, 0.5, 9.5, 2)], "GTV": [box(1.5, 3.5, 1.5, 3.5, 2)]})
    second = write_rtstruct(tmp_path / "b", {"CTV": [box(1.5, 5.5, 1.5, 5.5, 2)]})
    assert DicomLabel((first, second), series, "gtv").read_label()[0].sum() == 4
    assert DicomLabel((first, second), series, "^ctv$").read_label()[0].sum() == 16
    with pytest.raises(UserError, match="in 2 objects, expected one: the names are 'BODY', 'GTV', 'CTV'"):
        DicomLabel((first, second), series, "TV").read_label()
    with pytest.raises(UserError, match="expected one among"):
        DicomLabel((first, second), series).read_label()


def test_too_many_voxels_are_refused(tmp_path):
    datasets = images(tmp_path / "ct")
    series, most = open_series(tmp_path / "ct"), int(np.prod(SHAPE))
    labels = [
        DicomLabel((path,), series)
        for path in (
            write_seg(tmp_path / "seg.dcm", datasets, {"GTV": blob()}),
            write_rtstruct(tmp_path / "rt.dcm", {"GTV": [box(1.5, 8.5, 1.5, 9.5, 2)]}),
        )
    ]
    for source in (series, *labels):
        read = "read_volume" if source is series else "read_label"
        getattr(limited(source, most), read)()
        with pytest.raises(UserError, match=f"at most {most - 1} voxels, got {most}.*--max_voxels"):
            getattr(limited(source, most - 1), read)()


def test_damaged_label_files_are_refused(tmp_path):
    datasets = images(tmp_path / "ct")
    series = open_series(tmp_path / "ct")
    path = write_seg(tmp_path / "seg.dcm", datasets, {"GTV": blob()})
    content = path.read_bytes()
    path.write_bytes(content[:-200])
    with pytest.raises(UserError, match="cannot be read|damaged|cut off") as caught:
        DicomLabel((path,), series).read_label()
    assert not any(secret in caught.value.line for secret in files.SECRETS)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="the file is empty"):
        DicomLabel((path,), series).read_label()
    path.unlink()
    assert DicomLabel((path,), series).missing() == path
    with pytest.raises(UserError, match="no such file"):
        DicomLabel((path,), series).read_label()
    with pytest.raises(UserError, match="expected a DICOM-SEG or RTSTRUCT"):
        DicomLabel((pathlib.Path(series.files[0]),), series).read_label()
