"""From folders of scans, or from phantoms, to a store."""
