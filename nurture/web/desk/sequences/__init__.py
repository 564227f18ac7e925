"""Sequences, their schedules and readers' enrollments."""
