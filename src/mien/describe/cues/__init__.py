"""An engine without a language model: what small detectors see, as plain sentences."""
