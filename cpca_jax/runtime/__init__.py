"""The needs of a process: console and logs, whole-file writes, memory, devices, plug-ins."""
