"""The embedded cohort: real DICOM with known truth, and disks."""
