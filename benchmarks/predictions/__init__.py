"""Predictions for trainings and archives that nobody has run, from counted work and speeds."""
