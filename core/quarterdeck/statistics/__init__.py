"""Pure functions on arrays: distances, significance, drift verdicts, localisation, realised quality."""
