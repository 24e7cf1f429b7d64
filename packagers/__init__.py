"""What leaves the house: HLS and transport streams."""
