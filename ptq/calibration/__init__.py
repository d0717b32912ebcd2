"""Calibration: which denoiser states the activation ranges are measured on, and measuring them."""
