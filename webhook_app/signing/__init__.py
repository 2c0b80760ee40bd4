"""Signatures that others can check: Ed25519. Which key it is, is the settings' business; what is signed, the flows'."""
