"""SUVival: from FDG-PET/CT DICOM to survival models."""

__version__ = "0.1.0"
