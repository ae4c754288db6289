"""What a store is: identity, arrays, metadata, ledger, stored objects."""
