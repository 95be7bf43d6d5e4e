"""The deck's experiments as one plan of stages, with its tables and its page."""
