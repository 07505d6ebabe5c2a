"""SUV factors against closed-form numbers, and errors for tags that cannot be trusted."""

import numpy as np
import pydicom
import pytest

from semicml_tf.errors import UserError
from semicml_tf.files.dicom import suv as dicom_suv
from semicml_tf.files.dicom.series import open_series
from tests.support import dicom_files as files

WHOLE_DOSE = 80_000 / 4e8  # g/Bq: 80 kg and 400 MBq
NO_TIME = {"RadiopharmaceuticalStartTime": None}


def header(**tags):
    return files.dataset("PT", **files.pet_tags(**tags))


def factor(**tags):
    (number,) = dicom_suv.factors([("file.dcm", header(**tags))])
    return number


def private(made, group, creator, element, vr, value):
    made.private_block(group, creator, create=True).add_new(element, vr, value)
    return made


def test_one_half_life_from_injection_to_scan_doubles_suv():
    # 09:15:00 to 10:15:00 is one half-life of 3600 s: 200 MBq are left of 400.
    assert factor(item={"RadionuclideHalfLife": 3600}) == pytest.approx(80_000 / 2e8, rel=1e-12)
    # And by fluorine-18: 2 ** (3600 / 6586.2) = 1.460636746
    assert factor() == pytest.approx(WHOLE_DOSE * 1.460636746, rel=1e-6)


def test_decay_corrected_to_administration_needs_no_time():
    tags = {"DecayCorrection": "ADMIN", "AcquisitionTime": None, "SeriesTime": None}
    assert factor(**tags, item={"RadiopharmaceuticalStartTime": None, "RadionuclideHalfLife": None}) == WHOLE_DOSE


@pytest.mark.parametrize("drug", [{"RadiopharmaceuticalStartTime": "233000"}, {"whole": "20140917233000"}])
def test_midnight_between_injection_and_scan(drug):
    if "whole" in drug:
        drug = {"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": drug["whole"]}
    times = {"SeriesTime": "003000.0", "AcquisitionTime": "003100"}
    assert factor(**times, item={"RadionuclideHalfLife": 3600} | drug) == pytest.approx(2 * WHOLE_DOSE, rel=1e-12)


def test_date_time_of_injection_takes_precedence():
    # By the time alone it would be one hour; by date and time it is 25.
    item = {"RadionuclideHalfLife": 3600 * 5, "RadiopharmaceuticalStartDateTime": "20140917091500.00"}
    assert factor(item=item) == pytest.approx(WHOLE_DOSE * 2**5, rel=1e-12)
    item = {"RadionuclideHalfLife": 3600, "RadiopharmaceuticalStartDateTime": "20140918071500+0000"}
    assert factor(item=item, TimezoneOffsetFromUTC="+0200") == pytest.approx(2 * WHOLE_DOSE, rel=1e-12)


def test_series_reconstructed_after_the_scan_uses_the_first_acquisition():
    headers = [(f"{i}.dcm", header(SeriesTime="140000", item={"RadionuclideHalfLife": 3600})) for i in range(3)]
    for (_, one), time in zip(headers, ("102000", "101500", "102500")):
        one.AcquisitionTime = time
    assert dicom_suv.factors(headers) == pytest.approx([2 * WHOLE_DOSE] * 3, rel=1e-12)
    # GE stores the start of the scan in a private tag, which takes precedence over the acquisition times.
    for _, one in headers:
        private(one, 0x0009, "GEMS_PETD_01", 0x0D, "DT", "20140918111500.00")
    assert dicom_suv.factors(headers) == pytest.approx([4 * WHOLE_DOSE] * 3, rel=1e-12)


def test_series_time_before_the_first_acquisition_is_the_start():
    item = {"RadionuclideHalfLife": 3600}
    assert factor(AcquisitionTime="102800", item=item) == pytest.approx(2 * WHOLE_DOSE, rel=1e-12)


def test_values_that_are_already_suv():
    assert factor(Units="GML") == 1 and factor(Units="GML", SUVType="BW") == 1
    assert factor(Units="GML", PatientWeight=None, RadiopharmaceuticalInformationSequence=None) == 1
    with pytest.raises(UserError, match=r"SUV of another kind than by body weight \(SUVType \(0054,1006\)\)"):
        factor(Units="GML", SUVType="LBM")


def test_philips_counts():
    made = private(
        header(Units="CNTS", PatientWeight=None), 0x7053, "Philips PET Private Group", 0x00, "DS", "0.000551"
    )
    assert dicom_suv.factors([("a", made)]) == pytest.approx([0.000551])
    # The type of a private tag may be unknown to the reader, and 0 counts as missing.
    made = header(Units="CNTS", item={"RadionuclideHalfLife": 3600})
    private(made, 0x7053, "Philips PET Private Group", 0x00, "DS", "0")
    private(made, 0x7053, "Philips PET Private Group", 0x09, "UN", b"1.5 ")
    assert dicom_suv.factors([("a", made)]) == pytest.approx([1.5 * 2 * WHOLE_DOSE])
    with pytest.raises(UserError, match=r"counts \(CNTS\).*\(7053,1000\).*\(7053,1009\)"):
        factor(Units="CNTS")
    one = private(header(Units="CNTS"), 0x7053, "Philips PET Private Group", 0x00, "DS", "0.5")
    with pytest.raises(UserError, match="not every slice has the private tag"):
        dicom_suv.factors([("a", one), ("b", header(Units="CNTS"))])


