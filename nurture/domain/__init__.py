"""Pure rules of time and state: standard library only, no clock, no I/O."""
