"""What a training minimises: pixel, adversarial and perceptual losses, and critic penalties."""
