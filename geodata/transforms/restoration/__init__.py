"""What spoils or hides an image, and keeps the untouched one: noise, coarser pairs, gaps."""
