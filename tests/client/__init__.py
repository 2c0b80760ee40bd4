"""The typed client, against a real server on loopback."""
