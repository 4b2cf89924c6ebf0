"""From DICOM files to volumes, SUV and masks."""
