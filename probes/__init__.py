"""What an encoder attends to, how sparse it is, whether it collapsed and what it knows."""
