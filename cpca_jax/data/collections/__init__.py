"""Collections of scans on disk: their files, the pairs of doses and the splits of patients."""
