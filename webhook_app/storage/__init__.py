"""Where our copies live."""
