"""What a bench scores with: networks of published models' shapes, with random weights."""
