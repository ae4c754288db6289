"""The commands, one click module each."""
