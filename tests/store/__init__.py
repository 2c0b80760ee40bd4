"""Tests of the database room, on both databases."""
