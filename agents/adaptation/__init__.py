"""Ways to use a pretrained encoder in an agent."""
