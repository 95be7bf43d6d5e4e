"""What a process needs: console and logs, whole-file writes, memory, devices."""
