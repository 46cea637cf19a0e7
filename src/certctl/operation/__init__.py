"""What an operator does to an installation from outside: back it up, restore it, look it over."""
