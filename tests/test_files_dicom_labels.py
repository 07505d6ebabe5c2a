"""DICOM-SEG and RTSTRUCT as label maps."""

import pathlib
import pickle
import re

import highdicom
import numpy as np
import pydicom
import pytest
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from semicml_tf.errors import UserError
from semicml_tf.files import dicom, dicom_contours
from semicml_tf.files.dicom_labels import DicomLabel
from semicml_tf.files.dicom_series import open_series
from semicml_tf.files.source import limited
from tests import dicom_files as files

SHAPE = (6, 12, 10)  # slices, rows, columns
TILTED = files.axes((np.cos(0.3), np.sin(0.3), 0), (-np.sin(0.3), np.cos(0.3), 0))


def blob(seed=0, shape=SHAPE):
    mask = np.zeros(shape, np.uint8)
    mask[1:4, 3:9, 2:7] = 1
    mask[2, 5:7, 4] = 0  # a hole
    mask[1, 10, 8] = 1  # and a voxel by itself
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
def test_seg_exactly(tmp_path, orientation, omit):
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
    """Frames elsewhere than the images: partly outside is a warning, wholly outside is refused."""
    path = write_seg(tmp_path / "seg.dcm", images(tmp_path / "ct"), {"GTV": blob()})

    def away(mm):
        def change(seg):
            for frame in seg.PerFrameFunctionalGroupsSequence:
                frame.PlanePositionSequence[0].ImagePositionPatient[2] += mm

        return change

    series = open_series(tmp_path / "ct")
    _, _, (warning,) = DicomLabel((change_seg(path, away(13)),), series).read_label_with_warnings()
    assert warning.code == "label_volume_changed" and "ml became" in warning.problem
    with pytest.raises(UserError, match="nothing of the label is left on the grid of its images: .* became 0 ml"):
        DicomLabel((change_seg(path, away(500)),), series).read_label()


def test_seg_that_contradicts_itself(tmp_path):
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

    refused("two different frames of segment 1 lie on one slice", same_place)
    refused(r"expected \d+ items in PerFrameFunctionalGroupsSequence", fewer_items)
    refused("expected the tag SegmentationType|expected SegmentationType", lambda seg: seg.pop("SegmentationType"))


def test_seg_of_reversed_slices(tmp_path):
    datasets = images(tmp_path / "ct", step=(0, 0, -3))
    path = write_seg(tmp_path / "seg.dcm", datasets, {"GTV": blob()})
    values, _ = DicomLabel((path,), open_series(tmp_path / "ct")).read_label()
    np.testing.assert_array_equal(values, blob()[::-1].transpose(2, 1, 0))


def test_seg_by_itself_has_the_grid_of_its_own_frames(tmp_path):
    datasets = images(tmp_path / "ct")
    path = write_seg(tmp_path / "seg.dcm", datasets, {"GTV": blob()})
    values, grid = DicomLabel((path,)).read_label()
    whole = open_series(tmp_path / "ct").read_grid()
    inverse = np.linalg.inv(whole.affine) @ grid.affine
    places = (inverse @ [*np.argwhere(values)[0], 1])[:3]
    assert np.round(places, 3).tolist() in np.argwhere(blob().transpose(2, 1, 0)).tolist()
    assert values.sum() == blob().sum() and grid.spacing_mm == pytest.approx(whole.spacing_mm)


def test_seg_on_another_grid_goes_to_the_images(tmp_path):
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
    with pytest.raises(UserError, match="one that --label_roi matches"):
        read("^GTV")


def test_fractional_seg_is_cut_at_one_half(tmp_path):
    fractions = blob() * np.linspace(0.1, 0.9, SHAPE[2])
    path = write_seg(tmp_path / "seg.dcm", images(tmp_path / "ct"), {"GTV": fractions}, "FRACTIONAL")
    values, _ = DicomLabel((path,), open_series(tmp_path / "ct")).read_label()
    np.testing.assert_array_equal(values.transpose(2, 1, 0), fractions >= 0.5)


def test_empty_seg_is_an_empty_label(tmp_path):
    path = write_seg(tmp_path / "seg.dcm", images(tmp_path / "ct"), {"GTV": np.zeros_like(blob())})
    assert not DicomLabel((path,), open_series(tmp_path / "ct")).read_label()[0].any()


def test_contours_along_the_edges_of_voxels(tmp_path):
    images(tmp_path / "ct")
    path = write_rtstruct(tmp_path / "rt", {"GTV": [box(1.5, 6.5, 2.5, 8.5, 2), box(3.5, 4.5, 4.5, 6.5, 2)]})
    values, grid = DicomLabel((path,), open_series(tmp_path / "ct")).read_label()
    expected = np.zeros(grid.shape, int)
    expected[2:7, 3:9, 2] = 1
    expected[4, 5:7, 2] = 0  # the contour within is a hole
    np.testing.assert_array_equal(values, expected)


