"""CT slices and series as DICOM stores them, read with checks and written as derived series."""
