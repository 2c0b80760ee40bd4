"""Tests of the emulator room."""
