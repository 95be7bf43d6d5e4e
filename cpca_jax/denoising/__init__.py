"""Trained networks applied to volumes, DICOM series and NIfTI files."""
