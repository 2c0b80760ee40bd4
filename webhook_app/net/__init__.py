"""Leaving the house safely: every picture is fetched through here."""
