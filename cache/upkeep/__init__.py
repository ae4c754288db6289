"""The care of stores: verify, repair, copy, growth, garbage, statistics."""
