"""The connector to GlobalSign Atlas, and the stand-in that it is tested against."""
