"""Whole installations as processes: gunicorn, worker and emulator, on both databases."""
