"""From DICOM files or phantoms to a store of paired volumes, and from there to patches."""
