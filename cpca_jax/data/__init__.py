"""CT scans on disk and in stores; HU everywhere."""
