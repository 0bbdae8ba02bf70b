"""Tokens to latents to pixels, and the way back."""
