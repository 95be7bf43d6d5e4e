"""The precisions in which networks compute, by the names that results hold."""

FLOAT32, BFLOAT16 = "float32", "bfloat16"
# float32 that an accelerator must not round to TensorFloat32.
EXACT = "float32, exact"
