"""The technician's console: one framed protocol on the cable, while the door keeps working."""
