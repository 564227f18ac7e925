"""The desk: the therapist's side. One file per tab."""
