"""The rules of this house, kept by tests; each rule is shown a fault that it must catch."""
