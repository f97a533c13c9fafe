"""What Vaultbell costs, as ratios to peers within one run: `make bench`. Nothing of it is deployed."""
