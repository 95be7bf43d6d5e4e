"""Objectives of a training: pixel, adversarial and perceptual losses, and critic penalties."""
