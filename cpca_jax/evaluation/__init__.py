"""Trained networks scored and compared on whole slices."""
