"""What all processes of an installation agree on."""
