"""The preparation of stores, from folders of scans or from phantoms."""
