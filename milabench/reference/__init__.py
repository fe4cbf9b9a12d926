"""What is written about the language, made from the tables of its keys: the JSON Schema and the reference pages."""
