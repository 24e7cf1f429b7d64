"""Sources, playout, overlays, loudness and the encoding ladder: everything that makes pictures and sound."""
