"""Who may enter: allowlists, posture, and the decision."""