def test_private_tags_of_another_creator_are_ignored():
    made = private(header(Units="CNTS"), 0x7053, "OTHER VENDOR", 0x00, "DS", "0.5")
    with pytest.raises(UserError, match="CNTS"):
        dicom_suv.factors([("a", made)])


@pytest.mark.parametrize(
    "tags,message",
    [
        ({"PatientWeight": None}, r"PatientWeight \(0010,1030\)"),
        ({"PatientWeight": 0}, r"PatientWeight \(0010,1030\)"),
        ({"Units": None}, r"Units \(0054,1001\)"),
        ({"DecayCorrection": None}, r"DecayCorrection \(0054,1102\)"),
        ({"CorrectedImage": None}, r"CorrectedImage \(0028,0051\)"),
        ({"SeriesTime": None}, r"SeriesTime \(0008,0031\)"),
        ({"SeriesDate": None}, r"SeriesDate \(0008,0021\)"),
        ({"AcquisitionTime": None}, r"AcquisitionTime \(0008,0032\)"),
        ({"AcquisitionDate": None}, r"AcquisitionDate \(0008,0022\)"),
        ({"RadiopharmaceuticalInformationSequence": None}, r"RadiopharmaceuticalInformationSequence \(0054,0016\)"),
        ({"item": {"RadionuclideTotalDose": None}}, r"RadionuclideTotalDose \(0018,1074\)"),
        ({"item": {"RadionuclideHalfLife": None}}, r"RadionuclideHalfLife \(0018,1075\)"),
        ({"item": {"RadiopharmaceuticalStartTime": None}}, r"RadiopharmaceuticalStartTime \(0018,1072\)"),
        ({"item": {"RadiopharmaceuticalStartTime": "nine"}}, r"RadiopharmaceuticalStartTime \(0018,1072\)"),
    ],
)
def test_missing_tag_is_named_with_a_remedy(tags, message):
    with pytest.raises(UserError, match=f"SUV cannot be computed: the tag {message}.*is missing or unusable") as caught:
        factor(**tags)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "tags,message",
    [
        ({"DecayCorrection": "NONE"}, "START or ADMIN, got NONE"),
        ({"CorrectedImage": ["ATTN"]}, "not corrected for decay"),
        ({"CorrectedImage": ["DECY"]}, "not corrected for attenuation"),
        ({"CorrectedImage": "DECY"}, "not corrected for attenuation"),
        ({"Units": "PROPCPS"}, "BQML, GML or .* CNTS, got another unit"),
        ({"item": {"RadionuclideTotalDose": 400}}, "less than 100000, so it cannot be in Bq"),
        ({"item": {"RadionuclideTotalDose": 4e14}}, "more than 2e.10, so it cannot be in Bq"),
        ({"item": {"RadionuclideHalfLife": 6586200}}, "more than 1e.06, so it cannot be in seconds"),
        ({"PatientWeight": 1}, "less than 2, so it cannot be in kg"),
        ({"PatientWeight": 0.07}, "less than 2, so it cannot be in kg"),
        ({"PatientWeight": 70000}, "more than 500, so it cannot be in kg"),
        ({"item": {"RadiopharmaceuticalStartDateTime": "20140918081500"}}, "are different times of day"),
        (
            {"item": {**NO_TIME, "RadiopharmaceuticalStartDateTime": "20140918121500"}},
            "was after the scan began",
        ),
        ({"item": {**NO_TIME, "RadiopharmaceuticalStartDateTime": "20040918121500"}}, "more than 12 half-lives before"),
    ],
)
def test_unusable_tags_are_refused(tags, message):
    with pytest.raises(UserError, match=message) as caught:
        factor(**tags)
    assert not any(secret in caught.value.line for secret in (*files.SECRETS, "2004"))


def test_slices_of_two_scans():
    with pytest.raises(UserError, match=r"slices differ in PatientWeight"):
        dicom_suv.factors([("a", header()), ("b", header(PatientWeight=70))])
    tags = files.pet_tags()
    tags["RadiopharmaceuticalInformationSequence"] = [pydicom.Dataset(), pydicom.Dataset()]
    with pytest.raises(UserError, match="expected one radiopharmaceutical, got 2"):
        dicom_suv.factors([("a", files.dataset("PT", **tags))])


def test_each_slice_has_its_own_slope(tmp_path):
    stored = np.stack([np.full((4, 5), n, np.int16) for n in (100, 200, 300)])
    slopes = [10.0, 2.5, 0.125]
    files.write_series(
        tmp_path, stored, modality="PT", item={"RadionuclideHalfLife": 3600}, each=lambda i: {"RescaleSlope": slopes[i]}
    )
    volume, _ = open_series(tmp_path).read_volume()
    suv = np.array([1000, 500, 37.5]) * 2 * WHOLE_DOSE
    np.testing.assert_allclose(volume, np.broadcast_to(suv, (5, 4, 3)), rtol=1e-6)


def test_philips_private_tags_survive_the_files(tmp_path):
    paths = files.write_series(
        tmp_path, files.numbers(), modality="PT", Units="CNTS", each=lambda i: {"RescaleSlope": 2}
    )
    for path in paths:
        files.save(private(pydicom.dcmread(path), 0x7053, "Philips PET Private Group", 0x00, "DS", "0.25"), path)
    volume, _ = open_series(tmp_path).read_volume()
    np.testing.assert_array_equal(volume, files.numbers().transpose(2, 1, 0) * 0.5)
