"""What single formats need before Pillow decodes them: bounds on their tables, and less of its Python."""
