"""ACTS of people: one transaction each."""
