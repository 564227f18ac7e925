"""People, their consents and requests."""
