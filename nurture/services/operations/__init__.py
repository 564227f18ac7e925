"""What an operator looks at and does."""