def test_contours_through_the_centres_of_voxels(tmp_path):
    images(tmp_path / "ct")
    path = write_rtstruct(tmp_path / "rt", {"GTV": [box(2, 6, 3, 8, 1), corners([8], [10], 3)]})
    values, grid = DicomLabel((path,), open_series(tmp_path / "ct")).read_label()
    expected = np.zeros(grid.shape, int)
    expected[2:7, 3:9, 1] = 1
    expected[8, 10, 3] = 1  # a contour of one point
    np.testing.assert_array_equal(values, expected)


def test_keyhole_contour(tmp_path):
    """Outer ring and hole in one line, joined by a channel of no width."""
    images(tmp_path / "ct")
    columns = [0.5, 8.5, 8.5, 0.5, 0.5, 2.5, 2.5, 5.5, 5.5, 2.5, 2.5, 0.5]
    rows = [0.5, 0.5, 9.5, 9.5, 4.6, 4.6, 7.5, 7.5, 3.5, 3.5, 4.6, 4.6]
    path = write_rtstruct(tmp_path / "rt", {"GTV": [corners(columns, rows, 2)]})
    values, grid = DicomLabel((path,), open_series(tmp_path / "ct")).read_label()
    expected = np.zeros(grid.shape, int)
    expected[1:9, 1:10, 2] = 1
    expected[3:6, 4:8, 2] = 0
    np.testing.assert_array_equal(values, expected)


def test_round_contour_on_tilted_reversed_slices(tmp_path):
    """A ball by circles at the slices' own places: as much of it as its closed form says."""
    shape, radius = (12, 40, 44), 13.0
    normal = np.cross(TILTED[:3], TILTED[3:])
    files.write_series(
        tmp_path / "ct", files.numbers(shape), orientation=TILTED, step=-3 * normal, spacing=(1, 1), origin=(0, 0, 0)
    )
    right, down = np.array(TILTED[:3]), np.array(TILTED[3:])
    centre = 21.3 * right + 19.6 * down - 3 * 5.5 * normal
    contours = []
    for index in range(shape[0]):
        away = -3 * index + 3 * 5.5
        if abs(away) < radius:
            angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
            ring = np.sqrt(radius**2 - away**2)
            centre_here = centre + away * normal
            contours.append(centre_here + ring * (np.outer(np.cos(angle), right) + np.outer(np.sin(angle), down)))
    path = write_rtstruct(tmp_path / "rt", {"GTV": contours})
    values, grid = DicomLabel((path,), open_series(tmp_path / "ct")).read_label()
    points = np.moveaxis(np.indices(grid.shape), 0, -1) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    inside = np.linalg.norm(points - centre * (-1, -1, 1), axis=-1) < radius
    dice = 2 * (inside & (values > 0)).sum() / (inside.sum() + values.sum())
    assert dice > 0.998


def test_fill_agrees_with_an_independent_count_of_crossings():
    rng = np.random.default_rng(0)
    for _ in range(20):
        polygon = rng.uniform(-3, 15, (rng.integers(3, 12), 2))  # crosses itself, and the border
        mask = np.zeros((12, 10), bool)
        dicom_contours.fill(mask, [polygon])
        for c, r in np.ndindex(mask.shape):
            crossings = 0
            for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0)):
                if (y0 > r) != (y1 > r) and x0 + (r - y0) * (x1 - x0) / (y1 - y0) > c:
                    crossings += 1
            window = Bbox([[c - 0.02, r - 0.02], [c + 0.02, r + 0.02]])
            near = Path([*polygon, polygon[0]]).intersects_bbox(window, filled=False)
            assert near or mask[c, r] == crossings % 2


OUTER, HOLE, CORE = (1.5, 8.5, 1.5, 9.5), (2.5, 6.5, 2.5, 7.5), (3.5, 5.5, 3.5, 5.5)


