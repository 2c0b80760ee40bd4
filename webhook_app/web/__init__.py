"""The HTTP door: routes, their guards, what they read and what they answer. No SQL and no foreign API in here."""
