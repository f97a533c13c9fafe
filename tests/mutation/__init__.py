"""Mutation testing: `make mutate`."""