@pytest.mark.parametrize(
    "boxes,kind,voxels,warned",
    [
        ([OUTER, OUTER], "CLOSED_PLANAR", 56, "1 contours that are stored twice"),
        ([OUTER, HOLE, HOLE], "CLOSED_PLANAR", 56 - 20, "stored twice"),
        ([OUTER, HOLE, CORE], "CLOSED_PLANAR", 56 - 20 + 4, None),
        ([OUTER, (1.5, 3.5, 1.5, 3.5)], "CLOSED_PLANAR", 56 - 4, None),  # a hole that touches the line from within
        ([OUTER, (6.5, 9.5, 1.5, 9.5)], "CLOSED_PLANAR", 64, None),  # overlapping: the union, not its difference
        ([(1.5, 4.5, 1.5, 9.5), (4.5, 8.5, 1.5, 9.5)], "CLOSED_PLANAR", 56, None),  # side by side
        ([(1.5, 6.5, 1.5, 9.5), (4.5, 8.5, 1.5, 9.5), (4.75, 6.25, 3.5, 5.5)], "CLOSED_PLANAR", 52, None),
        ([OUTER, (6.5, 9.5, 1.5, 9.5)], "CLOSEDPLANAR_XOR", 56 + 24 - 2 * 16, None),
        ([OUTER, OUTER], "CLOSEDPLANAR_XOR", 0, None),
        ([OUTER, (2.1, 2.2, 2.1, 2.2)], "CLOSED_PLANAR", 56, "1 contours that enclose no voxel's centre"),
    ],
)
def test_contours_of_one_slice_are_combined_by_how_they_lie(tmp_path, boxes, kind, voxels, warned):
    images(tmp_path / "ct")
    for order in (boxes, boxes[::-1]):
        path = write_rtstruct(tmp_path / "rt", {"GTV": [box(*one, 2) for one in order]}, kind)
        values, _, warnings = DicomLabel((path,), open_series(tmp_path / "ct")).read_label_with_warnings()
        assert values.sum() == voxels
        assert bool(warnings) == bool(warned) and all(warned in one.problem for one in warnings)


def test_the_same_contour_from_another_corner_counts_once(tmp_path):
    images(tmp_path / "ct")
    ring = box(*OUTER, 2)
    path = write_rtstruct(tmp_path / "rt", {"GTV": [ring, ring[2:] + ring[:2], ring[::-1]]})
    assert DicomLabel((path,), open_series(tmp_path / "ct")).read_label()[0].sum() == 56


def test_contours_that_are_not_closed(tmp_path):
    images(tmp_path / "ct")
    path = write_rtstruct(tmp_path / "rt", {"GTV": [box(*OUTER, 2), box(*HOLE, 3)]})
    made = pydicom.dcmread(path)
    second = made.ROIContourSequence[0].ContourSequence[1]

    def read(kind):
        second.ContourGeometricType = kind
        return DicomLabel((files.save(made, path),), open_series(tmp_path / "ct")).read_label_with_warnings()

    for kind in ("OPEN_PLANAR", "OPEN_NONPLANAR", "", "CIRCLE"):
        with pytest.raises(
            UserError, match=f"1 contours of {f'the type {kind}' if 'OPEN' in kind else 'no known type'}"
        ):
            read(kind)
    values, _, (warning,) = read("POINT")
    assert values.sum() == 56 and "1 contours of the type POINT are not used" in warning.problem
    second.ContourData = list(np.ravel(box(*HOLE, 2)))
    with pytest.raises(UserError, match="of the types CLOSED_PLANAR and CLOSEDPLANAR_XOR lie on one slice"):
        read("CLOSEDPLANAR_XOR")


@pytest.mark.parametrize(
    "slices,outcome",
    [
        ((0, 1, 2, 3), None),
        ((0, 1, 3, 4), "1 slices without contour .* between the slices 1 and 3"),
        ((0, 1, 2, 5), "2 slices without contour"),
        ((0, 2, 4, 5), "drawn on 4 slices, with a gap after 2 of them"),
        ((1, 3, 5), "no two of which are neighbours"),
    ],
)
def test_gaps_between_drawn_slices(tmp_path, slices, outcome):
    images(tmp_path / "ct")
    path = write_rtstruct(tmp_path / "rt", {"GTV": [box(*OUTER, height) for height in slices]})
    label = DicomLabel((path,), open_series(tmp_path / "ct"))
    if outcome and "drawn on" in outcome or outcome == "no two of which are neighbours":
        with pytest.raises(UserError, match=outcome):
            label.read_label()
        return
    _, _, warnings = label.read_label_with_warnings()
    assert [one.code for one in warnings] == ["label_contours"] * bool(outcome)
    assert not outcome or re.search(outcome, warnings[0].problem)


def test_lesions_beside_each_other_are_no_gap(tmp_path):
    images(tmp_path / "ct")
    contours = [box(0.5, 3.5, 0.5, 3.5, n) for n in (0, 1)] + [box(5.5, 8.5, 6.5, 9.5, n) for n in (3, 4)]
    path = write_rtstruct(tmp_path / "rt", {"GTV": contours})
    values, _, warnings = DicomLabel((path,), open_series(tmp_path / "ct")).read_label_with_warnings()
    assert values.sum() == 4 * 9 and not warnings


