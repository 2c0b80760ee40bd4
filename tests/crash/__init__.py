"""Processes die at named points and at random; afterwards the invariants of reliability.md are checked."""
