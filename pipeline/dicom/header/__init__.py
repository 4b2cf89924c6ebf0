"""Reading values from DICOM headers: times, the PET header, geometry, ROI names."""
