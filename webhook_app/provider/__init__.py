"""Who makes the pictures: one port, one folder for each provider. Nothing else in the house speaks a provider's
dialect."""
