"""What can be learned or found, by the site where it touches the model."""
