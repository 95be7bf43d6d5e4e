"""What trainings read: paired volumes in HU beside a manifest, and patches cut from them."""
