"""Models of the door's outside world: the MFRC522 at register level and ISO 14443-3A cards."""
