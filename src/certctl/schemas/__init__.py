"""The REST bodies, shared by the server and by its clients."""
