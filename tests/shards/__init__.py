"""What an attempt leaves."""
