"""REST: the routes, problem documents and the OpenAPI description made from them."""
