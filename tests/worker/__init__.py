"""The worker: its loop, its crews, its ticks over a real database, and how it ends."""
