"""Other implementations of the same work: PyTorch, behind one interface.

Only the modules whose names begin with `torch_` import PyTorch, and only `installed` imports them,
when it is called.
"""
