"""The subjects of measurement: the networks, training batches and series, and their sizes."""
