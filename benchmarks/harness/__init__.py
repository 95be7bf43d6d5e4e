"""The frame of every benchmark: its session, command line and result files."""
