"""The physics of a CT scan: dose and noise, and scans with known lesions."""
