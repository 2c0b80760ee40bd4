"""Faults of the world round us (reliability.md, section 4): real processes, real sockets, real locks."""
