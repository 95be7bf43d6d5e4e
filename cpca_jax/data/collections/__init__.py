"""Collections of scans on disk: which files they are, how doses are paired and patients split."""
