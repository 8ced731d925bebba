"""The management API: what the admin does, as JSON, under /api/manage/.

api.py          the API and its routers
auth.py         who calls: a key with a scope, or a signed-in person's session; and what the caller may do and see
operations.py   an operation: its permission, its transaction, its entry in the document
writing.py      how rows are written: through the models' checks, or as a configuration file would
paging.py       pages of lists
errors.py       every answer that is none
The other files hold one subject each.
"""

PREFIX = "/api/manage/"
# A management request is a form, or the routing of an installation; nothing of that is larger.
MAX_BODY_BYTES = 4 * 1024 * 1024


def is_manage(path: str) -> bool:
    """Return whether `path` belongs to the management API."""
    return path.startswith(PREFIX) or path == PREFIX.rstrip("/")
