"""Problem files put to the presets of a model: sampling plan, samples, scores, other harnesses' layouts."""
