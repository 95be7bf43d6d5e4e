"""The application of trained networks to volumes, DICOM series and NIfTI files."""
