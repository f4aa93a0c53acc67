"""What happened: records, their chain, and the flash ring that keeps them until acknowledged."""
