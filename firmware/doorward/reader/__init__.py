"""How a badge is read: the chip, the activation of a card, the credential it gives."""
