"""ModelsLab, acted over real HTTP. A product of its own: it shares no line with the provider's adapter."""
