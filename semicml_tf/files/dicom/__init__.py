"""DICOM: series as volumes, PET in SUV, segmentations and contours as label maps."""