def test_structures_by_name_and_over_several_objects(tmp_path):
    images(tmp_path / "ct")
    series = open_series(tmp_path / "ct")
    first = write_rtstruct(tmp_path / "a", {"BODY": [box(0.5, 8.5, 0.5, 9.5, 2)], "GTV": [box(1.5, 3.5, 1.5, 3.5, 2)]})
    second = write_rtstruct(tmp_path / "b", {"CTV": [box(1.5, 5.5, 1.5, 5.5, 2)]})
    assert DicomLabel((first, second), series, "gtv").read_label()[0].sum() == 4
    assert DicomLabel((first, second), series, "^ctv$").read_label()[0].sum() == 16
    with pytest.raises(UserError, match="--label_roi matches names in 2 objects; there are 'BODY', 'GTV', 'CTV'"):
        DicomLabel((first, second), series, "TV").read_label()
    with pytest.raises(UserError, match="expected one among"):
        DicomLabel((first, second), series).read_label()


def test_structure_without_contours_is_empty(tmp_path):
    images(tmp_path / "ct")
    path = write_rtstruct(tmp_path / "rt", {"GTV": []})
    assert not DicomLabel((path,), open_series(tmp_path / "ct")).read_label()[0].any()
    point = write_rtstruct(tmp_path / "point", {"GTV": [corners([3], [3], 2)]}, kind="POINT")
    assert not DicomLabel((point,), open_series(tmp_path / "ct")).read_label()[0].any()


@pytest.mark.parametrize(
    "contours,message",
    [
        ([box(1.5, 3.5, 1.5, 3.5, 2.5)], "lies in none of the slices"),
        ([box(1.5, 3.5, 1.5, 3.5, 9)], "lies in none of the slices"),
        ([[(-20, 33, 100), (-18, 33, 103), (-18, 36, 106)]], "lies in none of the slices"),
        ([box(1.5, 3.5, 1.5, 3.5, n) for n in (0, 2, 4)], "drawn on 3 slices, no two of which are neighbours"),
        ([[(1, 2, 3), (4, 5, 6)], [(1, 2)]], "no triples of numbers"),
    ],
)
def test_contours_that_are_refused(tmp_path, contours, message):
    images(tmp_path / "ct")
    path = write_rtstruct(tmp_path / "rt", {"GTV": contours})
    with pytest.raises(UserError, match=message) as caught:
        DicomLabel((path,), open_series(tmp_path / "ct")).read_label()
    assert not any(secret in caught.value.line for secret in files.SECRETS)


def test_a_limit_of_voxels(tmp_path):
    datasets = images(tmp_path / "ct")
    series, most = open_series(tmp_path / "ct"), int(np.prod(SHAPE))
    labels = [
        DicomLabel((path,), series)
        for path in (
            write_seg(tmp_path / "seg.dcm", datasets, {"GTV": blob()}),
            write_rtstruct(tmp_path / "rt.dcm", {"GTV": [box(*OUTER, 2)]}),
        )
    ]
    for source in (series, *labels):
        read = "read_volume" if source is series else "read_label"
        getattr(limited(source, most), read)()
        with pytest.raises(UserError, match=f"at most {most - 1} voxels, got {most}.*--max_voxels"):
            getattr(limited(source, most - 1), read)()


def test_contours_need_their_images(tmp_path):
    path = write_rtstruct(tmp_path / "rt", {"GTV": [box(1.5, 3.5, 1.5, 3.5, 2)]})
    with pytest.raises(UserError, match="contours need the images"):
        DicomLabel((path,)).read_label()


def test_label_files_that_are_damaged(tmp_path):
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


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
def test_a_label_that_is_cut_off_anywhere(tmp_path, kind):
    """No label comes out smaller than it was: it is refused, or it is whole."""
    datasets = images(tmp_path / "ct")
    contours = [box(1.5, 6.5, 2.5, 8.5, n) for n in range(1, 5)]
    if kind == "seg":
        path = write_seg(tmp_path / "label/x.dcm", datasets, {"GTV": blob()})
    else:
        path = write_rtstruct(tmp_path / "label/x.dcm", {"GTV": contours})
    content = path.read_bytes()
    whole = DicomLabel((path,), open_series(tmp_path / "ct")).read_label()[0]
    refused = 0
    for kept in np.linspace(0, len(content) - 2, 60).astype(int):
        path.write_bytes(content[:kept])
        try:
            (case,) = dicom.find(tmp_path, ("ct",))
            if case.label is not None:
                np.testing.assert_array_equal(case.label.read_label()[0], whole)
                continue
        except UserError as error:
            assert not any(secret in error.line for secret in files.SECRETS)
            refused += 1
            continue
        raise AssertionError(f"not noticed: {kept} of {len(content)} bytes")
    assert refused > 40
