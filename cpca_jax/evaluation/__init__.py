"""The scoring and comparison of trained networks on whole slices."""
