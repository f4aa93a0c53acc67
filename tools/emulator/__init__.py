"""The real RP2040 image on an emulated chip, the simulated reader wired to its pins."""
