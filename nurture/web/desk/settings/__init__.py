"""Settings of the desk, and the first run."""
