"""Where calls go: aliases, routes, scenes, policies, and trying them."""
